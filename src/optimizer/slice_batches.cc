// Batches of images some at a time: where values between ops are so large that they leave the
// caches, a sequence of ops becomes one that calls a function of them for each slice of the batch.
// Values within it need no more memory than a slice does.
#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/ceil_div.h"
#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// Bytes that an op may read and write of a slice, so that the next one finds them in a cache. They
// do not depend on the machine, so that results do not, either.
constexpr int64_t kMostBytes = 12 << 20;
// What an op reads and writes of a batch for which it is worth being in a slice.
constexpr int64_t kLeastBytes = kMostBytes / 2;
// Constants, which are read again for each slice, of other ops between such.
constexpr int64_t kMostConstants = 16 << 20;

class BatchSlicer {
 public:
  BatchSlicer(OptimizeContext* context, Graph* graph)
      : context_(context), graph_(graph), uses_(CountUses(*graph)) {}

  Status Run() {
    const auto may_be_dead = [](const Node& n) { return SplitsDeadness(n) || IsMerge(n); };
    if (std::any_of(graph_->nodes().begin(), graph_->nodes().end(), may_be_dead)) return Status();
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    std::vector<NodeId> sequence;
    int64_t examples = 0;
    for (const NodeId id : order) {
      const Node& node = graph_->node(id);
      if (node.is_const() || node.is_arg()) continue;
      const int64_t of_node = ExamplesOf(id);
      if (of_node != examples) {
        Cut(sequence, examples);
        sequence.clear();
        examples = of_node;
      }
      if (of_node > 0) sequence.push_back(id);
    }
    Cut(sequence, examples);
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  int64_t Bytes(NodeOutput v) const {
    return graph_->shape(v).num_elements() * static_cast<int64_t>(DTypeSize(graph_->type(v)));
  }

  // Whether input 0 of the node is the shape of its output, batch and all.
  static bool TakesShape(const Node& node) {
    return node.op == "Conv2DBackpropInput" || node.op == "Conv3DBackpropInputV2";
  }

  // Whether input i is a weight: not the batch that the op is about, nor an operand with elements
  // for those of the output.
  static bool IsWeight(const Node& node, size_t i) {
    return node.registered->def->fusion.accepts_epilogue && i != (TakesShape(node) ? 2 : 0) &&
           std::none_of(node.epilogue.begin(), node.epilogue.end(), [&](const EpilogueStep& step) {
             return step.operand == static_cast<int>(i);
           });
  }

  // Whether the node is a StridedSlice that takes examples in order: all of them, if there are as
  // many in the output. Dimensions behind an ellipsis may be the first ones.
  bool KeepsExamples(const Node& node) const {
    if (node.op != "StridedSlice" || node.inputs.size() != 4) return false;
    const Tensor* strides = graph_->constant(node.inputs[3]);
    if (strides == nullptr || strides->num_elements() == 0) return false;
    const bool may_be_any = node.attrs.Int("ellipsis_mask") % 2 != 0;
    const int64_t count = may_be_any ? strides->num_elements() : 1;
    for (int64_t i = 0; i < count; ++i) {
      if (IntegerAt(*strides, i) != 1) return false;
    }
    return true;
  }

  // How many examples the node's output and all inputs that are not constant have, of which each
  // is computed apart; 0 where that is not so.
  int64_t ExamplesOf(NodeId id) const {
    const Node& node = graph_->node(id);
    if (node.registered == nullptr || !node.control_inputs.empty() || node.num_outputs() != 1 ||
        graph_->is_ref({id, 0}) || !IsPlainData(node.output_types[0])) {
      return 0;
    }
    const OpDef& def = *node.registered->def;
    const bool is_scalar = def.fusion.scalar != ScalarOp::kNone;
    const bool per_example = is_scalar || def.per_example || KeepsExamples(node);
    if (def.effects != Effects::kPure || !per_example) return 0;
    const Shape out = graph_->shape({id, 0});
    if (!out.fully_known() || out.rank() < 2 || out[0] < 2) return 0;
    const size_t batches = std::count_if(node.inputs.begin(), node.inputs.end(), [&](NodeOutput v) {
      return graph_->constant(v) == nullptr;
    });
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Shape in = graph_->shape(node.inputs[i]);
      if (!in.fully_known()) return 0;
      const bool is_constant = graph_->constant(node.inputs[i]) != nullptr;
      const bool is_batch = in.rank() > 0 && in[0] == out[0];
      if (IsWeight(node, i)) {
        if (!is_constant) return 0;
      } else if (is_constant) {
        if (is_batch && in.rank() == out.rank()) return 0;
      } else {
        // Inputs of different ranks are broadcast.
        const bool may_differ = batches == 1 && !is_scalar;
        if (!is_batch || (in.rank() != out.rank() && !may_differ)) return 0;
      }
    }
    return batches > 0 ? out[0] : 0;
  }

  // What a node reads and writes of the batch.
  int64_t BatchBytes(NodeId id) const {
    const Node& node = graph_->node(id);
    if (node.registered->def->in_place == InPlace::kAliasesInput0) return 0;
    int64_t bytes = Bytes({id, 0});
    for (const NodeOutput& v : node.inputs) {
      if (graph_->constant(v) == nullptr) bytes += Bytes(v);
    }
    return bytes;
  }
  int64_t ConstantBytes(NodeId id) const {
    int64_t bytes = 0;
    for (const NodeOutput& v : graph_->node(id).inputs) {
      if (graph_->constant(v) != nullptr) bytes += Bytes(v);
    }
    return bytes;
  }

  // Slices what there is of a sequence of nodes over a batch.
  void Cut(const std::vector<NodeId>& sequence, int64_t examples) {
    size_t begin = 0, end = 0;  // from the first to behind the last node worth it
    int64_t between = 0;
    const auto slice = [&] { Slice({sequence.data() + begin, end - begin}, examples); };
    for (size_t i = 0; i < sequence.size(); ++i) {
      if (BatchBytes(sequence[i]) < kLeastBytes) {
        between += ConstantBytes(sequence[i]);
        continue;
      }
      if (begin == end || between > kMostConstants) {
        slice();
        begin = i;
      }
      end = i + 1;
      between = 0;
    }
    slice();
  }

  // Slices consecutive nodes, before and behind those that cannot be.
  void Slice(Span<const NodeId> nodes, int64_t examples) {
    while (!nodes.empty()) {
      const size_t unfit = TrySlice(nodes, examples);
      if (unfit == nodes.size()) return;
      TrySlice({nodes.data(), unfit}, examples);
      nodes = {nodes.data() + unfit + 1, nodes.size() - unfit - 1};
    }
  }

  // Puts one node in place of consecutive ones, where they are worth it. Returns which of them
  // would not have as many examples as a slice; their number for none.
  size_t TrySlice(Span<const NodeId> nodes, int64_t examples) {
    int64_t most = 0;
    for (const NodeId id : nodes) most = std::max(most, BatchBytes(id));
    if (most <= kMostBytes || nodes.size() < 2) return nodes.size();
    const std::vector<NodeOutput> results = FindResults(nodes);
    const int64_t slices = std::min(examples, CeilDiv(most, kMostBytes));
    const int64_t of_slice = CeilDiv(examples, slices);
    const int64_t left = examples % of_slice;
    Node call;
    FuncAttr f, rest;
    size_t unfit = AddFunction(nodes, results, examples, of_slice, &call.inputs, &f);
    if (unfit < nodes.size()) return unfit;
    rest = f;
    if (left > 0) unfit = AddFunction(nodes, results, examples, left, &call.inputs, &rest);
    if (unfit < nodes.size()) return unfit;
    call.name = graph_->node(nodes[nodes.size() - 1]).name + "/slices";
    call.op = "_Slices";
    call.registered = context_->env.registry->Find(call.op);
    std::vector<DType> in_types;
    for (const NodeOutput& v : call.inputs) in_types.push_back(graph_->type(v));
    for (const NodeOutput& v : results) {
      call.output_types.push_back(graph_->type(v));
      call.output_shapes.push_back(graph_->shape(v));
    }
    call.attrs.Set("Tin", std::move(in_types));
    call.attrs.Set("Tout", call.output_types);
    call.attrs.Set("f", std::move(f));
    call.attrs.Set("rest", std::move(rest));
    call.attrs.Set("examples", of_slice);
    call.attrs.Set("output_shapes", call.output_shapes);
    const NodeId id = graph_->AddNode(std::move(call));
    for (size_t i = 0; i < results.size(); ++i) {
      redirects_.Set(results[i], {id, static_cast<int32_t>(i)});
    }
    for (const NodeId inside : nodes) redirects_.SetControl(inside, id);
    return nodes.size();
  }

  // The outputs that others need.
  std::vector<NodeOutput> FindResults(Span<const NodeId> nodes) const {
    std::unordered_map<NodeId, int> uses_inside;
    for (const NodeId id : nodes) {
      for (const NodeOutput& v : graph_->node(id).inputs) ++uses_inside[v.node];
    }
    std::vector<NodeOutput> results;
    for (const NodeId id : nodes) {
      if (uses_[id] > uses_inside[id]) results.push_back({id, 0});
    }
    return results;
  }

  // A constant of a function over `of_slice` examples: some name the batch's size.
  static StatusOr<Tensor> ConstantOf(const Node& node, size_t i, const Tensor& value,
                                     int64_t examples, int64_t of_slice) {
    const bool is_shape = (node.op == "Reshape" && i == 1) || (TakesShape(node) && i == 0);
    if (!is_shape || value.num_elements() < 1 || IntegerAt(value, 0) != examples) return value;
    SM_ASSIGN_OR_RETURN(Tensor changed, value.Clone());
    if (changed.dtype() == DType::kInt32) {
      changed.mutable_data<int32_t>()[0] = static_cast<int32_t>(of_slice);
    } else {
      changed.mutable_data<int64_t>()[0] = of_slice;
    }
    return changed;
  }

  // Adds a function of `nodes` for `of_slice` of the batch's examples to the library; `inputs` are
  // what it takes. Returns which node would not have as many; their number for none.
  size_t AddFunction(Span<const NodeId> nodes, const std::vector<NodeOutput>& results,
                     int64_t examples, int64_t of_slice, std::vector<NodeOutput>* inputs,
                     FuncAttr* f) const {
    GraphFunction function;
    function.name = "slice";
    function.is_specialized = true;
    Graph& graph = function.graph;
    inputs->clear();
    std::unordered_map<NodeId, NodeId> copies;      // of nodes inside
    std::unordered_map<int64_t, NodeId> arguments;  // by what is outside
    for (size_t n = 0; n < nodes.size(); ++n) {
      const NodeId id = nodes[n];
      Node copy = graph_->node(id);
      for (size_t i = 0; i < copy.inputs.size(); ++i) {
        NodeOutput& v = copy.inputs[i];
        const Node& from = graph_->node(v.node);
        if (const auto inside = copies.find(v.node); inside != copies.end()) {
          v.node = inside->second;
        } else if (const Tensor* value = graph_->constant(v)) {
          StatusOr<Tensor> constant = ConstantOf(copy, i, *value, examples, of_slice);
          if (!constant.ok()) return n;
          v = {graph.AddConst(from.name, *std::move(constant)), 0};
        } else {
          const auto [argument, is_new] = arguments.emplace(Redirects::Key(v), -1);
          if (is_new) {
            argument->second =
                graph.AddArg(from.name, graph_->type(v), graph_->shape(v).WithDim(0, of_slice));
            function.inputs.push_back({from.name, graph_->type(v)});
            inputs->push_back(v);
          }
          v = {argument->second, 0};
        }
      }
      const NodeId copied = graph.AddNode(std::move(copy));
      const bool fits = InferNode(context_->env, &graph, copied).ok() &&
                        graph.shape({copied, 0}) == graph_->shape({id, 0}).WithDim(0, of_slice);
      if (!fits) return n;
      copies.emplace(id, copied);
    }
    for (const NodeOutput& v : results) {
      graph.results.push_back({copies.at(v.node), v.index});
      function.outputs.push_back({graph_->node(v.node).name, graph_->type(v)});
    }
    f->name = context_->library->Add(std::move(function));
    return nodes.size();
  }

  OptimizeContext* const context_;
  Graph* const graph_;
  const std::vector<int> uses_;  // of the nodes that there were
  Redirects redirects_;
};

}  // namespace

Status SliceBatches(OptimizeContext* context, Graph* graph) {
  return BatchSlicer(context, graph).Run();
}

}  // namespace savedmodel
