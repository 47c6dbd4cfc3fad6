// Zeros around an image, put there by an op of their own, become the padding of the convolution
// that reads it.
#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// What `id` pads each dimension with, before and after, when it pads with zeros, rows and columns
// only; empty otherwise.
std::vector<int64_t> ZerosAround(const Graph& graph, const Node& pad) {
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
  if (paddings == nullptr || paddings->num_elements() != 8) return {};
  std::vector<int64_t> out(8);
  for (int i = 0; i < 8; ++i) {
    out[i] = IntegerAt(*paddings, i);
    const bool inner = i >= 2 && i < 6;
    if (out[i] < 0 || (!inner && out[i] != 0)) return {};
  }
  return out;
}

}  // namespace

void FoldPads(Graph* graph) {
  for (NodeId id = 0; id < graph->num_nodes(); ++id) {
    Node& node = graph->node(id);
    if ((node.op != "Conv2D" && node.op != "DepthwiseConv2dNative") || node.inputs.size() != 2 ||
        node.attrs.String("padding") != "VALID" || node.attrs.String("data_format") != "NHWC") {
      continue;
    }
    const Node& pad = graph->node(node.inputs[0].node);
    std::vector<int64_t> paddings = ZerosAround(*graph, pad);
    if (paddings.empty()) continue;
    node.inputs[0] = pad.inputs[0];
    node.attrs.Set("padding", std::string("EXPLICIT"));
    node.attrs.Set("explicit_paddings", std::move(paddings));
  }
}

}  // namespace savedmodel
