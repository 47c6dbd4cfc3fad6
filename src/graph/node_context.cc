#include "src/graph/node_context.h"

#include <new>
#include <stdexcept>

#include "src/base/mapped_pages.h"
#include "src/base/status_macros.h"
#include "src/graph/run_interrupted.h"

namespace savedmodel {
namespace {

class NodeBuildContext final : public BuildContext {
 public:
  NodeBuildContext(const CompileEnv& env, const Graph& graph, NodeId id)
      : env_(env), graph_(graph), node_(graph.node(id)) {
    for (const NodeOutput& v : node_.inputs) input_shapes_.push_back(graph.shape(v));
    for (int i = 0; i < node_.num_outputs(); ++i) output_shapes_.push_back(graph.shape({id, i}));
  }

  const std::string& node_name() const override { return node_.name; }
  const std::string& op_name() const override { return node_.op; }
  const Attrs& attrs() const override { return node_.attrs; }
  int num_inputs() const override { return static_cast<int>(node_.inputs.size()); }
  int num_outputs() const override { return node_.num_outputs(); }
  DType input_dtype(int i) const override { return graph_.type(node_.inputs[i]); }
  DType output_dtype(int i) const override { return node_.output_types[i]; }
  const Shape& input_shape(int i) const override { return input_shapes_[i]; }
  const Shape& output_shape(int i) const override { return output_shapes_[i]; }
  const Tensor* constant_input(int i) const override { return graph_.constant(node_.inputs[i]); }
  Span<const EpilogueStep> epilogue() const override { return node_.epilogue; }
  int num_threads() const override { return env_.num_threads; }
  Precision precision() const override { return env_.precision; }

  StatusOr<std::shared_ptr<const CompiledFunction>> CompileFunction(
      const FuncAttr& f, Span<const Shape> input_shapes) override {
    if (!env_.compile) return Internal("function ", f.name, " cannot be compiled here");
    return env_.compile(f, input_shapes);
  }

  StatusOr<std::shared_ptr<const void>> Packed(
      const Tensor& source, const std::string& kind,
      FunctionRef<StatusOr<std::shared_ptr<const void>>()> pack) override {
    if (env_.packs == nullptr) return pack();
    return env_.packs->GetOrPack(source, kind, pack);
  }

 private:
  const CompileEnv& env_;
  const Graph& graph_;
  const Node& node_;
  std::vector<Shape> input_shapes_;
  std::vector<Shape> output_shapes_;
};

Status CheckRunnable(const Node& node) {
  SM_RETURN_IF_ERROR(node.error);
  if (node.registered == nullptr) {
    return Unimplemented("op ", node.op, " is not among the ops of this library (docs/ops.md)");
  }
  return Status();
}

bool MakesStrings(const OpContext& context) {
  for (int i = 0; i < context.num_outputs(); ++i) {
    if (context.output_dtype(i) == DType::kString) return true;
  }
  return false;
}

// What strings hold lies outside of the tensors that were charged: results that alone take more
// than the run has left are refused, so that no run can double a text until memory ends.
Status CheckStrings(OpContext& context) {
  MemoryBudget* budget = context.run().budget.get();
  for (int i = 0; i < context.num_outputs(); ++i) {
    const Tensor& output = context.output(i);
    if (output.dtype() != DType::kString || !output.exclusive()) continue;
    int64_t bytes = 0;
    for (const std::string& s : output.values<std::string>()) {
      bytes += static_cast<int64_t>(s.size());
    }
    if (!budget->Charge(bytes)) {
      return ResourceExhausted("the strings of output ", i, " take ", bytes,
                               " bytes, more than the memory budget of this run has left");
    }
    budget->Refund(bytes);
  }
  return Status();
}

}  // namespace

StatusOr<std::shared_ptr<const void>> PackCache::GetOrPack(
    const Tensor& source, const std::string& kind,
    FunctionRef<StatusOr<std::shared_ptr<const void>>()> pack) {
  const std::string key =
      StrCat(kind, "@", reinterpret_cast<uintptr_t>(source.raw_data()), source.TypeString());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = entries_.find(key);
    if (it != entries_.end()) return it->second.packed;
  }
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const void> packed, pack());
  // Most constants are only used in their packed form.
  if (packed != nullptr) ReleaseMappedPages(source.raw_data(), source.num_bytes());
  std::lock_guard<std::mutex> lock(mutex_);
  return entries_.emplace(key, Entry{source, std::move(packed)}).first->second.packed;
}

void PackCache::DropUnused() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(entries_, [](const auto& entry) { return entry.second.source.exclusive(); });
}

std::string NodePlace(const Node& node) { return StrCat(node.name, " (", node.op, ")"); }

Status InferNode(const CompileEnv& env, Graph* graph, NodeId id) {
  Node& node = graph->node(id);
  if (node.is_arg() || node.is_const()) return Status();
  SM_RETURN_IF_ERROR(CheckRunnable(node));
  std::vector<Shape> shapes;
  std::vector<const Shape*> shape_pointers;
  std::vector<DType> dtypes;
  std::vector<const Tensor*> values;
  shapes.reserve(node.inputs.size());
  for (const NodeOutput& v : node.inputs) {
    shapes.push_back(graph->shape(v));
    dtypes.push_back(graph->type(v));
    values.push_back(graph->constant(v));
  }
  for (const Shape& s : shapes) shape_pointers.push_back(&s);
  std::vector<Shape> outputs(node.num_outputs(), Shape::Unknown());
  ShapeContext context(node.attrs, {shape_pointers, dtypes, values}, &outputs,
                       env.infer ? &env.infer : nullptr);
  Status status = node.registered->def->shape(context);
  for (Shape& s : outputs) {
    if (!status.ok() || !s.valid()) s = Shape::Unknown();
  }
  node.output_shapes = std::move(outputs);
  return status;
}

StatusOr<KernelPtr> BuildKernel(const CompileEnv& env, const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  SM_RETURN_IF_ERROR(CheckRunnable(node).At(NodePlace(node)));
  NodeBuildContext context(env, graph, id);
  StatusOr<KernelPtr> kernel = node.registered->def->build(context);
  if (!kernel.ok()) return kernel.status().At(NodePlace(node));
  return kernel;
}

Status InferAtRunTime(const Node& node, Span<Tensor* const> inputs,
                      FunctionRef<bool(size_t)> sees_value, std::vector<Shape>* outputs) {
  constexpr int kFew = 8;
  const Shape* few_shapes[kFew];
  const Tensor* few_values[kFew];
  DType few_dtypes[kFew];
  std::vector<const Shape*> many_shapes;
  std::vector<const Tensor*> many_values;
  std::vector<DType> many_dtypes;
  const size_t n = inputs.size();
  const Shape** shapes = few_shapes;
  const Tensor** values = few_values;
  DType* dtypes = few_dtypes;
  if (n > kFew) {
    many_shapes.resize(n);
    many_values.resize(n);
    many_dtypes.resize(n);
    shapes = many_shapes.data();
    values = many_values.data();
    dtypes = many_dtypes.data();
  }
  for (size_t i = 0; i < n; ++i) {
    shapes[i] = &inputs[i]->shape();
    values[i] = sees_value(i) ? inputs[i] : nullptr;
    dtypes[i] = inputs[i]->dtype();
  }
  outputs->assign(node.num_outputs(), Shape::Unknown());
  ShapeContext context(node.attrs,
                       {Span<const Shape* const>(shapes, n), Span<const DType>(dtypes, n),
                        Span<const Tensor* const>(values, n)},
                       outputs);
  return node.registered->def->shape(context);
}

Status RunKernel(const KernelCall& call, OpContext& context) {
  try {
    if (context.run().budget == nullptr || !MakesStrings(context)) {
      return call.run(call.subject, context);
    }
    SM_RETURN_IF_ERROR(call.run(call.subject, context));
    return CheckStrings(context);
  } catch (const RunInterrupted&) {
    return context.run().Interrupted();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("the system has no memory for what this op needs");
  } catch (const std::length_error&) {
    return ResourceExhausted("this op asks for more memory than there can be");
  }
}

StatusOr<std::vector<Tensor>> EvaluateNode(const CompileEnv& env, const Graph& graph, NodeId id,
                                           std::vector<Tensor> inputs) {
  const Node& node = graph.node(id);
  SM_ASSIGN_OR_RETURN(KernelPtr kernel, BuildKernel(env, graph, id));
  std::vector<Tensor*> input_pointers, output_pointers;
  for (Tensor& t : inputs) input_pointers.push_back(&t);
  std::vector<Tensor> outputs(node.num_outputs());
  for (Tensor& t : outputs) output_pointers.push_back(&t);
  std::vector<Shape> shapes;
  const auto sees_all = [](size_t) { return true; };
  SM_RETURN_IF_ERROR(InferAtRunTime(node, input_pointers, sees_all, &shapes).At(NodePlace(node)));
  RunState run;
  if (env.run != nullptr) run = *env.run;
  OpContext context(input_pointers, output_pointers, node.output_types, run);
  for (int i = 0; i < node.num_outputs(); ++i) {
    const bool is_ref = graph.is_ref({id, i});
    if (!is_ref && shapes[i].fully_known()) {
      SM_RETURN_IF_ERROR(context.AllocateOutput(i, shapes[i]).At(NodePlace(node)));
    }
  }
  SM_RETURN_IF_ERROR(RunKernel(CallOf(*kernel), context).At(NodePlace(node)));
  return outputs;
}

}  // namespace savedmodel
