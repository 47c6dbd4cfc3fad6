// Ops without results: assertions, prints, and nodes that only order others.
#include <chrono>
#include <cstdio>
#include <utility>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/control/control_ops.h"

namespace savedmodel {
namespace {

Status RunNothing(OpContext&) { return Status(); }

// The inputs from `first` on as "[1 2 3...][text]": `summarize` elements of each, all if negative.
std::string Summarize(OpContext& ctx, int first, int64_t summarize) {
  std::string text;
  for (int i = first; i < ctx.num_inputs(); ++i) {
    const Tensor& t = ctx.input(i);
    text += t.ToString(summarize < 0 ? t.num_elements() : summarize);
  }
  return text;
}

StatusOr<KernelPtr> BuildAssert(BuildContext& build) {
  const int64_t summarize = build.attrs().Int("summarize");
  return MakeKernel([summarize](OpContext& ctx) -> Status {
    SM_CHECK_ARG(ctx.input(0).shape().rank() == 0, "the condition has shape ", ctx.input(0).shape(),
                 ", expected a scalar");
    if (*ctx.in<bool>(0)) return Status();
    return InvalidArgument("assertion failed: ", Summarize(ctx, 1, summarize));
  });
}

StatusOr<KernelPtr> BuildPrint(BuildContext& build) {
  const int64_t summarize = build.attrs().Int("summarize");
  return MakeKernel([message = build.attrs().String("message"), summarize](OpContext& ctx) {
    const std::string text = message + Summarize(ctx, 1, summarize) + "\n";
    std::fwrite(text.data(), 1, text.size(), stderr);
    return ctx.ForwardInput(0, 0, ctx.input(0).shape());
  });
}

// Every stream name of TensorFlow's logging means standard error here.
StatusOr<KernelPtr> BuildPrintV2(BuildContext& build) {
  const std::string& stream = build.attrs().String("output_stream");
  if (stream.rfind("file://", 0) == 0) {
    return Status(StatusCode::kPermissionDenied,
                  "printing to '" + stream + "' is refused: models do not write files");
  }
  bool known = false;
  for (const char* name : {"stdout", "stderr", "log(info)", "log(warning)", "log(error)"}) {
    known |= stream == name;
  }
  SM_CHECK_ARG(known, "found output stream '", stream, "', expected stdout, stderr or log(…)");
  return MakeKernel([stream, end = build.attrs().String("end")](OpContext& ctx) -> Status {
    SM_CHECK_ARG(ctx.input(0).shape().rank() == 0, "the text has shape ", ctx.input(0).shape(),
                 ", expected a scalar");
    const std::string text = *ctx.in<std::string>(0) + end;
    std::fwrite(text.data(), 1, text.size(), stream == "stdout" ? stdout : stderr);
    return Status();
  });
}

Status RunTimestamp(OpContext& ctx) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  *ctx.out<double>(0) = std::chrono::duration<double>(now).count();
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "Assert(condition: bool, data: T) -> (); T: list(type) >= 1; summarize: int = 3",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildAssert},
    {.signature = "ControlTrigger() -> ()",
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunNothing>},
    {.signature = "NoOp() -> ()", .shape = shape::NoOutputs, .build = BuildPlain<RunNothing>},
    {.signature = "Print(input: T, data: U) -> (output: T); T: type; U: list(type) >= 0; "
                  "message: string = ''; first_n: int = -1; summarize: int = 3",
     .effects = Effects::kWritesState,
     .shape = shape::SameAsInput0,
     .build = BuildPrint},
    {.signature = "PrintV2(input: string) -> (); output_stream: string = 'stderr'; "
                  "end: string = '\\n'",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPrintV2},
    {.signature = "Timestamp() -> (ts: double)",
     .effects = Effects::kRandom,
     .shape = shape::Scalar,
     .build = BuildPlain<RunTimestamp>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> MessageOps() { return kOps; }

}  // namespace savedmodel
