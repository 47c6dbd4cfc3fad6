// What passes and the executor share to look at, and to run, one node of a graph.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/graph/graph.h"

namespace savedmodel {

// Packed forms of constants, shared by all plans of a model. Thread-safe.
class PackCache {
 public:
  StatusOr<std::shared_ptr<const void>> GetOrPack(
      const Tensor& source, const std::string& kind,
      FunctionRef<StatusOr<std::shared_ptr<const void>>()> pack);
  // Drops what no plan can ask for again: the constant is gone.
  void DropUnused();

 private:
  struct Entry {
    Tensor source;  // keeps the address that is part of the key from being reused
    std::shared_ptr<const void> packed;
  };
  std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
};

// What compiling a graph needs from its surroundings. Plain data, copied per compilation.
struct CompileEnv {
  using CompileFn = std::function<StatusOr<std::shared_ptr<const CompiledFunction>>(
      const FuncAttr&, Span<const Shape> input_shapes)>;

  const OpRegistry* registry = nullptr;
  const FunctionLibrary* functions = nullptr;
  PackCache* packs = nullptr;
  int num_threads = 1;
  Precision precision = Precision::kFloat32;
  // State that folding may look at (never write): limits and resources of the load.
  RunState* run = nullptr;
  CompileFn compile;
  ShapeContext::InferFunctionFn infer;
};

// Calls the shape function of node `id` with what is known of its inputs (shapes, and values of
// Const nodes), and stores the result in the node's output_shapes. When the function refuses the
// shapes they become unknown and the error is returned: it is the run's to report, since the node
// may never run.
Status InferNode(const CompileEnv& env, Graph* graph, NodeId id);

// The kernel of node `id`.
StatusOr<KernelPtr> BuildKernel(const CompileEnv& env, const Graph& graph, NodeId id);

// Output shapes of `node` for actual inputs, where the shape function sees the values of some.
Status InferAtRunTime(const Node& node, Span<Tensor* const> inputs,
                      FunctionRef<bool(size_t input)> sees_value, std::vector<Shape>* outputs);

// What running a kernel calls: a callable's function itself, where it is one (MakeKernel). Valid as
// long as the kernel.
struct KernelCall {
  const void* subject = nullptr;
  Status (*run)(const void* subject, OpContext& context) = nullptr;
};
KernelCall CallOf(const Kernel& kernel);

// Runs a kernel; what it (or a library that it uses) throws for want of memory becomes a status.
Status RunKernel(const KernelCall& call, OpContext& context);

// Runs node `id` alone on `inputs`.
StatusOr<std::vector<Tensor>> EvaluateNode(const CompileEnv& env, const Graph& graph, NodeId id,
                                           std::vector<Tensor> inputs);

// "name (Op)", the place that errors of a node carry.
std::string NodePlace(const Node& node);

}  // namespace savedmodel
