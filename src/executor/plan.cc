// The run loop.
#include "src/executor/plan.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "src/base/large_pages.h"
#include "src/base/status_macros.h"
#include "src/executor/profile.h"

namespace savedmodel {

StatusOr<Tensor> Plan::MakeArena() const {
  Tensor offered;
  {
    std::lock_guard<std::mutex> lock(frames_mutex_);
    offered = std::move(offered_arena_);
  }
  if (offered.has_value() && offered.num_elements() >= arena_bytes_) return offered;
  offered = Tensor();  // before more is taken
  SM_ASSIGN_OR_RETURN(Tensor arena, Tensor::Allocate(DType::kUInt8, Shape({arena_bytes_})));
  TakePages(arena.raw_mutable_data(), arena_bytes_);
  return arena;
}

StatusOr<std::unique_ptr<Frame>> Plan::MakeFrame() const {
  auto frame = std::make_unique<Frame>();
  SM_ASSIGN_OR_RETURN(frame->arena, MakeArena());
  char* arena = static_cast<char*>(frame->arena.raw_mutable_data());
  frame->slots.resize(slots_.size());
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.home == Home::kConstant) frame->slots[i] = slot.constant;
    if (slot.home == Home::kArena) {
      frame->slots[i] = Tensor::View(slot.dtype, slot.shape, arena + slot.offset);
    }
  }
  for (int slot : input_slots_) frame->inputs.push_back(&frame->slots[slot]);
  for (int slot : output_slots_) {
    frame->outputs.push_back(&frame->slots[slot]);
    const bool in_arena = slots_[slot].home == Home::kArena;
    frame->homes.push_back(in_arena ? arena + slots_[slot].offset : nullptr);
  }
  for (int slot : arguments_) frame->arguments.push_back(&frame->slots[slot]);
  for (int slot : results_) frame->results.push_back(&frame->slots[slot]);
  if (can_be_dead_) frame->dead.resize(steps_.size());
  frame->inferred.resize(num_inferred_);
  return frame;
}

bool Plan::BindResult(Activation* frame, int i, const Tensor& memory) const {
  const Slot& slot = slots_[results_[i]];
  if (!slot.bindable || slot.dtype != memory.dtype() || slot.shape != memory.shape()) return false;
  *frame->results[i] = Tensor::View(slot.dtype, slot.shape, const_cast<void*>(memory.raw_data()));
  return true;
}

Tensor Plan::TakeResult(Activation* frame, int i) const {
  Tensor& value = *frame->results[i];
  if (moved_results_[i] && !value.is_view()) return std::move(value);
  return value;
}

void Plan::ResetFrame(Frame* frame) const {
  for (int slot : clears_) {
    Tensor& value = frame->slots[slot];
    if (value.has_value() && !value.is_view()) value = Tensor();
  }
}

Status Plan::Run(Span<Tensor> inputs, Span<Tensor> outputs, RunState& run) const {
  Stay stay;
  SM_RETURN_IF_ERROR(stay.Enter(*this, run));
  for (int i = 0; i < num_inputs(); ++i) stay.argument(i) = std::move(inputs[i]);
  SM_RETURN_IF_ERROR(stay.Run());
  for (int i = 0; i < num_outputs(); ++i) outputs[i] = stay.TakeResult(i);
  return Status();
}

StatusOr<Activation*> Plan::Enter(RunState& run) const {
  if (run.budget != nullptr && arena_bytes_ > 0 && !run.budget->Charge(arena_bytes_)) {
    return ResourceExhausted("intermediate values of this call take ", arena_bytes_,
                             " bytes, more than its memory budget of ", run.budget->limit(),
                             " has left");
  }
  if (std::unique_ptr<Frame> frame = TakeFrame()) return frame.release();
  StatusOr<std::unique_ptr<Frame>> made = MakeFrame();
  if (made.ok()) return std::move(made).value().release();
  if (run.budget != nullptr) run.budget->Refund(arena_bytes_);
  return made.status();
}

void Plan::Leave(Activation* activation, bool is_clean, RunState& run) const {
  std::unique_ptr<Frame> frame(static_cast<Frame*>(activation));
  if (run.budget != nullptr && arena_bytes_ > 0) run.budget->Refund(arena_bytes_);
  if (!is_clean) return;
  for (int slot : clears_) {
    if (frame->slots[slot].has_value()) frame->slots[slot] = Tensor();
  }
  KeepFrame(std::move(frame));
}

std::unique_ptr<Frame> Plan::TakeFrame() const {
  std::unique_ptr<Frame> frame(spare_.exchange(nullptr, std::memory_order_acquire));
  if (frame != nullptr) return frame;
  std::lock_guard<std::mutex> lock(frames_mutex_);
  if (frames_.empty()) return nullptr;
  frame = std::move(frames_.back());
  frames_.pop_back();
  return frame;
}

int64_t Plan::idle_bytes() const {
  int64_t bytes = 0;
  for (const NamedPlan& callee : callees_) bytes += callee.plan->idle_bytes();
  std::lock_guard<std::mutex> lock(frames_mutex_);
  const int64_t spare = spare_.load(std::memory_order_relaxed) == nullptr ? 0 : 1;
  return bytes + (spare + static_cast<int64_t>(frames_.size())) * arena_bytes_;
}

Tensor Plan::DropIdleFrames() const {
  for (const NamedPlan& callee : callees_) callee.plan->DropIdleFrames();
  Tensor arena;
  while (std::unique_ptr<Frame> frame = TakeFrame()) arena = std::move(frame->arena);
  return arena;
}

void Plan::OfferArena(Tensor arena) const {
  std::lock_guard<std::mutex> lock(frames_mutex_);
  offered_arena_ = std::move(arena);
}

void Plan::KeepFrame(std::unique_ptr<Frame> frame) const {
  Frame* none = nullptr;
  if (spare_.compare_exchange_strong(none, frame.get(), std::memory_order_release)) {
    frame.release();
    return;
  }
  std::lock_guard<std::mutex> lock(frames_mutex_);
  frames_.push_back(std::move(frame));
}

Status Plan::RunInFrame(Frame* frame, Span<const Tensor> inputs, RunState& run) const {
  for (size_t i = 0; i < inputs.size(); ++i) *frame->arguments[i] = inputs[i];
  return RunIn(frame, run);
}

Status Plan::RunIn(Activation* activation, RunState& run) const {
  Frame* frame = static_cast<Frame*>(activation);
  for (size_t i = 0; keeps_any_argument_ && i < arguments_.size(); ++i) {
    Tensor& argument = *frame->arguments[i];
    if (!keeps_argument_[i] || !argument.is_view()) continue;
    SM_ASSIGN_OR_RETURN(argument, argument.Owned(run.budget));
  }
  const bool limited =
      run.cancelled != nullptr || run.deadline != std::chrono::steady_clock::time_point::max();
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    if (limited) SM_RETURN_IF_ERROR(run.CheckInterrupt());
    if (can_be_dead_) {
      frame->dead[i] = IsDead(step, *frame);
      if (frame->dead[i]) {
        for (int o = 0; o < step.num_outputs; ++o) {
          *frame->outputs[step.first_output + o] = Tensor();
        }
        continue;
      }
    }
    if (step.together > 1) {
      SM_RETURN_IF_ERROR(RunTogether(&step, *frame, run));
      i += step.together - 1;
    } else {
      SM_RETURN_IF_ERROR(RunStep(step, *frame, run));
    }
  }
  return Status();
}

bool Plan::IsDead(const Step& step, const Frame& frame) const {
  for (int i = 0; i < step.num_controls; ++i) {
    if (frame.dead[controls_[step.first_control + i]]) return true;
  }
  if (step.num_inputs == 0) return false;
  int live = 0;
  for (int i = 0; i < step.num_inputs; ++i) {
    live += frame.inputs[step.first_input + i]->has_value();
  }
  return step.merges ? live == 0 : live < step.num_inputs;
}

OpContext Plan::ContextOf(const Step& step, Frame& frame, RunState& run) const {
  OpContext context(Span<Tensor* const>(frame.inputs.data() + step.first_input, step.num_inputs),
                    Span<Tensor* const>(frame.outputs.data() + step.first_output, step.num_outputs),
                    Span<const DType>(output_types_.data() + step.first_output, step.num_outputs),
                    run);
  context.set_last_use(Span<const bool>(last_use_.get() + step.first_input, step.num_inputs));
  return context;
}

Status Plan::RunStep(const Step& step, Frame& frame, RunState& run) const {
  std::optional<StepTimer> timer;
  if (IsProfiling()) timer.emplace(graph_.node(step.node));
  OpContext context = ContextOf(step, frame, run);
  if (step.allocates || can_be_dead_) SM_RETURN_IF_ERROR(PrepareStep(step, frame, context));
  SM_RETURN_IF_ERROR(RunStepKernel(step, context));
  return FinishStep(step, frame);
}

namespace {

// What one of several steps that run at the same time has of a pool.
class PartOfPool final : public ThreadPool {
 public:
  PartOfPool(ThreadPool* whole, int num_threads) : whole_(whole), num_threads_(num_threads) {}
  int num_threads() const override { return num_threads_; }
  int num_awake() const override { return std::min(num_threads_, whole_->num_awake()); }
  void Run(int64_t n, FunctionRef<void(int64_t)> fn) override { whole_->Run(n, fn); }

 private:
  ThreadPool* const whole_;
  const int num_threads_;
};

}  // namespace

Status Plan::RunTogether(const Step* first, Frame& frame, RunState& run) const {
  const int n = first->together;
  const int threads = run.pool == nullptr ? 1 : run.pool->num_threads();
  PartOfPool part(run.pool, threads / std::min(n, threads));
  RunState run_of_each = run;
  run_of_each.pool = part.num_threads() > 1 ? &part : nullptr;
  absl::InlinedVector<OpContext, 4> contexts;
  for (int i = 0; i < n; ++i) {
    contexts.push_back(ContextOf(first[i], frame, run_of_each));
    SM_RETURN_IF_ERROR(PrepareStep(first[i], frame, contexts.back()));
  }
  absl::InlinedVector<Status, 4> statuses(n);
  const auto run_one = [&](int64_t i) {
    std::optional<StepTimer> timer;
    if (IsProfiling()) timer.emplace(graph_.node(first[i].node));
    statuses[i] = RunStepKernel(first[i], contexts[i]);
  };
  if (threads > 1) {
    run.pool->Run(n, run_one);
  } else {
    for (int i = 0; i < n; ++i) run_one(i);
  }
  for (int i = 0; i < n; ++i) {
    SM_RETURN_IF_ERROR(statuses[i]);
    SM_RETURN_IF_ERROR(FinishStep(first[i], frame));
  }
  return Status();
}

Status Plan::PrepareStep(const Step& step, Frame& frame, OpContext& context) const {
  if (can_be_dead_ && step.has_arena) RestoreViews(step, frame);
  if (!step.allocates) return Status();
  const Status status = Allocate(step, frame, context);
  return status.ok() ? status : Fail(step, status);
}

Status Plan::RunStepKernel(const Step& step, OpContext& context) const {
  Status status = RunKernel(step.call, context);
  if (!status.ok()) status = Fail(step, status);
  return status;
}

Status Plan::FinishStep(const Step& step, Frame& frame) const {
  for (int i = 0; (step.has_arena || step.inferred >= 0) && i < step.num_outputs; ++i) {
    const int output = step.first_output + i;
    const Tensor& out = *frame.outputs[output];
    const bool is_home = frame.homes[output] != nullptr && out.raw_data() == frame.homes[output] &&
                         out.shape().rank() == slots_[output_slots_[output]].shape.rank();
    if (is_home) continue;
    if (Status s = TakeHome(step, i, frame); !s.ok()) return Fail(step, s);
  }
  for (int i = 0; i < step.num_releases; ++i) {
    Tensor& value = frame.slots[releases_[step.first_release + i]];
    if (!value.is_view()) Tensor released = std::move(value);
  }
  return Status();
}

void Plan::RestoreViews(const Step& step, Frame& frame) const {
  char* arena = static_cast<char*>(frame.arena.raw_mutable_data());
  for (int i = 0; i < step.num_outputs; ++i) {
    Tensor& out = *frame.outputs[step.first_output + i];
    if (out.has_value()) continue;
    const Slot& slot = slots_[output_slots_[step.first_output + i]];
    if (slot.home == Home::kArena) out = Tensor::View(slot.dtype, slot.shape, arena + slot.offset);
  }
}

Status Plan::Fail(const Step& step, const Status& status) const {
  return status.At(NodePlace(graph_.node(step.node)));
}

namespace {

// The input whose memory output 0 may take over: the last use of an exclusive buffer of the same
// number of bytes.
int ReusableInput(const OpDef& def, Span<Tensor* const> inputs, const bool* last_use,
                  size_t bytes) {
  const int candidates = def.in_place == InPlace::kInput0     ? 1
                         : def.in_place == InPlace::kAnyInput ? static_cast<int>(inputs.size())
                                                              : 0;
  for (int i = 0; i < candidates; ++i) {
    const Tensor& t = *inputs[i];
    if (last_use[i] && t.exclusive() && IsPlainData(t.dtype()) && t.num_bytes() == bytes) return i;
  }
  return -1;
}

}  // namespace

Status Plan::Allocate(const Step& step, Frame& frame, OpContext& context) const {
  const Node& node = graph_.node(step.node);
  const Span<Tensor* const> inputs(frame.inputs.data() + step.first_input, step.num_inputs);
  const std::vector<Shape>* shapes = nullptr;
  if (step.inferred >= 0) {
    InferredShapes& inferred = frame.inferred[step.inferred];
    SM_RETURN_IF_ERROR(inferred.Infer(node, inputs, [&](size_t i) {
      return slots_[input_slots_[step.first_input + i]].home == Home::kConstant;
    }));
    shapes = &inferred.outputs();
  }
  for (int i = 0; i < step.num_outputs; ++i) {
    const Slot& slot = slots_[output_slots_[step.first_output + i]];
    if (slot.home == Home::kArena || slot.is_ref) continue;
    Tensor& out = *frame.outputs[step.first_output + i];
    if (slot.home == Home::kFixed && out.is_view()) continue;  // a bound result
    const Shape& shape = slot.home == Home::kFixed ? slot.shape : (*shapes)[i];
    if (!shape.valid()) return Shape::Make(shape.ToVector()).status();
    if (!shape.fully_known()) continue;
    if (i == 0 && IsPlainData(slot.dtype)) {
      const size_t bytes = static_cast<size_t>(shape.num_elements()) * DTypeSize(slot.dtype);
      const int reused =
          ReusableInput(*node.registered->def, inputs, last_use_.get() + step.first_input, bytes);
      if (reused >= 0) {
        out = inputs[reused]->WithDType(slot.dtype).WithShape(shape);
        continue;
      }
    }
    SM_RETURN_IF_ERROR(context.AllocateOutput(i, shape));
  }
  return Status();
}

// A kernel may replace an output instead of filling it. What has a fixed place is copied there.
Status Plan::TakeHome(const Step& step, int i, Frame& frame) const {
  Tensor& out = *frame.outputs[step.first_output + i];
  const Slot& slot = slots_[output_slots_[step.first_output + i]];
  if (can_be_dead_ && !out.has_value()) return Status();
  if (slot.home == Home::kArena) {
    void* home = static_cast<char*>(frame.arena.raw_mutable_data()) + slot.offset;
    if (out.dtype() != slot.dtype || out.shape() != slot.shape) {
      return Internal("output ", i, " became ", out.TypeString(), ", expected ", slot.dtype,
                      slot.shape);
    }
    if (out.raw_data() != home) std::memcpy(home, out.raw_data(), out.num_bytes());
    out = Tensor::View(slot.dtype, slot.shape, home);
  } else if (!slot.is_ref && out.has_value() && out.dtype() != slot.dtype) {
    return Internal("output ", i, " became ", out.TypeString(), ", expected ", slot.dtype);
  } else if (!out.has_value() && !can_be_dead_) {
    return Internal("output ", i, " was not set by the kernel");
  } else if (!slot.is_ref && out.has_value() && !out.shape().CompatibleWith(slot.shape)) {
    // Kernels behind rely on it.
    return Internal("output ", i, " became ", out.TypeString(), ", expected ", slot.dtype,
                    slot.shape);
  }
  return Status();
}

std::string Plan::DebugString() const {
  std::string out = OwnDebugString();
  std::vector<const Plan*> plans = {this};
  for (size_t i = 0; i < plans.size(); ++i) {
    for (const NamedPlan& callee : plans[i]->callees_) {
      if (std::find(plans.begin(), plans.end(), callee.plan.get()) != plans.end()) continue;
      plans.push_back(callee.plan.get());
      out += StrCat("function ", callee.name, "\n", callee.plan->OwnDebugString());
    }
  }
  return out;
}

std::string Plan::OwnDebugString() const {
  static constexpr const char* kHomes[] = {"const", "arg", "arena", "fixed", "run-time"};
  const auto text = [&](int index) {
    const Slot& slot = slots_[index];
    std::string s =
        StrCat("$", index, ":", slot.dtype, slot.shape, "@", kHomes[static_cast<int>(slot.home)]);
    if (slot.home == Home::kArena) s += StrCat("+", slot.offset);
    return s;
  };
  std::string out = StrCat("plan: ", steps_.size(), " steps, arena of ", arena_bytes_,
                           " bytes (largest live set: ", largest_live_set_, ")\n");
  for (size_t i = 0; i < arguments_.size(); ++i) {
    out += StrCat("  argument ", i, " = ", text(arguments_[i]), "  # ",
                  graph_.node(graph_.args[i]).name, "\n");
  }
  for (const Step& step : steps_) {
    const Node& node = graph_.node(step.node);
    out += "  ";
    for (int i = 0; i < step.num_outputs; ++i) {
      out += StrCat(i > 0 ? ", " : "", text(output_slots_[step.first_output + i]));
    }
    out += StrCat(step.num_outputs > 0 ? " = " : "", node.op, "(");
    for (int i = 0; i < step.num_inputs; ++i) {
      out += StrCat(i > 0 ? ", " : "", text(input_slots_[step.first_input + i]));
    }
    out += ")";
    if (node.attrs.Has("ops")) out += StrCat(" of ", node.attrs.String("ops"));
    if (!node.epilogue.empty()) out += StrCat(" + ", node.epilogue.size(), " fused");
    if (const std::string choice = step.kernel->DebugString(); !choice.empty()) {
      out += StrCat(" by ", choice);
    }
    for (const FuncAttr& f : Callees(node)) out += StrCat(" calls ", f.name);
    if (step.together > 1) out += StrCat(" at once with the next ", step.together - 1);
    out += StrCat("  # ", node.name, "\n");
  }
  for (size_t i = 0; i < results_.size(); ++i) {
    out += StrCat("  result ", i, " = ", text(results_[i]), "\n");
  }
  return out;
}

}  // namespace savedmodel
