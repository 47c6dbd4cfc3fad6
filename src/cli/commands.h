// The commands of the `savedmodel` program.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel::cli {

// Exit statuses; docs in README.md.
enum Exit { kOk = 0, kFailed = 1, kUsage = 2 };

// What every command takes.
struct ModelArgs {
  std::string directory;
  std::vector<std::string> tags;  // empty: "serve", or the only tag set there is
  std::string signature;          // empty: "serving_default", or the only signature there is
  int threads = 0;
  Precision precision = Precision::kFloat32;
  bool json = false;
};

struct ShowArgs {
  bool plan = false;
  std::vector<std::string> shapes;  // of inputs, for the plan
  std::string variable;             // print this variable's value instead
  std::string source;               // print the lines of code of these nodes instead
  int depth = 6;                    // of the object tree
};

struct RunArgs {
  std::vector<std::string> inputs;       // "x=file.npy"
  std::vector<std::string> expressions;  // "x=[[1,2]]"
  std::vector<std::string> fetches;      // tensors of the graph instead of a signature
  std::string outdir;
  bool overwrite = false;
  double timeout_seconds = 0;
};

struct BenchArgs {
  std::vector<std::string> inputs;
  std::vector<std::string> expressions;
  std::vector<std::string> shapes;  // "x=1,224,224,3"
  int runs = 100;
  int warmup = 5;
  bool profile = false;  // print what the steps took
  std::string trace;     // write them to this file
};

int Show(const ModelArgs& model, const ShowArgs& args);
int Run(const ModelArgs& model, const RunArgs& args);
int Check(const ModelArgs& model);
int Bench(const ModelArgs& model, const BenchArgs& args);

// Runs `call` and shows where the time of its steps goes: a table by op and by node on standard
// output, and a Chrome trace (chrome://tracing, Perfetto) in the file `trace` unless that is empty.
Status Profile(BoundCall* call, int runs, bool table, const std::string& trace);

// Shared by the commands.

// The model that `args` names; a single tag set is taken whatever it is.
StatusOr<Model> LoadModel(const ModelArgs& args);
// The signature that `args` names.
StatusOr<SignatureInfo> ChooseSignature(const Model& model, const ModelArgs& args);
// Shapes by input name from texts "x=1,224,224,3".
StatusOr<std::map<std::string, Shape>> ParseShapes(const std::vector<std::string>& texts);
// Prints `status` on standard error; returns kFailed.
int Fail(const Status& status);
// Tensors for `specs` from "name=file.npy" and "name=literal" texts. With `specs` null any name is
// allowed, and a literal's dtype is float32, or what follows as "name:dtype=…".
StatusOr<TensorMap> ReadInputs(const std::vector<std::string>& files,
                               const std::vector<std::string>& expressions,
                               const std::vector<TensorSpec>* specs);

}  // namespace savedmodel::cli
