// Files and printing.
#include <cstdio>

#include "savedmodel/file_system.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/io/refuse.h"

namespace savedmodel {
namespace {

Status ReadFile(OpContext& ctx) {
  if (ctx.run().files == nullptr) {
    return Status(StatusCode::kPermissionDenied, "graphs may not read files in this call");
  }
  SM_ASSIGN_OR_RETURN(const std::shared_ptr<const FileContent> content,
                      ctx.run().files->Read(*ctx.in<std::string>(0)));
  ctx.out<std::string>(0)[0] = std::string(content->bytes());
  return Status();
}

Status ReadFileShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 0));
  return shape::Scalar(ctx);
}

constexpr OpDef kOps[] = {
    {.signature = "ReadFile(filename: string) -> (contents: string)",
     .effects = Effects::kReadsState,
     .shape = ReadFileShape,
     .build = BuildPlain<ReadFile>},
    {.signature = "WriteFile(filename: string, contents: string) -> ()",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RefuseToWrite>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> FileOps() { return kOps; }

}  // namespace savedmodel
