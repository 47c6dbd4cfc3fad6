// Tensor array ops. In TensorFlow 1's first version an array is known by a reference to its name,
// in the second by its name, in the third by a handle; a reference is a handle, too, here.
#include <atomic>
#include <deque>
#include <memory>
#include <numeric>
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/elements.h"
#include "src/kernels/state/keep_input.h"
#include "src/kernels/state/resource_input.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/state/tensor_array.h"

namespace savedmodel {
namespace {

// Names of the arrays that TensorArrayV2 nodes have made. A name does not keep its array alive, so
// the table does: the latest arrays of a node, that is.
class NamedArrays {
 public:
  std::string Add(ResourceTable& table, ResourceRef array) {
    constexpr size_t kMost = 1024;
    static std::atomic<uint64_t> next{0};
    std::string key = ResourceTable::Key("tensor array", "", std::to_string(next++));
    table.Put(key, std::move(array));
    std::lock_guard<std::mutex> lock(mutex_);
    keys_.push_back(key);
    if (keys_.size() > kMost) {
      table.Erase(keys_.front());
      keys_.pop_front();
    }
    return key;
  }

 private:
  std::mutex mutex_;
  std::deque<std::string> keys_;
};

StatusOr<KernelPtr> BuildArray(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  TensorArray::Spec spec;
  spec.dtype = attrs.Type("dtype");
  spec.element_shape = attrs.Get<Shape>("element_shape");
  spec.dynamic_size = attrs.Bool("dynamic_size");
  spec.clear_after_read = attrs.Bool("clear_after_read");
  spec.identical_element_shapes = attrs.Bool("identical_element_shapes");
  const bool by_name = build.op_name() == "TensorArrayV2";
  return MakeKernel([spec, by_name, name = build.node_name(),
                     named = std::make_shared<NamedArrays>()](OpContext& ctx) -> Status {
    const int64_t size = ctx.IntInput(0);
    SM_CHECK_ARG(ctx.input(0).shape().rank() == 0 && size >= 0, "found size ",
                 ctx.input(0).ToString(), ", expected a scalar >= 0");
    if (size > kMostArrayItems) return ResourceExhausted("a tensor array of ", size, " items");
    auto array = std::make_shared<TensorArray>(spec, size);
    array->set_name(name);
    if (by_name) {
      if (ctx.run().resources == nullptr) return FailedPrecondition("this run has no resources");
      std::string key = named->Add(*ctx.run().resources, std::move(array));
      ctx.set_output(0, Tensor::Vector<std::string>({"_tensor_arrays", std::move(key)}));
    } else {
      ctx.set_output(0, Tensor::Scalar<ResourceRef>(std::move(array)));
    }
    if (ctx.num_outputs() > 1) ctx.set_output(1, Tensor::Scalar<float>(0));
    return Status();
  });
}

StatusOr<std::shared_ptr<TensorArray>> ArrayInput(OpContext& ctx) {
  const Tensor& handle = ctx.input(0);
  ResourceRef resource;
  if (const std::string* name = handle.data<std::string>();
      name != nullptr && ctx.run().resources != nullptr) {
    SM_CHECK_ARG(handle.num_elements() == 2, "a tensor array's handle has shape ", handle.shape(),
                 ", expected [2]");
    resource = ctx.run().resources->Find(name[1]);
  } else if (const ResourceRef* ref = handle.data<ResourceRef>();
             ref != nullptr && handle.num_elements() == 1) {
    resource = *ref;
  }
  auto array = std::dynamic_pointer_cast<TensorArray>(resource);
  SM_CHECK_ARG(array != nullptr, "input 0 is no handle of an open tensor array");
  return array;
}

// Output 0 is the flow value, which only orders ops.
Status SetFlow(OpContext& ctx) {
  const float* flow = ctx.in<float>(ctx.num_inputs() - 1);
  SM_CHECK_ARG(ctx.input(ctx.num_inputs() - 1).num_elements() == 1, "the flow value is no scalar");
  ctx.set_output(0, Tensor::Scalar<float>(*flow));
  return Status();
}

Status ExpectScalar(const OpContext& ctx, int i) {
  SM_CHECK_ARG(ctx.input(i).shape().rank() == 0, "input ", i, " has shape ", ctx.input(i).shape(),
               ", expected a scalar");
  return Status();
}

Status ExpectRows(const Tensor& t) {
  SM_CHECK_ARG(t.shape().rank() >= 1, "the value is a scalar, expected rank 1 or more");
  return Status();
}

Status RunWrite(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
  SM_RETURN_IF_ERROR(ExpectScalar(ctx, 1));
  const int64_t index = ctx.IntInput(1);
  SM_ASSIGN_OR_RETURN(Tensor value, KeepInput(ctx, 2));
  SM_RETURN_IF_ERROR(array->Write(index, std::move(value)));
  return SetFlow(ctx);
}

Status CheckDType(const OpContext& ctx, const TensorArray& array) {
  SM_CHECK_ARG(array.dtype() == ctx.output_dtype(0), "the tensor array holds ", array.dtype(),
               ", expected ", ctx.output_dtype(0));
  return Status();
}

Status RunRead(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
  SM_RETURN_IF_ERROR(CheckDType(ctx, *array));
  SM_RETURN_IF_ERROR(ExpectScalar(ctx, 1));
  SM_ASSIGN_OR_RETURN(std::vector<Tensor> values, array->Read({ctx.IntInput(1)}, ctx.run().budget));
  ctx.set_output(0, std::move(values[0]));
  return Status();
}

std::vector<int64_t> UpTo(int64_t n) {
  std::vector<int64_t> indices(n);
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

// Output 0 is the items one after another, along a new first dimension.
Status Pack(OpContext& ctx, TensorArray& array, const std::vector<int64_t>& indices,
            const Shape& expected) {
  SM_RETURN_IF_ERROR(CheckDType(ctx, array));
  SM_RETURN_IF_ERROR(array.MergeElementShape(expected));
  SM_ASSIGN_OR_RETURN(const std::vector<Tensor> values, array.Read(indices, ctx.run().budget));
  const Shape element = values.empty() ? array.element_shape() : values[0].shape();
  if (!element.fully_known()) {
    return Unimplemented("no items are read, and the shape of an item, ", element,
                         ", is not fully known");
  }
  const int64_t n = static_cast<int64_t>(values.size()), size = element.num_elements();
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, element.WithInserted(0, n)));
  for (int64_t i = 0; i < n; ++i) {
    SM_CHECK_ARG(values[i].shape() == element, "item ", indices[i], " has shape ",
                 values[i].shape(), ", item ", indices[0], " has ", element);
    SM_RETURN_IF_ERROR(CopyElements(values[i], 0, ctx.output(0), i * size, size));
  }
  return Status();
}

StatusOr<KernelPtr> BuildGather(BuildContext& build) {
  return MakeKernel([shape = build.attrs().Get<Shape>("element_shape")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
    SM_CHECK_ARG(ctx.input(1).shape().rank() == 1, "indices have shape ", ctx.input(1).shape(),
                 ", expected a vector");
    return Pack(ctx, *array, ctx.IntsInput(1), shape);
  });
}

StatusOr<KernelPtr> BuildPack(BuildContext& build) {
  return MakeKernel([shape = build.attrs().Get<Shape>("element_shape")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
    SM_ASSIGN_OR_RETURN(const int64_t size, array->Size());
    return Pack(ctx, *array, UpTo(size), shape);
  });
}

Status ConcatShape(ShapeContext& ctx) {
  ctx.set_output(1, Shape::UnknownOfRank(1));
  return Status();
}

// Outputs: all items one after another along their first dimension, and the sizes of that.
StatusOr<KernelPtr> BuildConcat(BuildContext& build) {
  return MakeKernel([expected = build.attrs().Get<Shape>("element_shape_except0")](
                        OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
    SM_RETURN_IF_ERROR(CheckDType(ctx, *array));
    SM_ASSIGN_OR_RETURN(const int64_t n, array->Size());
    SM_ASSIGN_OR_RETURN(const std::vector<Tensor> values, array->Read(UpTo(n), ctx.run().budget));
    Shape tail = expected;
    std::vector<int64_t> lengths;
    int64_t rows = 0;
    for (const Tensor& value : values) {
      SM_RETURN_IF_ERROR(ExpectRows(value));
      SM_ASSIGN_OR_RETURN(tail, tail.Merge(value.shape().Slice(1, value.shape().rank())));
      lengths.push_back(value.shape()[0]);
      SM_CHECK_ARG(!__builtin_add_overflow(rows, lengths.back(), &rows), "too many rows");
    }
    if (!tail.fully_known()) {
      return Unimplemented("the tensor array is empty, and the shape of a row, ", tail,
                           ", is not fully known");
    }
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, tail.WithInserted(0, rows)));
    ctx.set_output(1, Tensor::Vector(lengths));
    int64_t at = 0;
    for (const Tensor& value : values) {
      SM_RETURN_IF_ERROR(CopyElements(value, 0, ctx.output(0), at, value.num_elements()));
      at += value.num_elements();
    }
    return Status();
  });
}

// Item indices[i] becomes row i of the value.
Status WriteRows(OpContext& ctx, TensorArray& array, const std::vector<int64_t>& indices,
                 int value_input) {
  SM_RETURN_IF_ERROR(ExpectRows(ctx.input(value_input)));
  SM_ASSIGN_OR_RETURN(const Tensor rows, KeepInput(ctx, value_input));
  SM_CHECK_ARG(static_cast<int64_t>(indices.size()) == rows.shape()[0], "found ", indices.size(),
               " indices for ", rows.shape()[0], " rows");
  for (size_t i = 0; i < indices.size(); ++i) {
    SM_RETURN_IF_ERROR(array.Write(indices[i], Row(rows, static_cast<int64_t>(i))));
  }
  return SetFlow(ctx);
}

Status RunScatter(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
  SM_CHECK_ARG(ctx.input(1).shape().rank() == 1, "indices have shape ", ctx.input(1).shape(),
               ", expected a vector");
  return WriteRows(ctx, *array, ctx.IntsInput(1), 2);
}

Status RunUnpack(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
  SM_RETURN_IF_ERROR(ExpectRows(ctx.input(1)));
  const int64_t n = ctx.input(1).shape()[0];
  SM_RETURN_IF_ERROR(array->EnsureSize(n));
  return WriteRows(ctx, *array, UpTo(n), 1);
}

// Item i becomes the next lengths[i] rows of the value.
Status RunSplit(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
  SM_RETURN_IF_ERROR(ExpectRows(ctx.input(1)));
  SM_CHECK_ARG(ctx.input(2).shape().rank() == 1, "lengths have shape ", ctx.input(2).shape(),
               ", expected a vector");
  SM_ASSIGN_OR_RETURN(const Tensor rows, KeepInput(ctx, 1));
  const std::vector<int64_t> lengths = ctx.IntsInput(2);
  SM_RETURN_IF_ERROR(array->EnsureSize(static_cast<int64_t>(lengths.size())));
  int64_t begin = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    SM_CHECK_ARG(lengths[i] >= 0 && lengths[i] <= rows.shape()[0] - begin, "part ", i, " of ",
                 lengths[i], " rows does not fit into the ", rows.shape()[0] - begin,
                 " rows that are left");
    SM_RETURN_IF_ERROR(array->Write(static_cast<int64_t>(i), rows.Rows(begin, begin + lengths[i])));
    begin += lengths[i];
  }
  SM_CHECK_ARG(begin == rows.shape()[0], "the lengths add up to ", begin,
               ", expected the number of rows, ", rows.shape()[0]);
  return SetFlow(ctx);
}

Status RunSize(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
  SM_ASSIGN_OR_RETURN(const int64_t size, array->Size());
  *ctx.out<int32_t>(0) = static_cast<int32_t>(size);
  return Status();
}

Status RunClose(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(auto array, ArrayInput(ctx));
  array->Close();
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "TensorArray(size: int32) -> (handle: Ref(string)); dtype: type; "
                  "dynamic_size: bool = false; clear_after_read: bool = true; "
                  "tensor_array_name: string = ''; element_shape: shape = ?",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildArray},
    {.signature = "TensorArrayClose(handle: Ref(string)) -> ()",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunClose>},
    {.signature = "TensorArrayCloseV2(handle: string) -> ()",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunClose>},
    {.signature = "TensorArrayCloseV3(handle: resource) -> ()",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunClose>},
    {.signature = "TensorArrayConcat(handle: Ref(string), flow_in: float) -> (value: dtype, "
                  "lengths: int64); dtype: type; element_shape_except0: shape = ?",
     .effects = Effects::kWritesState,
     .shape = ConcatShape,
     .build = BuildConcat},
    {.signature = "TensorArrayConcatV2(handle: string, flow_in: float) -> (value: dtype, "
                  "lengths: int64); dtype: type; element_shape_except0: shape = ?",
     .effects = Effects::kWritesState,
     .shape = ConcatShape,
     .build = BuildConcat},
    {.signature = "TensorArrayConcatV3(handle: resource, flow_in: float) -> (value: dtype, "
                  "lengths: int64); dtype: type; element_shape_except0: shape = ?",
     .effects = Effects::kWritesState,
     .shape = ConcatShape,
     .build = BuildConcat},
    {.signature = "TensorArrayGather(handle: Ref(string), indices: int32, flow_in: float) -> "
                  "(value: dtype); dtype: type; element_shape: shape = ?",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildGather},
    {.signature = "TensorArrayGatherV2(handle: string, indices: int32, flow_in: float) -> "
                  "(value: dtype); dtype: type; element_shape: shape = ?",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildGather},
    {.signature = "TensorArrayGatherV3(handle: resource, indices: int32, flow_in: float) -> "
                  "(value: dtype); dtype: type; element_shape: shape = ?",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildGather},
    {.signature = "TensorArrayPack(handle: Ref(string), flow_in: float) -> (value: dtype); "
                  "dtype: type; element_shape: shape = ?",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildPack},
    {.signature = "TensorArrayRead(handle: Ref(string), index: int32, flow_in: float) -> "
                  "(value: dtype); dtype: type",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunRead>},
    {.signature = "TensorArrayReadV2(handle: string, index: int32, flow_in: float) -> (value: "
                  "dtype); dtype: type",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunRead>},
    {.signature = "TensorArrayReadV3(handle: resource, index: int32, flow_in: float) -> "
                  "(value: dtype); dtype: type",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunRead>},
    {.signature = "TensorArrayScatter(handle: Ref(string), indices: int32, value: T, flow_in: "
                  "float) -> (flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunScatter>},
    {.signature = "TensorArrayScatterV2(handle: string, indices: int32, value: T, flow_in: "
                  "float) -> (flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunScatter>},
    {.signature = "TensorArrayScatterV3(handle: resource, indices: int32, value: T, flow_in: "
                  "float) -> (flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunScatter>},
    {.signature = "TensorArraySize(handle: Ref(string), flow_in: float) -> (size: int32)",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSize>},
    {.signature = "TensorArraySizeV2(handle: string, flow_in: float) -> (size: int32)",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSize>},
    {.signature = "TensorArraySizeV3(handle: resource, flow_in: float) -> (size: int32)",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSize>},
    {.signature = "TensorArraySplit(handle: Ref(string), value: T, lengths: int64, flow_in: "
                  "float) -> (flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSplit>},
    {.signature = "TensorArraySplitV2(handle: string, value: T, lengths: int64, flow_in: "
                  "float) -> (flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSplit>},
    {.signature = "TensorArraySplitV3(handle: resource, value: T, lengths: int64, flow_in: "
                  "float) -> (flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSplit>},
    {.signature = "TensorArrayUnpack(handle: Ref(string), value: T, flow_in: float) -> "
                  "(flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunUnpack>},
    {.signature = "TensorArrayV2(size: int32) -> (handle: string); dtype: type; element_shape: "
                  "shape = ?; dynamic_size: bool = false; clear_after_read: bool = true; "
                  "tensor_array_name: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildArray},
    {.signature = "TensorArrayV3(size: int32) -> (handle: resource, flow: float); dtype: type; "
                  "element_shape: shape = ?; dynamic_size: bool = false; clear_after_read: "
                  "bool = true; identical_element_shapes: bool = false; tensor_array_name: "
                  "string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildArray},
    {.signature = "TensorArrayWrite(handle: Ref(string), index: int32, value: T, flow_in: "
                  "float) -> (flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunWrite>},
    {.signature = "TensorArrayWriteV2(handle: string, index: int32, value: T, flow_in: float) "
                  "-> (flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunWrite>},
    {.signature = "TensorArrayWriteV3(handle: resource, index: int32, value: T, flow_in: "
                  "float) -> (flow_out: float); T: type",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunWrite>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> TensorArrayOps() { return kOps; }

}  // namespace savedmodel
