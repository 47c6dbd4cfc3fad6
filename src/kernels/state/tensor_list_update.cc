// Ops that make and change tensor lists.
#include <algorithm>
#include <utility>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/elements.h"
#include "src/kernels/state/keep_input.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/state/tensor_list.h"

namespace savedmodel {
namespace {

Status SetHandle(OpContext& ctx, std::shared_ptr<TensorList> list) {
  ctx.set_output(0, Tensor::Scalar<VariantRef>(std::move(list)));
  return Status();
}

Status ExpectScalar(const OpContext& ctx, int i) {
  SM_CHECK_ARG(ctx.input(i).num_elements() == 1, "input ", i, " has shape ", ctx.input(i).shape(),
               ", expected a scalar");
  return Status();
}

// A list of `size` items, of the dtype that the node declares and the shape that input
// `shape_input` says.
StatusOr<std::shared_ptr<TensorList>> MakeList(OpContext& ctx, DType dtype, int shape_input,
                                               int64_t size) {
  SM_ASSIGN_OR_RETURN(Shape shape, ShapeFromTensor(ctx.input(shape_input)));
  auto list = std::make_shared<TensorList>(dtype, std::move(shape), ctx.run().budget);
  SM_RETURN_IF_ERROR(list->Resize(size));
  return list;
}

StatusOr<KernelPtr> BuildEmpty(BuildContext& build) {
  return MakeKernel([dtype = build.attrs().Type("element_dtype")](OpContext& ctx) -> Status {
    SM_RETURN_IF_ERROR(ExpectScalar(ctx, 1));
    SM_ASSIGN_OR_RETURN(auto list, MakeList(ctx, dtype, 0, 0));
    list->set_max_size(ctx.IntInput(1));
    return SetHandle(ctx, std::move(list));
  });
}

StatusOr<KernelPtr> BuildReserve(BuildContext& build) {
  return MakeKernel([dtype = build.attrs().Type("element_dtype")](OpContext& ctx) -> Status {
    SM_RETURN_IF_ERROR(ExpectScalar(ctx, 1));
    const int64_t size = ctx.IntInput(1);
    SM_CHECK_ARG(size >= 0, "cannot reserve ", size, " items, expected a number >= 0");
    SM_ASSIGN_OR_RETURN(auto list, MakeList(ctx, dtype, 0, size));
    return SetHandle(ctx, std::move(list));
  });
}

Status RunResize(OpContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectScalar(ctx, 1));
  const int64_t size = ctx.IntInput(1);
  SM_CHECK_ARG(size >= 0, "cannot resize a list to ", size, " items, expected a number >= 0");
  SM_ASSIGN_OR_RETURN(TakenList taken, TakeList(ctx, 0, DType::kInvalid));
  SM_RETURN_IF_ERROR(taken.list->Resize(size));
  ctx.set_output(0, std::move(taken.handle));
  return Status();
}

StatusOr<KernelPtr> BuildSetItem(BuildContext& build) {
  const bool resize = build.attrs().Bool("resize_if_index_out_of_bounds");
  return MakeKernel([resize](OpContext& ctx) -> Status {
    SM_RETURN_IF_ERROR(ExpectScalar(ctx, 1));
    const int64_t index = ctx.IntInput(1);
    SM_ASSIGN_OR_RETURN(TakenList taken, TakeList(ctx, 0, ctx.input(2).dtype()));
    TensorList& list = *taken.list;
    SM_RETURN_IF_ERROR(list.CheckItem(ctx.input(2)));
    SM_CHECK_ARG(index >= 0 && (resize || index < list.size()), "item ", index,
                 " is out of range in a list of ", list.size(), " items");
    if (index >= list.size()) SM_RETURN_IF_ERROR(list.Resize(index + 1));
    SM_ASSIGN_OR_RETURN(Tensor item, KeepInput(ctx, 2));
    list.set_item(index, std::move(item));
    ctx.set_output(0, std::move(taken.handle));
    return Status();
  });
}

Status Push(TensorList& list, Tensor item) {
  SM_RETURN_IF_ERROR(list.CheckItem(item));
  SM_CHECK_ARG(list.max_size() < 0 || list.size() < list.max_size(), "the list is full: it has ",
               list.size(), " items, at most ", list.max_size(), " were asked for");
  SM_RETURN_IF_ERROR(list.Resize(list.size() + 1));
  list.set_item(list.size() - 1, std::move(item));
  return Status();
}

Status RunPushBack(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TakenList taken, TakeList(ctx, 0, ctx.input(1).dtype()));
  SM_ASSIGN_OR_RETURN(Tensor item, KeepInput(ctx, 1));
  SM_RETURN_IF_ERROR(Push(*taken.list, std::move(item)));
  ctx.set_output(0, std::move(taken.handle));
  return Status();
}

Status ExpectRows(const Tensor& t) {
  SM_CHECK_ARG(t.shape().rank() >= 1, "the tensor is a scalar, expected rank 1 or more");
  return Status();
}

// Pushes row i of input 1 to the i-th list of input 0.
Status RunPushBackBatch(OpContext& ctx) {
  const Tensor& handles = ctx.input(0);
  SM_ASSIGN_OR_RETURN(const Tensor rows, KeepInput(ctx, 1));
  SM_RETURN_IF_ERROR(ExpectRows(rows));
  SM_CHECK_ARG(handles.shape().rank() == 1 && handles.shape()[0] == rows.shape()[0],
               "lists of shape ", handles.shape(), " cannot take the rows of a tensor of shape ",
               rows.shape());
  SM_ASSIGN_OR_RETURN(Tensor out, ctx.AllocateTemp(DType::kVariant, handles.shape()));
  for (int64_t i = 0; i < handles.num_elements(); ++i) {
    const auto* list = dynamic_cast<const TensorList*>(handles.data<VariantRef>()[i].get());
    SM_CHECK_ARG(list != nullptr, "element ", i, " of input 0 is no tensor list");
    SM_ASSIGN_OR_RETURN(std::shared_ptr<TensorList> copy, list->Copy(ctx.run().budget));
    SM_RETURN_IF_ERROR(Push(*copy, Row(rows, i)));
    out.mutable_data<VariantRef>()[i] = std::move(copy);
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

// The list whose items are the rows of input 0.
Status RunFromTensor(OpContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectRows(ctx.input(0)));
  SM_ASSIGN_OR_RETURN(const Tensor rows, KeepInput(ctx, 0));
  SM_ASSIGN_OR_RETURN(auto list, MakeList(ctx, rows.dtype(), 1, rows.shape()[0]));
  const Shape row = rows.shape().Slice(1, rows.shape().rank());
  SM_CHECK_ARG(list->element_shape().CompatibleWith(row), "rows of shape ", row,
               " do not fit the element shape ", list->element_shape());
  SM_RETURN_IF_ERROR(list->Admit(rows));
  for (int64_t i = 0; i < list->size(); ++i) list->set_item(i, Row(rows, i));
  return SetHandle(ctx, std::move(list));
}

// Items indices[i] of `list` become row i of input `rows_input`. `size` items at most, or as many
// as the indices need if negative.
Status ScatterInto(OpContext& ctx, TensorList& list, int rows_input, int indices_input,
                   int64_t size) {
  SM_RETURN_IF_ERROR(ExpectRows(ctx.input(rows_input)));
  SM_CHECK_ARG(ctx.input(indices_input).shape().rank() == 1, "indices have shape ",
               ctx.input(indices_input).shape(), ", expected a vector");
  SM_ASSIGN_OR_RETURN(const Tensor rows, KeepInput(ctx, rows_input));
  const std::vector<int64_t> indices = ctx.IntsInput(indices_input);
  const Shape row = rows.shape().Slice(1, rows.shape().rank());
  SM_CHECK_ARG(list.element_shape().CompatibleWith(row), "rows of shape ", row,
               " do not fit the element shape ", list.element_shape());
  SM_CHECK_ARG(static_cast<int64_t>(indices.size()) == rows.shape()[0], "found ", indices.size(),
               " indices for ", rows.shape()[0], " rows");
  int64_t needed = std::max(list.size(), size);
  for (const int64_t index : indices) {
    SM_CHECK_ARG(index >= 0 && (size < 0 || index < size), "index ", index,
                 " is out of range in a list of ", needed, " items");
    needed = std::max(needed, index + 1);
  }
  SM_RETURN_IF_ERROR(list.Admit(rows));
  SM_RETURN_IF_ERROR(list.Resize(needed));
  for (size_t i = 0; i < indices.size(); ++i) {
    list.set_item(indices[i], Row(rows, static_cast<int64_t>(i)));
  }
  return Status();
}

// TensorListScatter, and V2, which says the number of items.
Status RunScatter(OpContext& ctx) {
  int64_t size = -1;
  if (ctx.num_inputs() > 3) {
    SM_RETURN_IF_ERROR(ExpectScalar(ctx, 3));
    size = ctx.IntInput(3);
    SM_CHECK_ARG(size >= -1, "found ", size, " items, expected a number >= -1");
  }
  SM_ASSIGN_OR_RETURN(auto list, MakeList(ctx, ctx.input(0).dtype(), 2, 0));
  SM_RETURN_IF_ERROR(ScatterInto(ctx, *list, 0, 1, size));
  return SetHandle(ctx, std::move(list));
}

Status RunScatterIntoExisting(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TakenList taken, TakeList(ctx, 0, ctx.input(1).dtype()));
  SM_RETURN_IF_ERROR(ScatterInto(ctx, *taken.list, 1, 2, -1));
  ctx.set_output(0, std::move(taken.handle));
  return Status();
}

// The list of parts of input 0 along its first dimension, lengths[i] rows each.
Status RunSplit(OpContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectRows(ctx.input(0)));
  SM_CHECK_ARG(ctx.input(2).shape().rank() == 1, "lengths have shape ", ctx.input(2).shape(),
               ", expected a vector");
  SM_ASSIGN_OR_RETURN(const Tensor rows, KeepInput(ctx, 0));
  const std::vector<int64_t> lengths = ctx.IntsInput(2);
  SM_ASSIGN_OR_RETURN(auto list, MakeList(ctx, rows.dtype(), 1, ctx.input(2).num_elements()));
  const Shape& expected = list->element_shape();
  SM_CHECK_ARG(!expected.known_rank() ||
                   (expected.rank() >= 1 && expected.WithDim(0, -1).CompatibleWith(rows.shape())),
               "a tensor of shape ", rows.shape(), " cannot be split into items of shape ",
               expected);
  SM_RETURN_IF_ERROR(list->Admit(rows));
  int64_t begin = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    SM_CHECK_ARG(lengths[i] >= 0 && lengths[i] <= rows.shape()[0] - begin, "part ", i, " of ",
                 lengths[i], " rows does not fit into the ", rows.shape()[0] - begin,
                 " rows that are left");
    list->set_item(static_cast<int64_t>(i), rows.Rows(begin, begin + lengths[i]));
    begin += lengths[i];
  }
  SM_CHECK_ARG(begin == rows.shape()[0], "the lengths add up to ", begin,
               ", expected the number of rows, ", rows.shape()[0]);
  return SetHandle(ctx, std::move(list));
}

// Lists of input 0, each followed by the items of its counterpart in input 1.
StatusOr<KernelPtr> BuildConcatLists(BuildContext& build) {
  return MakeKernel([dtype = build.attrs().Type("element_dtype")](OpContext& ctx) -> Status {
    const Tensor &a = ctx.input(0), &b = ctx.input(1);
    SM_CHECK_ARG(a.shape() == b.shape(), "found lists of shapes ", a.shape(), " and ", b.shape(),
                 ", expected the same shape");
    SM_ASSIGN_OR_RETURN(Tensor out, ctx.AllocateTemp(DType::kVariant, a.shape()));
    for (int64_t i = 0; i < a.num_elements(); ++i) {
      const auto* head = dynamic_cast<const TensorList*>(a.data<VariantRef>()[i].get());
      const auto* tail = dynamic_cast<const TensorList*>(b.data<VariantRef>()[i].get());
      SM_CHECK_ARG(head != nullptr && tail != nullptr, "element ", i, " is no tensor list");
      SM_CHECK_ARG(head->dtype() == dtype && tail->dtype() == dtype, "the lists hold ",
                   head->dtype(), " and ", tail->dtype(), ", expected ", dtype);
      SM_CHECK_ARG(head->element_shape() == tail->element_shape(), "the lists' element shapes ",
                   head->element_shape(), " and ", tail->element_shape(), " are not the same");
      SM_ASSIGN_OR_RETURN(std::shared_ptr<TensorList> both, head->Copy(ctx.run().budget));
      SM_RETURN_IF_ERROR(both->Resize(head->size() + tail->size()));
      for (int64_t k = 0; k < tail->size(); ++k) {
        SM_RETURN_IF_ERROR(both->Admit(tail->item(k)));
        both->set_item(head->size() + k, tail->item(k));
      }
      out.mutable_data<VariantRef>()[i] = std::move(both);
    }
    ctx.set_output(0, std::move(out));
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "EmptyTensorList(element_shape: shape_type, max_num_elements: int32) -> "
                  "(handle: variant); element_dtype: type; shape_type: {int32,int64}",
     .shape = shape::Scalar,
     .build = BuildEmpty},
    {.signature = "TensorListConcatLists(input_a: variant, input_b: variant) -> "
                  "(output: variant); element_dtype: type",
     .shape = shape::SameAsInput0,
     .build = BuildConcatLists},
    {.signature = "TensorListFromTensor(tensor: element_dtype, element_shape: shape_type) -> "
                  "(output_handle: variant); element_dtype: type; shape_type: {int32,int64}",
     .shape = shape::Scalar,
     .build = BuildPlain<RunFromTensor>},
    {.signature = "TensorListPushBack(input_handle: variant, tensor: element_dtype) -> "
                  "(output_handle: variant); element_dtype: type",
     .shape = shape::Scalar,
     .build = BuildPlain<RunPushBack>},
    {.signature = "TensorListPushBackBatch(input_handles: variant, tensor: element_dtype) -> "
                  "(output_handles: variant); element_dtype: type",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunPushBackBatch>},
    {.signature = "TensorListReserve(element_shape: shape_type, num_elements: int32) -> "
                  "(handle: variant); element_dtype: type; shape_type: {int32,int64}",
     .shape = shape::Scalar,
     .build = BuildReserve},
    {.signature = "TensorListResize(input_handle: variant, size: int32) -> "
                  "(output_handle: variant)",
     .shape = shape::Scalar,
     .build = BuildPlain<RunResize>},
    {.signature = "TensorListScatter(tensor: element_dtype, indices: int32, element_shape: "
                  "shape_type) -> (output_handle: variant); element_dtype: type; "
                  "shape_type: {int32,int64}",
     .shape = shape::Scalar,
     .build = BuildPlain<RunScatter>},
    {.signature = "TensorListScatterIntoExistingList(input_handle: variant, "
                  "tensor: element_dtype, indices: int32) -> (output_handle: variant); "
                  "element_dtype: type",
     .shape = shape::Scalar,
     .build = BuildPlain<RunScatterIntoExisting>},
    {.signature = "TensorListScatterV2(tensor: element_dtype, indices: int32, element_shape: "
                  "shape_type, num_elements: int32) -> (output_handle: variant); "
                  "element_dtype: type; shape_type: {int32,int64}",
     .shape = shape::Scalar,
     .build = BuildPlain<RunScatter>},
    {.signature = "TensorListSetItem(input_handle: variant, index: int32, item: element_dtype) -> "
                  "(output_handle: variant); element_dtype: type; "
                  "resize_if_index_out_of_bounds: bool = false",
     .shape = shape::Scalar,
     .build = BuildSetItem},
    {.signature = "TensorListSplit(tensor: element_dtype, element_shape: shape_type, "
                  "lengths: int64) -> (output_handle: variant); element_dtype: type; "
                  "shape_type: {int32,int64}",
     .shape = shape::Scalar,
     .build = BuildPlain<RunSplit>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> TensorListUpdateOps() { return kOps; }

}  // namespace savedmodel
