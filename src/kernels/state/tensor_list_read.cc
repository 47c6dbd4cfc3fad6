// Ops that read tensor lists.
#include <algorithm>
#include <utility>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/elements.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/state/tensor_list.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// `shape` with what the initialised items of `indices` (all if null) tell, where it is not known.
StatusOr<Shape> ResolveShape(const TensorList& list, Shape shape,
                             const std::vector<int64_t>* indices = nullptr) {
  const int64_t n = indices == nullptr ? list.size() : static_cast<int64_t>(indices->size());
  for (int64_t i = 0; i < n; ++i) {
    const Tensor& item = list.item(indices == nullptr ? i : (*indices)[i]);
    if (!item.has_value() || (shape.fully_known() && item.shape() == shape)) continue;
    SM_ASSIGN_OR_RETURN(shape, shape.Merge(item.shape()));
  }
  return shape;
}

Status NotResolved(const Shape& shape) {
  return InvalidArgument("the element shape ", shape,
                         " is not fully known, and no item tells the rest");
}

Status GetItemShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(Shape shape, ElementShapeInput(ctx, 2));
  ctx.set_output(0, std::move(shape));
  return Status();
}

// Makes item `index` of `list` output `output`; `shape` is what is known of its shape.
Status PutItem(OpContext& ctx, const TensorList& list, int64_t index, const Shape& shape,
               int output) {
  const Tensor& item = list.item(index);
  if (item.has_value()) {
    SM_CHECK_ARG(shape.CompatibleWith(item.shape()), "item ", index, " has shape ", item.shape(),
                 ", expected ", shape);
    ctx.set_output(output, item);
    return Status();
  }
  if (!shape.fully_known()) return NotResolved(shape);
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, shape));
  return CopyElements(item, 0, ctx.output(output), 0, shape.num_elements());
}

Status RunGetItem(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const TensorList* list, ListInput(ctx, 0, ctx.output_dtype(0)));
  SM_CHECK_ARG(ctx.input(1).num_elements() == 1, "the index has shape ", ctx.input(1).shape(),
               ", expected a scalar");
  const int64_t index = ctx.IntInput(1);
  SM_CHECK_ARG(index >= 0 && index < list->size(), "item ", index, " is out of range in a list of ",
               list->size(), " items");
  SM_ASSIGN_OR_RETURN(Shape shape, MergedElementShape(ctx, *list, 2));
  if (!list->item(index).has_value() && !shape.fully_known()) {
    SM_ASSIGN_OR_RETURN(shape, ResolveShape(*list, shape));
  }
  return PutItem(ctx, *list, index, shape, 0);
}

Status PopBackShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(Shape shape, ElementShapeInput(ctx, 1));
  ctx.set_output(0, Shape());
  ctx.set_output(1, std::move(shape));
  return Status();
}

Status RunPopBack(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TakenList taken, TakeList(ctx, 0, ctx.output_dtype(1)));
  const int64_t last = taken.list->size() - 1;
  SM_CHECK_ARG(last >= 0, "cannot pop from an empty list");
  SM_ASSIGN_OR_RETURN(const Shape shape, MergedElementShape(ctx, *taken.list, 1));
  SM_RETURN_IF_ERROR(PutItem(ctx, *taken.list, last, shape, 1));
  SM_RETURN_IF_ERROR(taken.list->Resize(last));
  ctx.set_output(0, std::move(taken.handle));
  return Status();
}

Status RunLength(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const TensorList* list, ListInput(ctx, 0, DType::kInvalid));
  *ctx.out<int32_t>(0) = static_cast<int32_t>(list->size());
  return Status();
}

// A vector of the element shape's dimensions; the scalar -1 where not even the rank is known.
Status RunElementShape(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const TensorList* list, ListInput(ctx, 0, DType::kInvalid));
  const Shape& shape = list->element_shape();
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, shape.known_rank() ? Shape({shape.rank()}) : Shape()));
  return VisitDType<kInt32Or64>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = ctx.out<T>(0);
    if (!shape.known_rank()) *out = -1;
    for (int i = 0; i < shape.rank(); ++i) out[i] = static_cast<T>(shape[i]);
    return Status();
  });
}

StatusOr<Shape> WithRows(int64_t rows, const Shape& element) {
  if (!element.known_rank()) return element;
  Shape shape = element.WithInserted(0, rows);
  SM_CHECK_ARG(shape.valid(), rows, " items of shape ", element, " are too many");
  return shape;
}

Status StackShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Shape element, ElementShapeInput(ctx, 1));
  const int64_t rows = ctx.attrs().Int("num_elements");
  SM_ASSIGN_OR_RETURN(Shape shape, WithRows(rows < 0 ? -1 : rows, element));
  ctx.set_output(0, std::move(shape));
  return Status();
}

// Output 0 is items `indices` (all if null) one after another, along a new first dimension.
Status StackItems(OpContext& ctx, const TensorList& list, Shape element,
                  const std::vector<int64_t>* indices) {
  const int64_t n = indices == nullptr ? list.size() : static_cast<int64_t>(indices->size());
  if (n == 0 && !element.fully_known()) return NotResolved(element);
  SM_ASSIGN_OR_RETURN(element, ResolveShape(list, std::move(element), indices));
  if (!element.fully_known()) return NotResolved(element);
  SM_ASSIGN_OR_RETURN(const Shape shape, WithRows(n, element));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, shape));
  const int64_t size = element.num_elements();
  for (int64_t i = 0; i < n; ++i) {
    const Tensor& item = list.item(indices == nullptr ? i : (*indices)[i]);
    SM_RETURN_IF_ERROR(CopyElements(item, 0, ctx.output(0), i * size, size));
  }
  return Status();
}

StatusOr<KernelPtr> BuildStack(BuildContext& build) {
  return MakeKernel([expected = build.attrs().Int("num_elements")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const TensorList* list, ListInput(ctx, 0, ctx.output_dtype(0)));
    SM_CHECK_ARG(expected < 0 || expected == list->size(), "the list has ", list->size(),
                 " items, expected ", expected);
    SM_ASSIGN_OR_RETURN(Shape element, MergedElementShape(ctx, *list, 1));
    return StackItems(ctx, *list, std::move(element), nullptr);
  });
}

Status GatherShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_ASSIGN_OR_RETURN(const Shape element, ElementShapeInput(ctx, 2));
  SM_ASSIGN_OR_RETURN(Shape shape,
                      WithRows(ctx.input(1).known_rank() ? ctx.input(1)[0] : -1, element));
  ctx.set_output(0, std::move(shape));
  return Status();
}

Status RunGather(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const TensorList* list, ListInput(ctx, 0, ctx.output_dtype(0)));
  const std::vector<int64_t> indices = ctx.IntsInput(1);
  for (const int64_t index : indices) {
    SM_CHECK_ARG(index >= 0 && index < list->size(), "item ", index,
                 " is out of range in a list of ", list->size(), " items");
  }
  SM_ASSIGN_OR_RETURN(Shape element, MergedElementShape(ctx, *list, 2));
  return StackItems(ctx, *list, std::move(element), &indices);
}

// What TensorListConcat finds out about the items before it allocates.
struct ConcatPlan {
  Shape tail;                    // dimensions after the first
  std::vector<int64_t> lengths;  // first dimension of each item
  int64_t rows = 0;
};

// An item that is not initialised has as many rows as `leading_dims` says, or else `first`, or
// else the initialised ones, if they agree.
StatusOr<ConcatPlan> PlanConcat(const TensorList& list, const Shape& element,
                                const std::vector<int64_t>& leading_dims) {
  SM_CHECK_ARG(!element.known_rank() || element.rank() >= 1,
               "items are scalars, expected rank 1 or more");
  ConcatPlan plan;
  plan.tail = element.known_rank() ? element.Slice(1, element.rank()) : Shape::Unknown();
  int64_t common = element.known_rank() ? element[0] : -1;
  const bool guess = common < 0;
  bool agree = true;
  for (int64_t i = 0; i < list.size(); ++i) {
    const Tensor& item = list.item(i);
    if (!item.has_value()) continue;
    const Shape& shape = item.shape();
    SM_CHECK_ARG(shape.rank() >= 1, "item ", i, " is a scalar, expected rank 1 or more");
    SM_ASSIGN_OR_RETURN(plan.tail, plan.tail.Merge(shape.Slice(1, shape.rank())));
    agree = agree && (common < 0 || common == shape[0]);
    if (guess) common = shape[0];
  }
  if (guess && !agree) common = -1;
  if (!plan.tail.fully_known()) return NotResolved(plan.tail);
  for (int64_t i = 0; i < list.size(); ++i) {
    const bool given = i < static_cast<int64_t>(leading_dims.size());
    const int64_t length = list.item(i).has_value() ? list.item(i).shape()[0]
                           : given                  ? leading_dims[i]
                                                    : common;
    SM_CHECK_ARG(length >= 0, "item ", i,
                 " is not initialised, and its first dimension is not known");
    plan.lengths.push_back(length);
    SM_CHECK_ARG(!__builtin_add_overflow(plan.rows, length, &plan.rows), "too many rows");
  }
  return plan;
}

// Outputs: items one after another along their first dimension, and the sizes of that.
Status ConcatItems(OpContext& ctx, const Shape& said, const std::vector<int64_t>& leading_dims) {
  SM_ASSIGN_OR_RETURN(const TensorList* list, ListInput(ctx, 0, ctx.output_dtype(0)));
  Shape element = list->element_shape();
  if (element.known_rank() && element.rank() >= 1 && said.known_rank() && said.rank() >= 1) {
    // The first dimensions may differ; what the op says goes.
    SM_ASSIGN_OR_RETURN(element,
                        element.WithDim(0, said[0] < 0 ? element[0] : said[0]).Merge(said));
  } else {
    SM_ASSIGN_OR_RETURN(element, element.Merge(said));
  }
  SM_ASSIGN_OR_RETURN(const ConcatPlan plan, PlanConcat(*list, element, leading_dims));
  SM_ASSIGN_OR_RETURN(const Shape shape, WithRows(plan.rows, plan.tail));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, shape));
  ctx.set_output(1, Tensor::Vector(plan.lengths));
  int64_t at = 0;
  for (int64_t i = 0; i < list->size(); ++i) {
    const int64_t size = plan.lengths[i] * plan.tail.num_elements();
    SM_RETURN_IF_ERROR(CopyElements(list->item(i), 0, ctx.output(0), at, size));
    at += size;
  }
  return Status();
}

StatusOr<KernelPtr> BuildConcat(BuildContext& build) {
  return MakeKernel([element = build.attrs().Get<Shape>("element_shape")](OpContext& ctx) {
    return ConcatItems(ctx, element, {});
  });
}

Status RunConcatV2(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Shape element, ShapeFromTensor(ctx.input(1)));
  return ConcatItems(ctx, element, ctx.IntsInput(2));
}

Status ConcatShape(ShapeContext& ctx) {
  ctx.set_output(1, Shape::UnknownOfRank(1));
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "TensorListConcat(input_handle: variant) -> (tensor: element_dtype, "
                  "lengths: int64); element_dtype: type; element_shape: shape = ?",
     .shape = ConcatShape,
     .build = BuildConcat},
    {.signature = "TensorListConcatV2(input_handle: variant, element_shape: shape_type, "
                  "leading_dims: int64) -> (tensor: element_dtype, lengths: int64); "
                  "element_dtype: type; shape_type: {int32,int64}",
     .shape = ConcatShape,
     .build = BuildPlain<RunConcatV2>},
    {.signature = "TensorListElementShape(input_handle: variant) -> (element_shape: shape_type); "
                  "shape_type: {int32,int64}",
     .shape = shape::Unknown,
     .build = BuildPlain<RunElementShape>},
    {.signature = "TensorListGather(input_handle: variant, indices: int32, "
                  "element_shape: int32) -> (values: element_dtype); element_dtype: type",
     .shape = GatherShape,
     .build = BuildPlain<RunGather>},
    {.signature = "TensorListGetItem(input_handle: variant, index: int32, "
                  "element_shape: Tshape) -> (item: element_dtype); element_dtype: type; "
                  "Tshape: {int32,int64} = int32",
     .shape = GetItemShape,
     .build = BuildPlain<RunGetItem>},
    {.signature = "TensorListLength(input_handle: variant) -> (length: int32)",
     .shape = shape::Scalar,
     .build = BuildPlain<RunLength>},
    {.signature = "TensorListPopBack(input_handle: variant, element_shape: int32) -> "
                  "(output_handle: variant, tensor: element_dtype); element_dtype: type",
     .shape = PopBackShape,
     .build = BuildPlain<RunPopBack>},
    {.signature = "TensorListStack(input_handle: variant, element_shape: int32) -> "
                  "(tensor: element_dtype); element_dtype: type; num_elements: int = -1",
     .shape = StackShape,
     .build = BuildStack},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> TensorListReadOps() { return kOps; }

}  // namespace savedmodel
