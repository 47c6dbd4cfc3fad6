// Zeros around an image or a sequence, put there by an op of their own, become the padding of the
// convolution or the pooling that reads it.
#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// What an op pads each dimension of an image with, before and after, in place of `pad`, when that
// pads a tensor of `rank` dimensions with zeros, inner ones only; empty otherwise. Of a
// sequence, rank 3, that is an image of one row.
std::vector<int64_t> ZerosAround(const Graph& graph, const Node& pad, int rank) {
  const bool plain = pad.op == "Pad" && pad.inputs.size() == 2;
  if ((!plain && !(pad.op == "PadV2" && pad.inputs.size() == 3)) || !pad.control_inputs.empty()) {
    return {};
  }
  const Tensor* value = plain ? nullptr : graph.constant(pad.inputs[2]);
  if (!plain && (value == nullptr || value->dtype() != DType::kFloat ||
                 value->num_elements() != 1 || *value->data<float>() != 0)) {
    return {};
  }
  const Tensor* paddings = graph.constant(pad.inputs[1]);
  if (paddings == nullptr || paddings->num_elements() != 2 * rank) return {};
  std::vector<int64_t> out(8);
  for (int i = 0; i < 2 * rank; ++i) {
    const int64_t zeros = IntegerAt(*paddings, i);
    const bool inner = i >= 2 && i < 2 * rank - 2;
    if (zeros < 0 || (!inner && zeros != 0)) return {};
    if (inner) out[8 - 2 * rank + i] = zeros;
  }
  return out;
}

// Whether node `id` puts in the dimension of rows.
bool IsImageOfSequence(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  return node.op == "ExpandDims" && node.control_inputs.empty() &&
         IsAxis(graph.constant(node.inputs[1]), 1, 4);
}

// Whether the op may have zeros around its input 0, an image.
bool MayPad(const Node& node) {
  const bool is_pool = node.op == "MaxPool" && node.output_types[0] == DType::kFloat &&
                       node.attrs.Ints("ksize")[3] == 1;
  const bool is_convolution = node.op == "Conv2D" || node.op == "DepthwiseConv2dNative";
  return (is_pool || (is_convolution && node.inputs.size() == 2)) &&
         node.attrs.String("padding") == "VALID" && node.attrs.String("data_format") == "NHWC";
}

}  // namespace

void FoldPads(const OptimizeContext& context, Graph* graph) {
  const std::vector<int> uses = CountUses(*graph);
  for (NodeId id = 0; id < graph->num_nodes(); ++id) {
    Node& node = graph->node(id);
    if (!MayPad(node)) continue;
    // What makes an image of a sequence, if that is what is padded.
    const NodeId expand = node.inputs[0].node;
    const bool is_sequence = IsImageOfSequence(*graph, expand) && uses[expand] == 1;
    NodeOutput* input = is_sequence ? &graph->node(expand).inputs[0] : &node.inputs[0];
    const Node& pad = graph->node(input->node);
    std::vector<int64_t> paddings = ZerosAround(*graph, pad, is_sequence ? 3 : 4);
    if (paddings.empty()) continue;
    *input = pad.inputs[0];
    if (is_sequence) {
      const Shape& shape = graph->shape(*input);
      graph->node(expand).output_shapes = {shape.rank() == 3 ? shape.WithInserted(1, 1)
                                                             : Shape::UnknownOfRank(4)};
    }
    if (node.op == "MaxPool") {
      node.op = "_ZeroPaddedMaxPool";
      node.registered = context.env.registry->Find(node.op);
    }
    node.attrs.Set("padding", std::string("EXPLICIT"));
    node.attrs.Set("explicit_paddings", std::move(paddings));
  }
}

}  // namespace savedmodel
