// A convolution with as many groups as channels is a depthwise one: Keras writes some that way.
#include "src/optimizer/optimizer.h"

namespace savedmodel {

void NameDepthwise(const OptimizeContext& context, Graph* graph) {
  for (NodeId id = 0; id < graph->num_nodes(); ++id) {
    const Node& conv = graph->node(id);
    const Tensor* filter =
        conv.op != "Conv2D" || conv.inputs.size() != 2 ? nullptr : graph->constant(conv.inputs[1]);
    if (filter == nullptr || filter->shape().rank() != 4 || filter->dtype() == DType::kInt32) {
      continue;
    }
    const Shape x = graph->shape(conv.inputs[0]), window = filter->shape();
    const std::vector<int64_t>& strides = conv.attrs.Ints("strides");
    const bool first = conv.attrs.String("data_format") == "NCHW";
    if (x.rank() != 4 || strides.size() != 4 || strides[first ? 2 : 1] != strides[first ? 3 : 2]) {
      continue;
    }
    const int64_t channels = x[first ? 1 : 3];
    if (channels < 2 || window[2] != 1 || window.num_elements() == 0 || window[3] % channels != 0) {
      continue;
    }
    const Tensor by_channel =
        filter->WithShape(Shape({window[0], window[1], channels, window[3] / channels}));
    const NodeId constant = graph->AddConst(conv.name + "/filter", by_channel);
    Node& node = graph->node(id);
    node.op = "DepthwiseConv2dNative";
    node.registered = context.env.registry->Find(node.op);
    node.inputs[1] = {constant, 0};
  }
}

}  // namespace savedmodel
