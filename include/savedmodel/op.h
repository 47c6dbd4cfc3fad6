/// Ops: the record that states all facts about one op, and what its functions see.
///
/// The library's own ops and a host's custom ops (LoadOptions::custom_ops) are the same record.
/// docs/adding_an_op.md shows both.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "savedmodel/dtype.h"
#include "savedmodel/export.h"
#include "savedmodel/shape.h"
#include "savedmodel/span.h"
#include "savedmodel/status.h"
#include "savedmodel/tensor.h"
#include "savedmodel/thread_pool.h"

namespace savedmodel {

class Attrs;
class BuildContext;
class CheckpointOpener;
class FileSystem;
class OpContext;
class ResourceTable;
class ShapeContext;

// ------------------------------------------------------------------------------------ attributes

/// The value of a `func` attribute: a function of the graph's library, with attributes of its own.
struct FuncAttr {
  std::string name;
  std::shared_ptr<const Attrs> attrs;  // null when there are none
};

/// The value of one attribute, by TensorFlow's kinds.
using AttrValue = std::variant<std::monostate, int64_t, float, bool, std::string, DType, Shape,
                               Tensor, FuncAttr, std::vector<int64_t>, std::vector<float>,
                               std::vector<bool>, std::vector<std::string>, std::vector<DType>,
                               std::vector<Shape>, std::vector<Tensor>, std::vector<FuncAttr>>;

/// Attributes of a node by name.
///
/// Before an op's functions see them they have been completed with the signature's defaults and
/// checked against it, so that the getters of declared attributes cannot fail. A getter for a name
/// or kind that is not there returns a default-constructed value.
class SAVEDMODEL_EXPORT Attrs {
 public:
  template <class T>
  const T& Get(std::string_view name) const {
    static const T kDefault{};
    const AttrValue* v = Find(name);
    const T* typed = v == nullptr ? nullptr : std::get_if<T>(v);
    return typed == nullptr ? kDefault : *typed;
  }
  int64_t Int(std::string_view name) const { return Get<int64_t>(name); }
  float Float(std::string_view name) const { return Get<float>(name); }
  bool Bool(std::string_view name) const { return Get<bool>(name); }
  const std::string& String(std::string_view name) const { return Get<std::string>(name); }
  DType Type(std::string_view name) const { return Get<DType>(name); }
  const std::vector<int64_t>& Ints(std::string_view name) const {
    return Get<std::vector<int64_t>>(name);
  }
  const std::vector<DType>& Types(std::string_view name) const {
    return Get<std::vector<DType>>(name);
  }

  const AttrValue* Find(std::string_view name) const {
    auto it = values_.find(name);
    return it == values_.end() ? nullptr : &it->second;
  }
  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  void Set(std::string name, AttrValue value) {
    values_.insert_or_assign(std::move(name), std::move(value));
  }
  void Erase(std::string_view name) {
    if (auto it = values_.find(name); it != values_.end()) values_.erase(it);
  }
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }
  bool empty() const { return values_.empty(); }

 private:
  std::map<std::string, AttrValue, std::less<>> values_;
};

// ----------------------------------------------------------------------------------- the record

/// What running an op can observe or change. Drives folding, common subexpressions and ordering.
enum class Effects : uint8_t {
  kPure,         // outputs depend on inputs and attributes alone
  kReadsState,   // reads a variable, table or the like
  kWritesState,  // changes one, or anything outside
  kRandom,       // draws from a generator with state
};

/// Whether output 0 can live in the memory of an input.
enum class InPlace : uint8_t {
  kNo,
  kInput0,    // output 0 may overwrite input 0 (same number of bytes, element i from element i)
  kAnyInput,  // output 0 may overwrite whichever input has as many bytes
  kAliasesInput0,  // output 0 *is* input 0's elements under the output's shape; nothing to run
};

/// Scalar functions that a fused pass or an epilogue can apply: y = f(x) or y = f(x, operand).
enum class ScalarOp : uint8_t {
  kNone,
  // unary
  kAbs,
  kNeg,
  kSquare,
  kSqrt,
  kRsqrt,
  kReciprocal,
  kExp,
  kLog,
  kLog1p,
  kExpm1,
  kTanh,
  kSigmoid,
  kRelu,
  kRelu6,
  kLeakyRelu,
  kElu,
  kSelu,
  kSoftplus,
  kSoftsign,
  kErf,
  kErfc,
  kSin,
  kCos,
  kTan,
  kAsin,
  kAcos,
  kAtan,
  kSinh,
  kCosh,
  kAsinh,
  kAcosh,
  kAtanh,
  kFloor,
  kCeil,
  kRint,
  kSign,
  kGelu,         // x * (1 + erf(x / sqrt(2))) / 2
  kGeluTanh,     // the same by tanh, as GPT-2 has it
  kSwish,        // x * sigmoid(x)
  kMish,         // x * tanh(softplus(x))
  kHardSigmoid,  // relu6(x + 3) / 6
  kHardSwish,    // x * relu6(x + 3) / 6
  // binary
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMaximum,
  kMinimum,
  kSquaredDifference,
  kDivNoNan,  // 0 where the divisor is 0
  kFloorDiv,
  kAtan2,
  kXlogy,  // 0 where x is 0
  // 1 where it holds, 0 where not
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kPow,
  // of three operands
  kSelect,  // the second where the first is not 0, otherwise the third
};
/// True for functions of two operands.
constexpr bool IsBinary(ScalarOp op) { return op >= ScalarOp::kAdd && op <= ScalarOp::kPow; }

/// What products and convolutions of floats with constants multiply:
/// * kFloat32: values as they are.
/// * kBFloat16: values rounded to bfloat16, added in float32, where AVX512-BF16 is quick; elsewhere
///   large constants are rounded, and multiplied in float32.
/// * kInt8: whole numbers, added in int32 (AVX512-VNNI, AVX-VNNI). Each column of the constant is
///   quantised to -127 … 127 by its largest value; each row of the other factor, as it is computed,
///   to 0 … 255 by its range with 0. A row with a value that is not finite gives NaN.
enum class Precision : uint8_t { kFloat32, kBFloat16, kInt8 };

/// What the optimizer may fuse around an op.
struct Fusion {
  ScalarOp scalar = ScalarOp::kNone;  // the op is this scalar function, elementwise over floats
  bool accepts_epilogue = false;      // its kernel can apply scalar ops to the result in registers
};

/// One op prepared for one node: parsed attributes, packed weights. Immutable; shared by all runs.
class SAVEDMODEL_EXPORT Kernel {
 public:
  virtual ~Kernel();
  /// Computes the outputs. Arity, dtypes and the shapes that the shape function states have been
  /// checked, and outputs of known shape are allocated. Called from many threads at once.
  virtual Status Run(OpContext& ctx) const = 0;
  /// What was chosen for this node, for people who read a plan; may be empty.
  virtual std::string DebugString() const { return ""; }
};
using KernelPtr = std::unique_ptr<const Kernel>;

/// Infers output shapes from input shapes, values and attributes; checks ranks and dimensions.
/// Called once when a plan is made, with what is known then, and again before each run of a node
/// whose output shape was not known, with everything known. An output left not fully known even
/// then is allocated by the kernel through the context.
using ShapeFn = Status (*)(ShapeContext& ctx);
/// Makes the kernel of one node.
using BuildFn = StatusOr<KernelPtr> (*)(BuildContext& ctx);

/// All facts about one op. At most ten fields, ever.
struct OpDef {
  /// Name, inputs, outputs and attributes with their defaults, for example
  ///   "LeakyRelu(features: T) -> (activations: T); alpha: float = 0.2;
  ///    T: {half,bfloat16,float,double} = float"
  /// src/graph/op_signature.h has the grammar. Argument names are TensorFlow's: edges inside
  /// functions use them.
  std::string_view signature;
  Effects effects = Effects::kPure;
  ShapeFn shape = nullptr;
  BuildFn build = nullptr;
  Fusion fusion = {};
  InPlace in_place = InPlace::kNo;
  /// Runs long, and mostly on one thread: such ops that do not need each other run at once.
  bool is_long = false;
  /// Where the outputs, and the inputs that are not constant, have as many examples along their
  /// first dimension, and more dimensions, example i of the outputs is made of example i of those
  /// inputs alone: a batch may be run in slices. Scalar functions need not say so.
  bool per_example = false;
};

// ------------------------------------------------------------------------- what a shape fn sees

/// Input shapes and values, attributes, and the output shapes to be set.
class SAVEDMODEL_EXPORT ShapeContext {
 public:
  struct Inputs {
    Span<const Shape* const> shapes;
    Span<const DType> dtypes;
    Span<const Tensor* const> values;  // null where the value is not known
  };
  /// Infers the output shapes of a function of the graph's library.
  using InferFunctionFn =
      std::function<StatusOr<std::vector<Shape>>(const FuncAttr&, Span<const Shape> inputs)>;

  ShapeContext(const Attrs& attrs, Inputs inputs, std::vector<Shape>* outputs,
               const InferFunctionFn* infer_function = nullptr)
      : attrs_(attrs), inputs_(inputs), outputs_(outputs), infer_function_(infer_function) {}

  int num_inputs() const { return static_cast<int>(inputs_.shapes.size()); }
  int num_outputs() const { return static_cast<int>(outputs_->size()); }
  const Attrs& attrs() const { return attrs_; }
  /// Shape of input `i`, as far as known.
  const Shape& input(int i) const { return *inputs_.shapes[i]; }
  DType input_dtype(int i) const { return inputs_.dtypes[i]; }
  /// Value of input `i`, or nullptr while it is not known.
  const Tensor* value(int i) const { return inputs_.values[i]; }
  /// The elements of integer input `i` (int32 or int64) widened; false while not known.
  bool IntValues(int i, std::vector<int64_t>* out) const;
  /// The single element of integer input `i`; false while not known or not of one element.
  bool IntValue(int i, int64_t* out) const;

  /// Outputs start as unknown.
  void set_output(int i, Shape shape) { (*outputs_)[i] = std::move(shape); }

  /// INVALID_ARGUMENT unless input `i` has (or may have) rank `rank` / at least `rank`.
  Status ExpectRank(int i, int rank) const;
  Status ExpectRankAtLeast(int i, int rank) const;

  /// Output shapes of library function `f` for `inputs`; all unknown where it cannot be told.
  StatusOr<std::vector<Shape>> InferFunction(const FuncAttr& f, Span<const Shape> inputs) const;

 private:
  const Attrs& attrs_;
  Inputs inputs_;
  std::vector<Shape>* outputs_;
  const InferFunctionFn* infer_function_;
};

// ------------------------------------------------------------------------------------- at run time

/// What one run carries through every kernel: threads, limits, resources. One per call.
struct RunState {
  ThreadPool* pool = nullptr;
  std::shared_ptr<MemoryBudget> budget;
  ResourceTable* resources = nullptr;
  const FileSystem* files = nullptr;              // for ops that read files; null: refused
  const CheckpointOpener* checkpoints = nullptr;  // for restore ops; null: refused
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  const std::atomic<bool>* cancelled = nullptr;
  int64_t max_loop_iterations = INT64_MAX;

  /// CANCELLED or DEADLINE_EXCEEDED once it is so. Cheap; loops call it every turn.
  Status CheckInterrupt() const {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) return Interrupted();
    if (deadline != std::chrono::steady_clock::time_point::max() &&
        std::chrono::steady_clock::now() >= deadline) {
      return Interrupted();
    }
    return Status();
  }
  SAVEDMODEL_EXPORT Status Interrupted() const;
};

/// A function of the graph's library, compiled; what control-flow kernels run.
class SAVEDMODEL_EXPORT CompiledFunction {
 public:
  virtual ~CompiledFunction();
  virtual int num_inputs() const = 0;
  virtual int num_outputs() const = 0;
  /// Runs on `inputs`, which may be moved from, into `outputs`. Thread-safe.
  /// A Tensor without value stands for a dead value of a TensorFlow 1 graph, both ways.
  virtual Status Run(Span<Tensor> inputs, Span<Tensor> outputs, RunState& run) const = 0;
};

/// Inputs and outputs of one execution of one node.
class SAVEDMODEL_EXPORT OpContext {
 public:
  OpContext(Span<Tensor* const> inputs, Span<Tensor* const> outputs,
            Span<const DType> output_dtypes, RunState& run)
      : inputs_(inputs), outputs_(outputs), output_dtypes_(output_dtypes), run_(run) {}

  int num_inputs() const { return static_cast<int>(inputs_.size()); }
  int num_outputs() const { return static_cast<int>(outputs_.size()); }
  const Tensor& input(int i) const { return *inputs_[i]; }
  /// Elements of input `i`; nullptr when it does not store T.
  template <class T>
  const T* in(int i) const {
    return inputs_[i]->data<T>();
  }
  /// The only element of integer input `i` (int32 or int64), widened.
  int64_t IntInput(int i) const;
  /// All elements of integer input `i` (int32 or int64), widened.
  std::vector<int64_t> IntsInput(int i) const;

  /// Output `i`. Already allocated when the shape function knew its shape.
  Tensor& output(int i) { return *outputs_[i]; }
  template <class T>
  T* out(int i) {
    return IsStoredAs<T>(outputs_[i]->dtype()) ? static_cast<T*>(outputs_[i]->raw_mutable_data())
                                               : nullptr;
  }
  DType output_dtype(int i) const { return output_dtypes_[i]; }
  /// Gives output `i` memory for `shape`, from the run's budget; keeps what it has when that
  /// already has this shape.
  Status AllocateOutput(int i, const Shape& shape);
  /// Makes `t` output `i`. `t` must own its elements (not be a View).
  void set_output(int i, Tensor t) { *outputs_[i] = std::move(t); }
  /// Makes the elements of input `from`, under `shape`, output `to`: shared where the input owns
  /// them, copied where it does not.
  Status ForwardInput(int from, int to, const Shape& shape);
  /// Moves input `i` out when this node is its only user, so that it may be changed in place;
  /// otherwise returns a Tensor that shares its elements.
  Tensor TakeInput(int i);
  /// Scratch memory from the run's budget.
  StatusOr<Tensor> AllocateTemp(DType dtype, const Shape& shape) const {
    return Tensor::Allocate(dtype, shape, run_.budget);
  }

  RunState& run() { return run_; }
  Status CheckInterrupt() const { return run_.CheckInterrupt(); }
  /// Calls `fn(begin, end)` on parts that cover [0, n), several at once where the work is worth it.
  /// `cost` is a rough number of nanoseconds for one index. What `fn` writes for an index must not
  /// depend on how the range is cut, so that results are the same for any number of threads.
  void ParallelFor(int64_t n, double cost, FunctionRef<void(int64_t, int64_t)> fn) const;

  /// Called by the executor: this node is the last user of input `i`.
  void set_last_use(Span<const bool> last_use) { last_use_ = last_use; }

 private:
  Span<Tensor* const> inputs_;
  Span<Tensor* const> outputs_;
  Span<const DType> output_dtypes_;
  Span<const bool> last_use_;
  RunState& run_;
};

// ------------------------------------------------------------------------------ when a plan is
// made

/// A scalar op fused behind a kernel, applied to each element of output 0.
struct EpilogueStep {
  ScalarOp op = ScalarOp::kNone;
  int operand = -1;            // input index of the second operand; -1 for a unary op
  float parameter = 0;         // LeakyRelu's alpha
  bool operand_first = false;  // f(operand, x) instead of f(x, operand)
};

/// What a BuildFn sees of its node.
class SAVEDMODEL_EXPORT BuildContext {
 public:
  virtual ~BuildContext();
  virtual const std::string& node_name() const = 0;
  virtual const std::string& op_name() const = 0;
  virtual const Attrs& attrs() const = 0;
  virtual int num_inputs() const = 0;
  virtual int num_outputs() const = 0;
  virtual DType input_dtype(int i) const = 0;
  virtual DType output_dtype(int i) const = 0;
  /// Shapes as inferred for this plan; maybe not fully known.
  virtual const Shape& input_shape(int i) const = 0;
  virtual const Shape& output_shape(int i) const = 0;
  /// The value of input `i` where it is constant, else nullptr. Valid as long as the kernel.
  virtual const Tensor* constant_input(int i) const = 0;
  /// Steps fused behind this op; only where its row accepts an epilogue.
  virtual Span<const EpilogueStep> epilogue() const { return {}; }
  /// Compiles a function of the graph's library for arguments of these shapes.
  virtual StatusOr<std::shared_ptr<const CompiledFunction>> CompileFunction(
      const FuncAttr& f, Span<const Shape> input_shapes) = 0;
  /// Threads that a run of this plan may use, at most.
  virtual int num_threads() const { return 1; }
  /// What LoadOptions asks for.
  virtual Precision precision() const { return Precision::kFloat32; }
  /// A packed form of constant `source` under `kind`, made by `pack` once and shared by every plan
  /// that asks for the same.
  virtual StatusOr<std::shared_ptr<const void>> Packed(
      const Tensor& source, const std::string& kind,
      FunctionRef<StatusOr<std::shared_ptr<const void>>()> pack) = 0;
};

namespace internal {
/// The kernel that `run` runs with `callable`, which `del` deletes.
SAVEDMODEL_EXPORT KernelPtr MakeCallableKernel(const void* callable,
                                               Status (*run)(const void* callable, OpContext& ctx),
                                               void (*del)(const void* callable),
                                               std::string_view choice);
}  // namespace internal

/// A kernel from a callable `Status fn(OpContext&)`; what it captures is the kernel's state.
/// `choice` is its DebugString.
template <class F>
StatusOr<KernelPtr> MakeKernel(F fn, std::string_view choice = "") {
  return internal::MakeCallableKernel(
      new F(std::move(fn)),
      [](const void* callable, OpContext& ctx) -> Status {
        return (*static_cast<const F*>(callable))(ctx);
      },
      [](const void* callable) { delete static_cast<const F*>(callable); }, choice);
}

/// The BuildFn of an op whose kernel is a plain function without attributes.
template <Status (*run)(OpContext&)>
StatusOr<KernelPtr> BuildPlain(BuildContext&) {
  return MakeKernel([](OpContext& ctx) { return run(ctx); });
}

}  // namespace savedmodel
