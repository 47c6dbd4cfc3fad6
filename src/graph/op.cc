#include "savedmodel/op.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "src/base/denormals.h"
#include "src/base/status_macros.h"
#include "src/graph/node_context.h"
#include "src/graph/run_interrupted.h"

namespace savedmodel {
namespace {

bool WidenInts(const Tensor& t, std::vector<int64_t>* out) {
  if (const int32_t* p = t.data<int32_t>()) {
    out->assign(p, p + t.num_elements());
    return true;
  }
  if (const int64_t* p = t.data<int64_t>()) {
    out->assign(p, p + t.num_elements());
    return true;
  }
  return false;
}

// One class for the kernels of all callables, so that none needs tables of its own.
class CallableKernel final : public Kernel {
 public:
  using Callable = std::unique_ptr<const void, void (*)(const void*)>;
  using RunFn = Status (*)(const void* callable, OpContext& ctx);

  CallableKernel(Callable callable, RunFn run, std::string_view choice)
      : callable_(std::move(callable)), run_(run), choice_(choice) {}
  Status Run(OpContext& ctx) const override { return run_(callable_.get(), ctx); }
  KernelCall call() const { return {callable_.get(), run_}; }
  std::string DebugString() const override { return choice_; }

 private:
  const Callable callable_;
  const RunFn run_;
  const std::string choice_;
};

}  // namespace

KernelPtr internal::MakeCallableKernel(const void* callable,
                                       Status (*run)(const void* callable, OpContext& ctx),
                                       void (*del)(const void* callable), std::string_view choice) {
  CallableKernel::Callable owned(callable, del);  // whatever happens
  return std::make_unique<CallableKernel>(std::move(owned), run, choice);
}

KernelCall CallOf(const Kernel& kernel) {
  if (const auto* callable = dynamic_cast<const CallableKernel*>(&kernel)) return callable->call();
  return {&kernel, [](const void* subject, OpContext& ctx) {
            return static_cast<const Kernel*>(subject)->Run(ctx);
          }};
}

Kernel::~Kernel() = default;
CompiledFunction::~CompiledFunction() = default;
BuildContext::~BuildContext() = default;

bool ShapeContext::IntValues(int i, std::vector<int64_t>* out) const {
  const Tensor* t = value(i);
  return t != nullptr && WidenInts(*t, out);
}

bool ShapeContext::IntValue(int i, int64_t* out) const {
  std::vector<int64_t> values;
  if (!IntValues(i, &values) || values.size() != 1) return false;
  *out = values[0];
  return true;
}

Status ShapeContext::ExpectRank(int i, int rank) const {
  const Shape& s = input(i);
  if (!s.known_rank() || s.rank() == rank) return Status();
  return InvalidArgument("input ", i, " has shape ", s, "; expected rank ", rank);
}

Status ShapeContext::ExpectRankAtLeast(int i, int rank) const {
  const Shape& s = input(i);
  if (!s.known_rank() || s.rank() >= rank) return Status();
  return InvalidArgument("input ", i, " has shape ", s, "; expected rank at least ", rank);
}

StatusOr<std::vector<Shape>> ShapeContext::InferFunction(const FuncAttr& f,
                                                         Span<const Shape> inputs) const {
  if (infer_function_ == nullptr) {
    return std::vector<Shape>(outputs_->size(), Shape::Unknown());
  }
  return (*infer_function_)(f, inputs);
}

Status RunState::Interrupted() const {
  if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
    return Status(StatusCode::kCancelled, "the caller cancelled this run");
  }
  return Status(StatusCode::kDeadlineExceeded,
                "the deadline of this run has passed; give the call more time or less work");
}

int64_t OpContext::IntInput(int i) const {
  const Tensor& t = input(i);
  if (t.num_elements() < 1) return 0;
  if (const int32_t* p = t.data<int32_t>()) return p[0];
  if (const int64_t* p = t.data<int64_t>()) return p[0];
  return 0;
}

std::vector<int64_t> OpContext::IntsInput(int i) const {
  std::vector<int64_t> out;
  WidenInts(input(i), &out);
  return out;
}

Status OpContext::AllocateOutput(int i, const Shape& shape) {
  Tensor& out = *outputs_[i];
  if (out.has_value() && out.dtype() == output_dtypes_[i] && out.shape() == shape &&
      (out.is_view() || out.exclusive())) {
    return Status();
  }
  SM_ASSIGN_OR_RETURN(out, Tensor::Allocate(output_dtypes_[i], shape, run_.budget));
  return Status();
}

Status OpContext::ForwardInput(int from, int to, const Shape& shape) {
  const Tensor& in = *inputs_[from];
  if (shape.num_elements() != in.num_elements()) {
    return InvalidArgument("input ", from, " has shape ", in.shape(), " with ", in.num_elements(),
                           " elements, which cannot take shape ", shape);
  }
  Tensor& out = *outputs_[to];
  if (out.is_view() && out.dtype() == in.dtype() && out.shape() == shape) {
    std::memcpy(out.raw_mutable_data(), in.raw_data(), in.num_bytes());
    return Status();
  }
  SM_ASSIGN_OR_RETURN(Tensor owned, in.Owned(run_.budget));
  out = std::move(owned).WithShape(shape);
  return Status();
}

Tensor OpContext::TakeInput(int i) {
  const bool last = i < static_cast<int>(last_use_.size()) && last_use_[i];
  if (last && !inputs_[i]->is_view()) return std::move(*inputs_[i]);
  return *inputs_[i];
}

namespace {

// Work between two looks at deadline and cancel flag, in estimated nanoseconds.
constexpr double kWorkBetweenChecks = 2e6;

// Calls fn on [begin, end); in a run with limits, piece by piece. False when the run ended first.
bool RunPart(const RunState& run, double cost, FunctionRef<void(int64_t, int64_t)> fn,
             int64_t begin, int64_t end) {
  const bool limited =
      run.cancelled != nullptr || run.deadline != std::chrono::steady_clock::time_point::max();
  if (!limited) {
    fn(begin, end);
    return true;
  }
  const double most = kWorkBetweenChecks / std::max(cost, 1e-3);
  const int64_t piece = most < 1 ? 1 : most > 1e15 ? end - begin : static_cast<int64_t>(most);
  for (int64_t i = begin; i < end;) {
    if (!run.CheckInterrupt().ok()) return false;
    const int64_t next = end - i > piece ? i + piece : end;
    fn(i, next);
    i = next;
  }
  return true;
}

}  // namespace

void OpContext::ParallelFor(int64_t n, double cost, FunctionRef<void(int64_t, int64_t)> fn) const {
  // A part below this many nanoseconds costs more to hand over than to run: to a thread that is
  // awake, to one that sleeps. One that sleeps is woken for loops to come, too, after so much work
  // that could have been divided, had it been awake.
  constexpr double kLeastPart = 2500, kLeastPartAsleep = 15000, kWorthWaking = 20000;
  constexpr int64_t kMostParts = 64;
  if (n <= 0) return;
  const double work = static_cast<double>(n) * cost;
  ThreadPool* pool = run_.pool;
  const bool alone = pool == nullptr || n == 1 || pool->num_threads() == 1;
  const bool divides = !alone && work >= 2 * kLeastPart;
  const bool waits = divides && work < 2 * kLeastPartAsleep && pool->num_awake() <= 1;
  if (waits) {
    static thread_local double undivided = 0;
    undivided += work;
    if (undivided >= kWorthWaking) {
      undivided = 0;
      pool->Run(pool->num_threads(), [](int64_t) {});
    }
  }
  if (!divides || waits) {
    if (!RunPart(run_, cost, fn, 0, n)) throw RunInterrupted();
    return;
  }
  // As many for each thread, so that it gets the same part of what it wrote in the loop before.
  const int64_t threads = pool->num_threads();
  int64_t parts = std::min({n, kMostParts, static_cast<int64_t>(work / kLeastPart), threads * 4});
  if (parts > threads) parts -= parts % threads;
  std::atomic<bool> interrupted{false};
  pool->Run(parts, [&](int64_t part) {
    FlushDenormals flush;
    try {
      if (RunPart(run_, cost, fn, n * part / parts, n * (part + 1) / parts)) return;
    } catch (const RunInterrupted&) {  // of a loop inside of fn
    }
    interrupted.store(true, std::memory_order_relaxed);
  });
  if (interrupted.load(std::memory_order_relaxed)) throw RunInterrupted();
}

}  // namespace savedmodel
