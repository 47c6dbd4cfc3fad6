// savedmodel: shows, runs and times TensorFlow SavedModels.
#include <CLI/CLI.hpp>

#include "src/cli/commands.h"

namespace savedmodel::cli {
namespace {

void AddModelOptions(CLI::App* command, ModelArgs* args) {
  command->add_option("DIR", args->directory, "SavedModel directory")->required();
  command->add_option("--tag_set", args->tags, "tags of the MetaGraph, separated by commas")
      ->delimiter(',');
  command->add_option("--signature,--signature_def", args->signature,
                      "signature (default serving_default, or the only one)");
  command->add_option("--threads", args->threads, "threads of one call; 0: one per core");
  command
      ->add_option("--precision", args->precision,
                   "what products multiply: float32, or bfloat16 or int8 where the processor can")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Precision>{{"float32", Precision::kFloat32},
                                           {"bfloat16", Precision::kBFloat16},
                                           {"int8", Precision::kInt8}}));
  command->add_flag("--json", args->json, "print JSON");
}

void AddInputOptions(CLI::App* command, std::vector<std::string>* inputs,
                     std::vector<std::string>* expressions) {
  command->add_option("--inputs", *inputs, "inputs from .npy files: 'x=a.npy;y=b.npy'")
      ->allow_extra_args(false);
  command
      ->add_option("--input_exprs", *expressions,
                   "inputs as Python literals: 'x=[[1,2],[3,4]]', \"s=['a','b']\", "
                   "'x=ones((1,224,224,3))'; the dtype is the signature's")
      ->allow_extra_args(false);
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Shows, checks, runs and times TensorFlow SavedModels.\n"
      "Exit status: 0 success, 1 the model cannot be loaded or run, 2 wrong usage.",
      "savedmodel");
  app.require_subcommand(1);
  ModelArgs model;
  ShowArgs show;
  RunArgs run;
  BenchArgs bench;

  CLI::App* show_command = app.add_subcommand(
      "show", "tags, signatures, objects, variables, functions, ops and which are not supported");
  AddModelOptions(show_command, &model);
  show_command->add_flag("--plan", show.plan, "print the compiled plan of the signature instead");
  show_command->add_option("--shape", show.shapes, "shape of an input of the plan: 'x=1,224,224,3'")
      ->allow_extra_args(false);
  show_command->add_option("--variable", show.variable,
                           "print the value of this variable (object path or name) instead");
  show_command->add_option("--source", show.source,
                           "print the lines of code that made the nodes whose name holds this, "
                           "where the model has debug information, instead");
  show_command->add_option("--depth", show.depth, "levels of the object tree");

  CLI::App* run_command = app.add_subcommand("run", "call a signature once");
  AddModelOptions(run_command, &model);
  AddInputOptions(run_command, &run.inputs, &run.expressions);
  run_command->add_option("--fetch", run.fetches,
                          "fetch these tensors of the graph instead; inputs are then fed by tensor "
                          "name, literals as 'x:0:int32=[1]'");
  run_command->add_option("--outdir", run.outdir, "write each output to OUTDIR/NAME.npy");
  run_command->add_flag("--overwrite", run.overwrite, "replace files that exist");
  run_command->add_option("--timeout", run.timeout_seconds, "seconds the call may take");

  CLI::App* check_command = app.add_subcommand(
      "check", "look at every function, without running any, for what would keep it from running");
  AddModelOptions(check_command, &model);

  CLI::App* bench_command =
      app.add_subcommand("bench", "time loading and running; inputs not given are made up");
  AddModelOptions(bench_command, &model);
  AddInputOptions(bench_command, &bench.inputs, &bench.expressions);
  bench_command->add_option("--shape", bench.shapes, "shape of a made-up input: 'x=1,224,224,3'")
      ->allow_extra_args(false);
  bench_command->add_option("--runs", bench.runs, "timed runs")->check(CLI::PositiveNumber);
  bench_command->add_option("--warmup", bench.warmup, "runs before")->check(CLI::NonNegativeNumber);
  bench_command->add_flag("--profile", bench.profile, "print what ops and steps take");
  bench_command->add_option("--trace", bench.trace,
                            "write a Chrome trace of the steps to this file");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kOk : kUsage;
  }
  if (*show_command) return Show(model, show);
  if (*run_command) return Run(model, run);
  if (*check_command) return Check(model);
  return Bench(model, bench);
}

}  // namespace
}  // namespace savedmodel::cli

int main(int argc, char** argv) { return savedmodel::cli::Main(argc, argv); }
