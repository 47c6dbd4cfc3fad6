// Blocks of mobile networks: a convolution that widens, a depthwise one and, where it follows, a
// pointwise one that narrows become one op, so that the wide values never leave the cache. Where
// they fit into it anyway, the ops stay.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// Floats of the wide value that are worth a block, and of filters that a block reads for every few
// rows.
constexpr int64_t kLeastWide = 160 * 1024;
constexpr int64_t kMostFilter = 48 * 1024;
constexpr int64_t kMostColours = 4;

class BlockFuser {
 public:
  BlockFuser(OptimizeContext* context, Graph* graph)
      : context_(context), graph_(graph), uses_(CountUses(*graph)) {}

  Status Run() {
    const int count = graph_->num_nodes();
    for (NodeId id = 0; id < count; ++id) {
      if (IsDepthwise(id) && IsWidening(graph_->node(id).inputs[0])) Fuse(id);
    }
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  const Tensor* Filter(const Node& node) const {
    const Tensor* filter = graph_->constant(node.inputs[1]);
    return filter != nullptr && filter->dtype() == DType::kFloat && filter->shape().rank() == 4
               ? filter
               : nullptr;
  }

  bool IsPlain(const Node& node, NodeId id) const {
    return node.control_inputs.empty() && node.attrs.String("data_format") == "NHWC" &&
           graph_->shape({id, 0}).fully_known() && graph_->shape(node.inputs[0]).fully_known();
  }

  bool IsDepthwise(NodeId id) const {
    const Node& node = graph_->node(id);
    if (node.op != "DepthwiseConv2dNative" || !IsPlain(node, id)) return false;
    const Tensor* filter = Filter(node);
    const std::vector<int64_t>& dilations = node.attrs.Ints("dilations");
    return filter != nullptr && filter->shape()[3] == 1 &&
           std::all_of(dilations.begin(), dilations.end(), [](int64_t d) { return d == 1; });
  }

  // A small product for each pixel, computed directly.
  bool IsSmallProduct(NodeId id) const {
    const Node& node = graph_->node(id);
    if ((node.op != "Conv2D" && node.op != "_ScaledConv2D") || !IsPlain(node, id)) return false;
    const Tensor* filter = Filter(node);
    const std::vector<int64_t>& dilations = node.attrs.Ints("dilations");
    return filter != nullptr && filter->shape()[2] == graph_->shape(node.inputs[0])[3] &&
           filter->num_elements() <= kMostFilter &&
           std::all_of(dilations.begin(), dilations.end(), [](int64_t d) { return d == 1; });
  }

  // Of each pixel by itself.
  bool IsPointwise(NodeId id) const {
    const Node& node = graph_->node(id);
    if (!IsSmallProduct(id)) return false;
    const Shape& filter = Filter(node)->shape();
    const std::vector<int64_t>& strides = node.attrs.Ints("strides");
    return filter[0] == 1 && filter[1] == 1 && node.attrs.String("padding") != "EXPLICIT" &&
           std::all_of(strides.begin(), strides.end(), [](int64_t s) { return s == 1; });
  }

  // The first convolution of a network, of the colours of an image.
  bool IsStem(NodeId id) const {
    return IsSmallProduct(id) && Filter(graph_->node(id))->shape()[2] <= kMostColours;
  }

  // Operands of the steps behind node `id` are the same for each pixel.
  bool HasStepsOfColumns(NodeId id) const {
    const Node& node = graph_->node(id);
    const Shape out = graph_->shape({id, 0});
    return std::all_of(node.epilogue.begin(), node.epilogue.end(), [&](const EpilogueStep& step) {
      if (step.operand < 0) return true;
      const int64_t n = graph_->shape(node.inputs[step.operand]).num_elements();
      return (n == 1 || n == out[3]) && n != out.num_elements();
    });
  }

  bool IsWidening(NodeOutput v) const {
    if (v.index != 0 || uses_[v.node] != 1 || (!IsPointwise(v.node) && !IsStem(v.node))) {
      return false;
    }
    const Shape out = graph_->shape(v);
    return out.num_elements() / std::max<int64_t>(1, out[0]) >= kLeastWide &&
           HasStepsOfColumns(v.node);
  }

  // The narrowing convolution that is the only user of `id`; -1 for none.
  NodeId Narrowing(NodeId id) const {
    if (uses_[id] != 1) return -1;
    for (NodeId user = 0; user < static_cast<NodeId>(uses_.size()); ++user) {
      const Node& node = graph_->node(user);
      if (node.inputs.empty() || node.inputs[0] != NodeOutput{id, 0}) continue;
      return IsPointwise(user) ? user : -1;
    }
    return -1;
  }

  // Adds the inputs of a stage but the first, and what tells the kernel about them.
  void AddStage(NodeId id, Node* block, std::vector<int64_t>* stages,
                std::vector<float>* parameters) const {
    if (id < 0) {
      stages->insert(stages->end(), {-1, -1, 0});
      return;
    }
    const Node& node = graph_->node(id);
    const int64_t first = static_cast<int64_t>(block->inputs.size()) - 1;  // of its own inputs
    stages->insert(stages->end(), {first + 1, node.op == "_ScaledConv2D" ? first + 2 : -1,
                                   static_cast<int64_t>(node.epilogue.size())});
    for (const EpilogueStep& step : node.epilogue) {
      stages->insert(stages->end(),
                     {static_cast<int64_t>(step.op), step.operand < 0 ? -1 : first + step.operand,
                      step.operand_first});
      parameters->push_back(step.parameter);
    }
    block->inputs.insert(block->inputs.end(), node.inputs.begin() + 1, node.inputs.end());
  }

  void Fuse(NodeId depthwise) {
    if (!HasStepsOfColumns(depthwise)) return;
    const NodeId expand = graph_->node(depthwise).inputs[0].node;
    const NodeId project = Narrowing(depthwise);
    const NodeId last = project < 0 ? depthwise : project;
    Node block;
    block.name = graph_->node(depthwise).name;
    block.op = "_DepthwiseBlock";
    block.registered = context_->env.registry->Find(block.op);
    block.inputs = {graph_->node(expand).inputs[0]};
    block.output_types = {DType::kFloat};
    block.output_shapes = {graph_->shape({last, 0})};
    std::vector<int64_t> stages;
    std::vector<float> parameters;
    for (const NodeId id : {expand, depthwise, project}) {
      AddStage(id, &block, &stages, &parameters);
    }
    for (const std::string name : {"strides", "padding", "explicit_paddings"}) {
      if (const AttrValue* value = graph_->node(depthwise).attrs.Find(name)) {
        block.attrs.Set(name, *value);
      }
      if (const AttrValue* value = graph_->node(expand).attrs.Find(name)) {
        block.attrs.Set("expand_" + name, *value);
      }
    }
    block.attrs.Set("N", static_cast<int64_t>(block.inputs.size()));
    block.attrs.Set("stages", std::move(stages));
    block.attrs.Set("parameters", std::move(parameters));
    const NodeId made = graph_->AddNode(std::move(block));
    redirects_.Set({last, 0}, {made, 0});
    redirects_.SetControl(last, made);
  }

  OptimizeContext* context_;
  Graph* graph_;
  std::vector<int> uses_;
  Redirects redirects_;
};

}  // namespace

Status FuseDepthwiseBlocks(OptimizeContext* context, Graph* graph) {
  return BlockFuser(context, graph).Run();
}

}  // namespace savedmodel
