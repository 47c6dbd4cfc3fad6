// Batching of the requests of several callers, as a single caller sees it: a batch is what he
// gives.
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/control/callee.h"
#include "src/kernels/control/control_ops.h"
#include "src/kernels/state/keep_input.h"

namespace savedmodel {
namespace {

// Inputs [0, n) have one number of rows, at most `most`.
StatusOr<int64_t> CountRows(const OpContext& ctx, int n, int64_t most) {
  int64_t rows = 0;
  for (int i = 0; i < n; ++i) {
    const Shape& s = ctx.input(i).shape();
    SM_CHECK_ARG(s.rank() >= 1, "input ", i, " is a scalar, expected a batch of rows");
    if (i == 0) rows = s[0];
    SM_CHECK_ARG(s[0] == rows, "input ", i, " has ", s[0], " rows, input 0 has ", rows);
  }
  SM_CHECK_ARG(rows <= most, "found ", rows, " rows, expected at most max_batch_size ", most);
  return rows;
}

StatusOr<KernelPtr> BuildBatchFunction(BuildContext& build) {
  const Callee callee = CompileCallee(build, build.attrs().Get<FuncAttr>("f"),
                                      InputShapesFrom(build, 0), build.num_outputs());
  const int batched = static_cast<int>(build.attrs().Types("Tin").size());
  const int64_t most = build.attrs().Int("max_batch_size");
  return MakeKernel([callee, batched, most](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const int64_t rows, CountRows(ctx, batched, most));
    std::vector<Tensor> inputs(ctx.num_inputs()), outputs(ctx.num_outputs());
    for (int i = 0; i < ctx.num_inputs(); ++i) {
      SM_ASSIGN_OR_RETURN(inputs[i], KeepInput(ctx, i));
    }
    SM_RETURN_IF_ERROR(callee.Run(inputs, outputs, ctx.run()));
    for (int i = 0; i < ctx.num_outputs(); ++i) {
      const Shape& s = outputs[i].shape();
      SM_CHECK_ARG(s.rank() >= 1 && s[0] == rows, "result ", i, " of the function has shape ", s,
                   ", expected ", rows, " rows");
      ctx.set_output(i, std::move(outputs[i]));
    }
    return Status();
  });
}

// The number by which Unbatch finds rows again.
constexpr int64_t kBatchId = 1;

Status BatchShape(ShapeContext& ctx) {
  for (int i = 0; i < ctx.num_inputs(); ++i) ctx.set_output(i, ctx.input(i));
  ctx.set_output(ctx.num_inputs(), Shape({1, 3}));
  ctx.set_output(ctx.num_inputs() + 1, Shape());
  return Status();
}

StatusOr<KernelPtr> BuildBatch(BuildContext& build) {
  const int64_t most = build.attrs().Int("max_batch_size");
  return MakeKernel([most](OpContext& ctx) -> Status {
    const int n = ctx.num_inputs();
    SM_ASSIGN_OR_RETURN(const int64_t rows, CountRows(ctx, n, most));
    for (int i = 0; i < n; ++i) SM_RETURN_IF_ERROR(ctx.ForwardInput(i, i, ctx.input(i).shape()));
    int64_t* index = ctx.out<int64_t>(n);
    index[0] = kBatchId;
    index[1] = 0;
    index[2] = rows;
    *ctx.out<int64_t>(n + 1) = kBatchId;
    return Status();
  });
}

Status UnbatchShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 2));
  return ctx.ExpectRank(2, 0);
}

Status RunUnbatch(OpContext& ctx) {
  const Tensor& batch = ctx.input(0);
  const Shape& index_shape = ctx.input(1).shape();
  SM_CHECK_ARG(index_shape[1] == 3, "batch_index has shape ", index_shape, ", expected [?, 3]");
  const int64_t id = *ctx.in<int64_t>(2);
  const int64_t* index = ctx.in<int64_t>(1);
  // Rows lie in the order of the index; where they start follows from how many there are.
  int64_t start = 0;
  for (int64_t i = 0; i < index_shape[0]; ++i, index += 3) {
    int64_t count = 0, end = 0;
    SM_CHECK_ARG(!__builtin_sub_overflow(index[2], index[1], &count) && count >= 0 &&
                     !__builtin_add_overflow(start, count, &end) && end <= batch.shape()[0],
                 "rows ", index[1], " to ", index[2], " do not fit ", batch.shape());
    if (index[0] == id) {
      SM_ASSIGN_OR_RETURN(Tensor rows, batch.Rows(start, end).Clone(ctx.run().budget));
      ctx.set_output(0, std::move(rows));
      return Status();
    }
    start = end;
  }
  return InvalidArgument("batch_index has no rows for id ", id);
}

#define SM_QUEUE_NAMES "container: string = ''; shared_name: string = ''"

constexpr OpDef kOps[] = {
    {.signature = "Batch(in_tensors: T) -> (batched_tensors: T, batch_index: int64, id: int64); "
                  "num_batch_threads: int; max_batch_size: int; "
                  "max_enqueued_batches: int = 10; batch_timeout_micros: int; "
                  "allowed_batch_sizes: list(int) = []; grad_timeout_micros: int; " SM_QUEUE_NAMES
                  "; batching_queue: string = ''; T: list(type) >= 1",
     .effects = Effects::kWritesState,
     .shape = BatchShape,
     .build = BuildBatch},
    {.signature =
         "BatchFunction(in_tensors: Tin, captured_tensors: Tcaptured) -> (out_tensors: Tout); "
         "f: func; num_batch_threads: int; max_batch_size: int; batch_timeout_micros: int; "
         "max_enqueued_batches: int = 10; allowed_batch_sizes: list(int) = []; " SM_QUEUE_NAMES
         "; batching_queue: string = ''; low_priority_max_batch_size: int = 0; "
         "low_priority_batch_timeout_micros: int = 0; "
         "low_priority_allowed_batch_sizes: list(int) = []; "
         "low_priority_max_enqueued_batches: int = 0; "
         "mixed_priority_policy: {'low_priority_padding_with_max_batch_size',"
         "'low_priority_padding_with_next_allowed_batch_size','priority_isolation',"
         "'priority_merge'} = 'low_priority_padding_with_max_batch_size'; "
         "batch_padding_policy: {'PAD_UP','BATCH_DOWN','MINIMIZE_TPU_COST_PER_REQUEST'} = "
         "'PAD_UP'; Tin: list(type) >= 1; Tcaptured: list(type) >= 0; Tout: list(type) >= 1; "
         "enable_large_batch_splitting: bool = false",
     .effects = Effects::kWritesState,
     .shape = CallShape,
     .build = BuildBatchFunction},
    {.signature = "Unbatch(batched_tensor: T, batch_index: int64, id: int64) -> "
                  "(unbatched_tensor: T); timeout_micros: int; " SM_QUEUE_NAMES "; T: type",
     .effects = Effects::kWritesState,
     .shape = UnbatchShape,
     .build = BuildPlain<RunUnbatch>},
};
#undef SM_QUEUE_NAMES
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> BatchOps() { return kOps; }

}  // namespace savedmodel
