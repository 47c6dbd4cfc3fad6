// The order of the passes, and what they share.
#include "src/optimizer/optimizer.h"

#include <algorithm>

#include "src/base/status_macros.h"

namespace savedmodel {

bool OverlayLibrary::Has(const std::string& name) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return added_.count(name) > 0 || (base_ != nullptr && base_->Has(name));
}

StatusOr<std::shared_ptr<const GraphFunction>> OverlayLibrary::Get(const FuncAttr& f) const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = added_.find(f.name);
    if (it != added_.end()) return it->second;
  }
  if (base_ == nullptr) return NotFound("function ", f.name, " is not in the model's library");
  return base_->Get(f);
}

std::vector<std::string> OverlayLibrary::Names() const {
  return base_ == nullptr ? std::vector<std::string>() : base_->Names();
}

std::string OverlayLibrary::Add(GraphFunction function) {
  std::lock_guard<std::mutex> lock(mutex_);
  // '@' cannot stand in a name that comes from a file's NodeDefs.
  function.name = StrCat(function.name, "@", next_->fetch_add(1));
  num_nodes_ += function.graph.num_nodes();
  const std::string name = function.name;
  added_[name] = std::make_shared<const GraphFunction>(std::move(function));
  return name;
}

bool OverlayLibrary::HasAdded(const std::string& name) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return added_.count(name) > 0;
}

bool OverlayLibrary::IsLarge() const {
  constexpr int64_t kLarge = 1'000'000;
  std::lock_guard<std::mutex> lock(mutex_);
  return num_nodes_ > kLarge;
}

NodeOutput Redirects::Resolve(NodeOutput v) const {
  for (auto it = map_.find(Key(v)); it != map_.end(); it = map_.find(Key(v))) v = it->second;
  return v;
}

NodeId Redirects::ResolveControl(NodeId id) const {
  for (auto it = control_.find(id); it != control_.end(); it = control_.find(id)) id = it->second;
  return id;
}

void Redirects::Apply(Graph* graph) const {
  if (empty()) return;
  for (NodeId id = 0; id < graph->num_nodes(); ++id) {
    Node& node = graph->node(id);
    for (NodeOutput& v : node.inputs) v = Resolve(v);
    std::vector<NodeId> controls;
    for (NodeId c : node.control_inputs) {
      c = ResolveControl(c);
      if (c >= 0) controls.push_back(c);
    }
    node.control_inputs = std::move(controls);
  }
  for (NodeOutput& v : graph->results) v = Resolve(v);
  std::vector<NodeId> targets;
  for (NodeId id : graph->targets) {
    id = ResolveControl(id);
    if (id >= 0) targets.push_back(id);
  }
  graph->targets = std::move(targets);
}

bool IsUsed(const Graph& graph, NodeOutput v) {
  const auto has = [&](const std::vector<NodeOutput>& in) {
    return std::find(in.begin(), in.end(), v) != in.end();
  };
  return has(graph.results) || std::any_of(graph.nodes().begin(), graph.nodes().end(),
                                           [&](const Node& n) { return has(n.inputs); });
}

std::vector<int> CountUses(const Graph& graph) {
  std::vector<int> uses(graph.num_nodes(), 0);
  for (const Node& node : graph.nodes()) {
    for (const NodeOutput& v : node.inputs) ++uses[v.node];
    for (NodeId c : node.control_inputs) ++uses[c];
  }
  for (const NodeOutput& v : graph.results) ++uses[v.node];
  for (NodeId id : graph.targets) ++uses[id];
  return uses;
}

bool IsScalarFunction(const Node& node) {
  if (node.registered == nullptr) return false;
  const ScalarOp op = node.registered->def->fusion.scalar;
  return op != ScalarOp::kNone && node.control_inputs.empty() && node.num_outputs() == 1 &&
         node.output_types[0] == DType::kFloat && node.attrs.String("data_format") != "NCHW" &&
         node.inputs.size() == (IsBinary(op) ? 2u : 1u);
}

std::vector<int> PermutationOf(const Graph& graph, const Node& node) {
  if (node.op != "Transpose" || node.inputs.size() != 2 || !node.control_inputs.empty()) return {};
  const Tensor* dims = graph.constant(node.inputs[1]);
  const int rank = graph.shape(node.inputs[0]).rank();
  if (dims == nullptr || dims->num_elements() != rank) return {};
  std::vector<int> p;
  for (int i = 0; i < rank; ++i) {
    const int64_t from = IntegerAt(*dims, i);
    p.push_back(static_cast<int>(from < 0 ? from + rank : from));
    if (p[i] < 0 || p[i] >= rank || std::count(p.begin(), p.end(), p[i]) != 1) return {};
  }
  return p;
}

void MakeIdentity(const OptimizeContext& context, Graph* graph, NodeId id, NodeOutput input) {
  const DType dtype = graph->type(input);
  Node& node = graph->node(id);
  node.op = "Identity";
  node.registered = context.env.registry->Find("Identity");
  node.inputs = {input};
  node.output_types = {dtype};
  node.output_is_ref.clear();
  node.output_shapes.clear();
  node.attrs = Attrs();
  node.attrs.Set("T", dtype);
}

NodeId ControlOf(const OptimizeContext& context, Graph* graph, NodeOutput v) {
  if (!SplitsDeadness(graph->node(v.node))) return v.node;
  Node node;
  node.name = graph->node(v.node).name + "/control";
  const NodeId id = graph->AddNode(std::move(node));
  MakeIdentity(context, graph, id, v);
  return id;
}

void MakeConst(Graph* graph, NodeId id, Tensor value) {
  Node& node = graph->node(id);
  node.op = "Const";
  node.registered = nullptr;
  node.inputs.clear();
  node.output_shapes = {value.shape()};
  node.attrs = Attrs();
  node.attrs.Set("dtype", node.output_types[0]);
  node.attrs.Set("value", std::move(value));
}

namespace {

// Inlines, and refuses what cannot be used: the other passes see sound nodes only.
Status InlineAndCheck(OptimizeContext* context, Graph* graph) {
  SM_RETURN_IF_ERROR(InlineCalls(context, graph));
  for (const Node& node : graph->nodes()) {
    if (!node.error.ok()) return node.error.At(NodePlace(node));
    if (node.registered == nullptr && !node.is_arg() && !node.is_const()) {
      return Unimplemented(NodePlace(node), ": op ", node.op,
                           " is not among the ops of this library (docs/ops.md); add it through "
                           "LoadOptions::custom_ops");
    }
  }
  return Status();
}

}  // namespace

Status Optimize(OptimizeContext* context, Graph* graph) {
  graph->Compact();
  SM_RETURN_IF_ERROR(InlineAndCheck(context, graph));
  SM_RETURN_IF_ERROR(RaiseLoops(context, graph));
  SM_RETURN_IF_ERROR(RaiseConditionals(context, graph));
  SM_RETURN_IF_ERROR(ResolveHandles(context, graph));
  SM_RETURN_IF_ERROR(FreezeVariables(context, graph));
  SM_RETURN_IF_ERROR(InferAndFold(context, graph));
  constexpr int kRounds = 8;
  for (int round = 0; round < kRounds; ++round) {
    bool changed = false;
    SM_RETURN_IF_ERROR(ResolveBranches(context, graph, &changed));
    if (!changed) break;
    graph->Compact();
    SM_RETURN_IF_ERROR(InlineAndCheck(context, graph));
    SM_RETURN_IF_ERROR(RaiseLoops(context, graph));
    SM_RETURN_IF_ERROR(RaiseConditionals(context, graph));
    SM_RETURN_IF_ERROR(ResolveHandles(context, graph));
    SM_RETURN_IF_ERROR(FreezeVariables(context, graph));
    SM_RETURN_IF_ERROR(InferAndFold(context, graph));
  }
  SM_RETURN_IF_ERROR(ShortenCalls(context, graph));
  SM_RETURN_IF_ERROR(PruneControl(context, graph));
  SM_RETURN_IF_ERROR(MergeCommon(context, graph));
  graph->Compact();
  NameDepthwise(*context, graph);
  SM_RETURN_IF_ERROR(PushTransposes(context, graph));
  graph->Compact();
  JoinDilatedConvolutions(graph);
  graph->Compact();
  FoldPads(*context, graph);
  SM_RETURN_IF_ERROR(FoldBatchNorms(context, graph));
  graph->Compact();
  return Status();
}

Status Specialize(OptimizeContext* context, Span<const Shape> arg_shapes, Graph* graph) {
  if (arg_shapes.size() != graph->args.size()) {
    return Internal("found ", arg_shapes.size(), " argument shapes, expected ", graph->args.size());
  }
  for (size_t i = 0; i < arg_shapes.size(); ++i) {
    graph->node(graph->args[i]).output_shapes = {arg_shapes[i]};
  }
  SM_RETURN_IF_ERROR(InferAndFold(context, graph));
  SM_RETURN_IF_ERROR(PruneControl(context, graph));
  SM_RETURN_IF_ERROR(MergeCommon(context, graph));
  JoinDilatedConvolutions(graph);
  SM_RETURN_IF_ERROR(ListTensorArrays(context, graph));
  SM_RETURN_IF_ERROR(HoistProjections(context, graph));
  SM_RETURN_IF_ERROR(KeepGatheredProducts(context, graph));
  SM_RETURN_IF_ERROR(RecognizeRecurrences(context, graph));
  // Shapes that became known with loops are constants that wait for what they are the shapes of.
  SM_RETURN_IF_ERROR(PruneControl(context, graph));
  SM_RETURN_IF_ERROR(RecognizeLayers(context, graph));
  SM_RETURN_IF_ERROR(RecognizeCells(context, graph));
  SM_RETURN_IF_ERROR(RecognizeAttention(context, graph));
  SM_RETURN_IF_ERROR(JoinEmbeddings(context, graph));
  graph->Compact();
  SM_RETURN_IF_ERROR(FuseEpilogues(context, graph));
  graph->Compact();
  TakeLargestOfLines(graph);
  graph->Compact();
  SM_RETURN_IF_ERROR(FuseDepthwiseBlocks(context, graph));
  SM_RETURN_IF_ERROR(FuseElementwise(context, graph));
  graph->Compact();
  SM_RETURN_IF_ERROR(SliceBatches(context, graph));
  graph->Compact();
  return Status();
}

}  // namespace savedmodel
