// savedmodel run: one call, results printed or written.
#include <cstdio>
#include <filesystem>

#include "src/cli/commands.h"
#include "src/cli/json_output.h"
#include "src/cli/npy.h"

namespace savedmodel::cli {
namespace {

StatusOr<TensorMap> CallSignature(const Model& model, const ModelArgs& args, const RunArgs& run,
                                  const RunOptions& options) {
  auto info = ChooseSignature(model, args);
  if (!info.ok()) return info.status();
  auto inputs = ReadInputs(run.inputs, run.expressions, &info->inputs);
  if (!inputs.ok()) return inputs.status();
  return model.Signature(info->key)(*inputs, options);
}

StatusOr<TensorMap> CallSession(const Model& model, const RunArgs& run, const RunOptions& options) {
  auto feeds = ReadInputs(run.inputs, run.expressions, nullptr);
  if (!feeds.ok()) return feeds.status();
  auto values = model.session().Run(*feeds, run.fetches, {}, options);
  if (!values.ok()) return values.status();
  TensorMap out;
  for (size_t i = 0; i < run.fetches.size(); ++i) out[run.fetches[i]] = (*values)[i];
  return out;
}

Status WriteFiles(const TensorMap& outputs, const RunArgs& run) {
  std::error_code error;
  std::filesystem::create_directories(run.outdir, error);
  for (const auto& [name, tensor] : outputs) {
    std::string file = name;
    for (char& c : file) {
      if (c == '/' || c == ':') c = '_';
    }
    const std::string path = run.outdir + "/" + file + ".npy";
    if (!run.overwrite && std::filesystem::exists(path)) {
      return Status(StatusCode::kAlreadyExists, path + ": exists; give --overwrite to replace it");
    }
    if (Status s = WriteNpy(path, tensor); !s.ok()) return s;
    std::fprintf(stderr, "wrote %s\n", path.c_str());
  }
  return Status();
}

}  // namespace

int Run(const ModelArgs& args, const RunArgs& run) {
  auto model = LoadModel(args);
  if (!model.ok()) return Fail(model.status());
  RunOptions options;
  if (run.timeout_seconds > 0) {
    options.timeout = std::chrono::nanoseconds(static_cast<int64_t>(run.timeout_seconds * 1e9));
  }
  auto outputs = run.fetches.empty() ? CallSignature(*model, args, run, options)
                                     : CallSession(*model, run, options);
  if (!outputs.ok()) return Fail(outputs.status());
  if (args.json) {
    Json json = Json::object();
    for (const auto& [name, tensor] : *outputs) json[name] = ToJson(tensor);
    PrintJson(json);
  } else {
    for (const auto& [name, tensor] : *outputs) {
      std::printf("%s: %s\n", name.c_str(), tensor.ToString(1000).c_str());
    }
  }
  if (!run.outdir.empty()) {
    if (Status s = WriteFiles(*outputs, run); !s.ok()) return Fail(s);
  }
  return kOk;
}

}  // namespace savedmodel::cli
