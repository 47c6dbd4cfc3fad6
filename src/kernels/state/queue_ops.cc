// Queue ops, of both versions: a reference to a queue's name is a handle, too, here.
#include <algorithm>
#include <string>
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/elements.h"
#include "src/kernels/state/keep_input.h"
#include "src/kernels/state/queue.h"
#include "src/kernels/state/resource_input.h"
#include "src/kernels/state/state_ops.h"

namespace savedmodel {
namespace {

using Tuple = TensorQueue::Tuple;

StatusOr<KernelPtr> BuildQueue(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  const std::string& op = build.op_name();
  TensorQueue::Spec spec;
  spec.dtypes = attrs.Types("component_types");
  spec.shapes = attrs.Get<std::vector<Shape>>("shapes");
  spec.capacity = attrs.Int("capacity");
  SM_CHECK_ARG(spec.shapes.empty() || spec.shapes.size() == spec.dtypes.size(), "found ",
               spec.shapes.size(), " shapes for ", spec.dtypes.size(), " components");
  if (op.rfind("Padding", 0) == 0) spec.order = TensorQueue::Order::kPadding;
  if (op.rfind("RandomShuffle", 0) == 0) {
    spec.order = TensorQueue::Order::kShuffle;
    spec.min_after_dequeue = attrs.Int("min_after_dequeue");
    SM_CHECK_ARG(spec.min_after_dequeue >= 0 && spec.min_after_dequeue <= INT32_MAX,
                 "found min_after_dequeue ", spec.min_after_dequeue, ", expected one >= 0");
    spec.seed = static_cast<uint64_t>(attrs.Int("seed")) * 0x9E3779B97F4A7C15u +
                static_cast<uint64_t>(attrs.Int("seed2"));
  }
  if (op.rfind("Priority", 0) == 0) {
    // The priority comes first in each tuple.
    spec.order = TensorQueue::Order::kPriority;
    if (spec.shapes.empty()) spec.shapes.resize(spec.dtypes.size(), Shape::Unknown());
    spec.dtypes.insert(spec.dtypes.begin(), DType::kInt64);
    spec.shapes.insert(spec.shapes.begin(), Shape());
  }
  return MakeHandleKernel(build, "queue",
                          [spec = std::move(spec)] { return std::make_shared<TensorQueue>(spec); });
}

StatusOr<TensorQueue*> QueueInput(const OpContext& ctx) {
  return ResourceInput<TensorQueue>(ctx, 0, "queue");
}

Status RunEnqueue(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TensorQueue * queue, QueueInput(ctx));
  Tuple tuple;
  for (int i = 1; i < ctx.num_inputs(); ++i) {
    SM_ASSIGN_OR_RETURN(Tensor component, KeepInput(ctx, i));
    tuple.push_back(std::move(component));
  }
  return queue->Enqueue({std::move(tuple)}, ctx.run());
}

// Row i of each input is a component of tuple i.
Status RunEnqueueMany(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TensorQueue * queue, QueueInput(ctx));
  std::vector<Tuple> tuples;
  for (int i = 1; i < ctx.num_inputs(); ++i) {
    SM_CHECK_ARG(ctx.input(i).shape().rank() >= 1, "component ", i - 1,
                 " is a scalar, expected rank 1 or more");
    SM_ASSIGN_OR_RETURN(const Tensor rows, KeepInput(ctx, i));
    const int64_t n = rows.shape()[0];
    constexpr int64_t kMostTuples = int64_t{1} << 24;
    if (n > kMostTuples) return ResourceExhausted(n, " tuples are too many for a queue");
    if (i == 1) tuples.resize(n);
    SM_CHECK_ARG(n == static_cast<int64_t>(tuples.size()), "component ", i - 1, " has ", n,
                 " rows, the first has ", tuples.size());
    for (int64_t k = 0; k < n; ++k) tuples[k].push_back(Row(rows, k));
  }
  return queue->Enqueue(std::move(tuples), ctx.run());
}

Status CheckDTypes(const OpContext& ctx, const TensorQueue& queue) {
  const std::vector<DType>& dtypes = queue.spec().dtypes;
  bool same = static_cast<int>(dtypes.size()) == ctx.num_outputs();
  for (int i = 0; same && i < ctx.num_outputs(); ++i) same = dtypes[i] == ctx.output_dtype(i);
  SM_CHECK_ARG(same, "the components that the op declares are not those of the queue");
  return Status();
}

Status RunDequeue(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TensorQueue * queue, QueueInput(ctx));
  SM_RETURN_IF_ERROR(CheckDTypes(ctx, *queue));
  SM_ASSIGN_OR_RETURN(std::vector<Tuple> tuples, queue->Dequeue(1, false, ctx.run()));
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, std::move(tuples[0][i]));
  return Status();
}

// Copies `from` into the corner of slice `row` of `to`, whose slices are of shape `slice`.
Status CopyToCorner(const Tensor& from, Tensor& to, int64_t row, const Shape& slice) {
  const Shape& shape = from.shape();
  const int rank = shape.rank();
  const int64_t base = row * slice.num_elements();
  if (rank == 0 || shape == slice) return CopyElements(from, 0, to, base, shape.num_elements());
  const int64_t inner = shape[rank - 1];
  const int64_t lines = inner == 0 ? 0 : shape.num_elements() / inner;
  for (int64_t line = 0; line < lines; ++line) {
    int64_t at = 0, rest = line, stride = slice[rank - 1];
    for (int d = rank - 2; d >= 0; --d) {
      at += rest % shape[d] * stride;
      rest /= shape[d];
      stride *= slice[d];
    }
    SM_RETURN_IF_ERROR(CopyElements(from, line * inner, to, base + at, inner));
  }
  return Status();
}

// Output `i` is component `i` of all tuples, stacked, and padded with zeros in a padding queue.
Status Stack(OpContext& ctx, const TensorQueue& queue, const std::vector<Tuple>& tuples, int i) {
  Shape slice = queue.spec().shapes[i];
  if (queue.spec().order == TensorQueue::Order::kPadding) {
    for (int d = 0; d < slice.rank(); ++d) {
      if (slice[d] >= 0) continue;
      int64_t most = 0;
      for (const Tuple& tuple : tuples) most = std::max(most, tuple[i].shape()[d]);
      slice = slice.WithDim(d, most);
    }
  }
  SM_CHECK_ARG(slice.fully_known(),
               "tuples can be stacked only where the queue declares the "
               "shapes of components; component ",
               i, " has shape ", slice);
  const int64_t n = static_cast<int64_t>(tuples.size());
  SM_ASSIGN_OR_RETURN(
      Tensor out, Tensor::Zeros(ctx.output_dtype(i), slice.WithInserted(0, n), ctx.run().budget));
  for (int64_t k = 0; k < n; ++k) {
    SM_RETURN_IF_ERROR(CopyToCorner(tuples[k][i], out, k, slice));
  }
  ctx.set_output(i, std::move(out));
  return Status();
}

StatusOr<KernelPtr> BuildDequeueMany(BuildContext& build) {
  const bool fewer = build.op_name().find("UpTo") != std::string::npos;
  return MakeKernel([fewer](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(TensorQueue * queue, QueueInput(ctx));
    SM_RETURN_IF_ERROR(CheckDTypes(ctx, *queue));
    const int64_t n = ctx.IntInput(1);
    SM_CHECK_ARG(ctx.input(1).num_elements() == 1 && n >= 0, "found n = ", ctx.input(1).ToString(),
                 ", expected a scalar >= 0");
    SM_CHECK_ARG(!queue->spec().shapes.empty(),
                 "tuples can be stacked only where the queue declares the shapes of components");
    SM_ASSIGN_OR_RETURN(const std::vector<Tuple> tuples, queue->Dequeue(n, fewer, ctx.run()));
    for (int i = 0; i < ctx.num_outputs(); ++i) {
      SM_RETURN_IF_ERROR(Stack(ctx, *queue, tuples, i));
    }
    return Status();
  });
}

Status RunClose(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TensorQueue * queue, QueueInput(ctx));
  queue->Close();
  return Status();
}

Status RunIsClosed(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TensorQueue * queue, QueueInput(ctx));
  *ctx.out<bool>(0) = queue->closed();
  return Status();
}

Status RunSize(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(TensorQueue * queue, QueueInput(ctx));
  *ctx.out<int32_t>(0) = static_cast<int32_t>(queue->size());
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "FIFOQueue() -> (handle: Ref(string)); component_types: list(type) >= 1; "
                  "shapes: list(shape) >= 0 = []; capacity: int = -1; container: string = ''; "
                  "shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildQueue},
    {.signature = "FIFOQueueV2() -> (handle: resource); component_types: list(type) >= 1; "
                  "shapes: list(shape) >= 0 = []; capacity: int = -1; container: string = ''; "
                  "shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildQueue},
    {.signature = "PaddingFIFOQueue() -> (handle: Ref(string)); component_types: list(type) >= "
                  "1; shapes: list(shape) >= 0 = []; capacity: int = -1; container: string = "
                  "''; shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildQueue},
    {.signature = "PaddingFIFOQueueV2() -> (handle: resource); component_types: list(type) >= "
                  "1; shapes: list(shape) >= 0 = []; capacity: int = -1; container: string = "
                  "''; shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildQueue},
    {.signature = "PriorityQueue() -> (handle: Ref(string)); component_types: list(type) >= 0 "
                  "= []; shapes: list(shape) >= 0; capacity: int = -1; container: string = ''; "
                  "shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildQueue},
    {.signature = "PriorityQueueV2() -> (handle: resource); component_types: list(type) >= 0 = "
                  "[]; shapes: list(shape) >= 0; capacity: int = -1; container: string = ''; "
                  "shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildQueue},
    {.signature = "QueueClose(handle: Ref(string)) -> (); cancel_pending_enqueues: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunClose>},
    {.signature = "QueueCloseV2(handle: resource) -> (); cancel_pending_enqueues: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunClose>},
    {.signature = "QueueDequeue(handle: Ref(string)) -> (components: component_types); "
                  "component_types: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunDequeue>},
    {.signature = "QueueDequeueMany(handle: Ref(string), n: int32) -> (components: "
                  "component_types); component_types: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildDequeueMany},
    {.signature = "QueueDequeueManyV2(handle: resource, n: int32) -> (components: "
                  "component_types); component_types: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildDequeueMany},
    {.signature = "QueueDequeueUpTo(handle: Ref(string), n: int32) -> (components: "
                  "component_types); component_types: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildDequeueMany},
    {.signature = "QueueDequeueUpToV2(handle: resource, n: int32) -> (components: "
                  "component_types); component_types: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildDequeueMany},
    {.signature = "QueueDequeueV2(handle: resource) -> (components: component_types); "
                  "component_types: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunDequeue>},
    {.signature = "QueueEnqueue(handle: Ref(string), components: Tcomponents) -> (); "
                  "Tcomponents: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunEnqueue>},
    {.signature = "QueueEnqueueMany(handle: Ref(string), components: Tcomponents) -> (); "
                  "Tcomponents: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunEnqueueMany>},
    {.signature = "QueueEnqueueManyV2(handle: resource, components: Tcomponents) -> (); "
                  "Tcomponents: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunEnqueueMany>},
    {.signature = "QueueEnqueueV2(handle: resource, components: Tcomponents) -> (); "
                  "Tcomponents: list(type) >= 1; timeout_ms: int = -1",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunEnqueue>},
    {.signature = "QueueIsClosed(handle: Ref(string)) -> (is_closed: bool)",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunIsClosed>},
    {.signature = "QueueIsClosedV2(handle: resource) -> (is_closed: bool)",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunIsClosed>},
    {.signature = "QueueSize(handle: Ref(string)) -> (size: int32)",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSize>},
    {.signature = "QueueSizeV2(handle: resource) -> (size: int32)",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSize>},
    {.signature = "RandomShuffleQueue() -> (handle: Ref(string)); component_types: list(type) "
                  ">= 1; shapes: list(shape) >= 0 = []; capacity: int = -1; min_after_dequeue: "
                  "int = 0; seed: int = 0; seed2: int = 0; container: string = ''; "
                  "shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildQueue},
    {.signature = "RandomShuffleQueueV2() -> (handle: resource); component_types: list(type) "
                  ">= 1; shapes: list(shape) >= 0 = []; capacity: int = -1; min_after_dequeue: "
                  "int = 0; seed: int = 0; seed2: int = 0; container: string = ''; "
                  "shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildQueue},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> QueueOps() { return kOps; }

}  // namespace savedmodel
