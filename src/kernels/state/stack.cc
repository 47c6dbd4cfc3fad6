// Stacks of tensors, as TensorFlow 1's loops keep them for gradients.
#include <mutex>
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/keep_input.h"
#include "src/kernels/state/resource_input.h"
#include "src/kernels/state/state_ops.h"

namespace savedmodel {
namespace {

class TensorStack final : public Resource {
 public:
  // `max_size`: negative for any number of items.
  TensorStack(DType dtype, int64_t max_size) : dtype_(dtype), max_size_(max_size) {}
  std::string_view kind() const override { return "stack"; }
  StatusOr<ResourceRef> Clone() const override { return ResourceRef(); }

  Status Push(Tensor item) {
    std::lock_guard<std::mutex> lock(mutex_);
    SM_CHECK_ARG(!closed_, "the stack has been closed");
    SM_CHECK_ARG(item.dtype() == dtype_, "the stack holds ", dtype_, ", found ", item.TypeString());
    SM_CHECK_ARG(max_size_ < 0 || static_cast<int64_t>(items_.size()) < max_size_,
                 "the stack is full: it has ", items_.size(), " items");
    items_.push_back(std::move(item));
    return Status();
  }

  StatusOr<Tensor> Pop() {
    std::lock_guard<std::mutex> lock(mutex_);
    SM_CHECK_ARG(!closed_, "the stack has been closed");
    SM_CHECK_ARG(!items_.empty(), "cannot pop from an empty stack");
    Tensor item = std::move(items_.back());
    items_.pop_back();
    return item;
  }

  void Close() {
    std::lock_guard<std::mutex> lock(mutex_);
    items_.clear();
    closed_ = true;
  }

 private:
  const DType dtype_;
  const int64_t max_size_;
  std::mutex mutex_;
  std::vector<Tensor> items_;
  bool closed_ = false;
};

StatusOr<KernelPtr> BuildStack(BuildContext& build) {
  return MakeKernel([dtype = build.attrs().Type("elem_type"),
                     name = build.node_name()](OpContext& ctx) -> Status {
    int64_t max_size = -1;
    if (ctx.num_inputs() > 0) {
      SM_CHECK_ARG(ctx.input(0).num_elements() == 1, "max_size has shape ", ctx.input(0).shape(),
                   ", expected a scalar");
      max_size = ctx.IntInput(0);
    }
    auto stack = std::make_shared<TensorStack>(dtype, max_size);
    stack->set_name(name);
    ctx.set_output(0, Tensor::Scalar<ResourceRef>(std::move(stack)));
    return Status();
  });
}

Status RunPush(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TensorStack * stack, ResourceInput<TensorStack>(ctx, 0, "stack"));
  SM_ASSIGN_OR_RETURN(Tensor item, KeepInput(ctx, 1));
  SM_RETURN_IF_ERROR(stack->Push(item));
  ctx.set_output(0, std::move(item));
  return Status();
}

Status RunPop(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TensorStack * stack, ResourceInput<TensorStack>(ctx, 0, "stack"));
  SM_ASSIGN_OR_RETURN(Tensor item, stack->Pop());
  SM_CHECK_ARG(item.dtype() == ctx.output_dtype(0), "the stack holds ", item.dtype(), ", expected ",
               ctx.output_dtype(0));
  ctx.set_output(0, std::move(item));
  return Status();
}

Status RunClose(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TensorStack * stack, ResourceInput<TensorStack>(ctx, 0, "stack"));
  stack->Close();
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "Stack() -> (handle: Ref(string)); elem_type: type; stack_name: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildStack},
    {.signature = "StackClose(handle: Ref(string)) -> ()",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunClose>},
    {.signature = "StackCloseV2(handle: resource) -> ()",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunClose>},
    {.signature = "StackPop(handle: Ref(string)) -> (elem: elem_type); elem_type: type",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunPop>},
    {.signature = "StackPopV2(handle: resource) -> (elem: elem_type); elem_type: type",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunPop>},
    {.signature = "StackPush(handle: Ref(string), elem: T) -> (output: T); T: type; "
                  "swap_memory: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::SameAsInput1,
     .build = BuildPlain<RunPush>},
    {.signature = "StackPushV2(handle: resource, elem: T) -> (output: T); T: type; "
                  "swap_memory: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::SameAsInput1,
     .build = BuildPlain<RunPush>},
    {.signature = "StackV2(max_size: int32) -> (handle: resource); elem_type: type; "
                  "stack_name: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildStack},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> StackOps() { return kOps; }

}  // namespace savedmodel
