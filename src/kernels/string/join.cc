// Strings made of several strings, elementwise: StringJoin and the names of sharded files.
#include <cstdio>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/string/string_ops.h"

namespace savedmodel {
namespace {

// Scalars broadcast; all other inputs have one shape.
Status StringJoinShape(ShapeContext& ctx) {
  Shape out;
  bool unsure = false;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const Shape& in = ctx.input(i);
    if (!in.known_rank()) {
      unsure = true;
    } else if (in.rank() > 0) {
      if (out.rank() > 0 && !out.CompatibleWith(in)) {
        return InvalidArgument("input shapes do not match: found ", out, " and ", in,
                               ", expected equal shapes or scalars");
      }
      if (out.rank() > 0) {
        SM_ASSIGN_OR_RETURN(out, out.Merge(in));
      } else {
        out = in;
      }
    }
  }
  // One more input of unknown rank can only be a scalar or repeat a shape that is known already.
  ctx.set_output(0, unsure && out.rank() == 0 ? Shape::Unknown() : out);
  return Status();
}

StatusOr<KernelPtr> BuildStringJoin(BuildContext& build) {
  return MakeKernel([separator = build.attrs().String("separator")](OpContext& ctx) -> Status {
    const int n = ctx.num_inputs();
    std::string* out = ctx.out<std::string>(0);
    ctx.ParallelFor(ctx.output(0).num_elements(), 50.0 * n, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::string joined;
        for (int k = 0; k < n; ++k) {
          if (k > 0) joined += separator;
          joined += ctx.in<std::string>(k)[ctx.input(k).shape().rank() == 0 ? 0 : i];
        }
        out[i] = std::move(joined);
      }
    });
    return Status();
  });
}

Status ScalarsToScalar(ShapeContext& ctx) {
  for (int i = 0; i < ctx.num_inputs(); ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  return shape::Scalar(ctx);
}

Status ShardedFilename(OpContext& ctx) {
  char suffix[40];
  std::snprintf(suffix, sizeof(suffix), "-%05d-of-%05d", static_cast<int>(ctx.IntInput(1)),
                static_cast<int>(ctx.IntInput(2)));
  ctx.out<std::string>(0)[0] = *ctx.in<std::string>(0) + suffix;
  return Status();
}

Status ShardedFilespec(OpContext& ctx) {
  char suffix[40];
  std::snprintf(suffix, sizeof(suffix), "-\?\?\?\?\?-of-%05d", static_cast<int>(ctx.IntInput(1)));
  ctx.out<std::string>(0)[0] = *ctx.in<std::string>(0) + suffix;
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "ShardedFilename(basename: string, shard: int32, num_shards: int32) -> "
                  "(filename: string)",
     .shape = ScalarsToScalar,
     .build = BuildPlain<ShardedFilename>},
    {.signature = "ShardedFilespec(basename: string, num_shards: int32) -> (filename: string)",
     .shape = ScalarsToScalar,
     .build = BuildPlain<ShardedFilespec>},
    {.signature = "StringJoin(inputs: N * string) -> (output: string); N: int >= 0; "
                  "separator: string = ''",
     .shape = StringJoinShape,
     .build = BuildStringJoin},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> StringJoinOps() { return kOps; }

}  // namespace savedmodel
