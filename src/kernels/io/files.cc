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

// Prints to the process's own streams; TensorFlow's log levels all go to standard error.
StatusOr<KernelPtr> BuildPrintV2(BuildContext& build) {
  const std::string& stream = build.attrs().String("output_stream");
  const bool is_file = stream.rfind("file://", 0) == 0;
  const bool known = stream == "stdout" || stream == "stderr" || stream == "log(info)" ||
                     stream == "log(warning)" || stream == "log(error)";
  if (!is_file && !known) {
    return InvalidArgument("output_stream: found '", stream,
                           "', expected stdout, stderr, log(info), log(warning), log(error) or "
                           "file://");
  }
  return MakeKernel([is_file, target = stream == "stdout" ? stdout : stderr,
                     end = build.attrs().String("end")](OpContext& ctx) -> Status {
    if (is_file) return RefuseToWrite(ctx);
    const std::string text = *ctx.in<std::string>(0) + end;
    std::fwrite(text.data(), 1, text.size(), target);
    std::fflush(target);
    return Status();
  });
}

Status PrintV2Shape(ShapeContext& ctx) { return ctx.ExpectRank(0, 0); }

constexpr OpDef kOps[] = {
    {.signature = "PrintV2(input: string) -> (); output_stream: string = 'stderr'; "
                  "end: string = '\\n'",
     .effects = Effects::kWritesState,
     .shape = PrintV2Shape,
     .build = BuildPrintV2},
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
