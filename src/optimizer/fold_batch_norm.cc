// Batch normalisation behind a convolution folded into the convolution's weights and a bias.
//
//   y = (conv(x, w) + bias - mean) * a + offset,  a = scale / sqrt(variance + epsilon)
//     = conv(x, w * a) + ((bias - mean) * a + offset)
#include <cmath>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

class BatchNormFolder {
 public:
  BatchNormFolder(OptimizeContext* context, Graph* graph)
      : context_(context), graph_(graph), uses_(graph->num_nodes(), 0), secondary_(uses_) {
    for (const Node& node : graph->nodes()) {
      for (const NodeOutput& v : node.inputs) CountUse(v);
      for (NodeId c : node.control_inputs) ++uses_[c];
    }
    for (const NodeOutput& v : graph->results) CountUse(v);
    for (NodeId id : graph->targets) ++uses_[id];
  }

  Status Run() {
    const int count = graph_->num_nodes();
    for (NodeId id = 0; id < count; ++id) {
      if (IsBatchNorm(id)) SM_RETURN_IF_ERROR(Fold(id));
    }
    return Status();
  }

 private:
  void CountUse(NodeOutput v) {
    ++uses_[v.node];
    if (v.index > 0) ++secondary_[v.node];
  }

  const float* Floats(NodeOutput v, int64_t count) const {
    const Tensor* t = graph_->constant(v);
    return t != nullptr && t->num_elements() == count ? t->data<float>() : nullptr;
  }

  bool IsBatchNorm(NodeId id) const {
    const Node& node = graph_->node(id);
    return (node.op == "FusedBatchNorm" || node.op == "FusedBatchNormV2" ||
            node.op == "FusedBatchNormV3") &&
           !node.attrs.Bool("is_training") && node.attrs.String("data_format") == "NHWC" &&
           node.output_types[0] == DType::kFloat && secondary_[id] == 0 &&
           node.control_inputs.empty() && node.inputs.size() == 5;
  }

  bool IsFoldableConvolution(NodeId id) const {
    const Node& node = graph_->node(id);
    return (node.op == "Conv2D" || node.op == "DepthwiseConv2dNative") && uses_[id] == 1 &&
           node.attrs.String("data_format") == "NHWC" && node.output_types[0] == DType::kFloat &&
           graph_->constant(node.inputs[1]) != nullptr;
  }

  Status Fold(NodeId id) {
    NodeId convolution = graph_->node(id).inputs[0].node;
    const float* bias = nullptr;
    NodeOutput bias_value;
    const Node& producer = graph_->node(convolution);
    if (producer.op == "BiasAdd" && uses_[convolution] == 1 &&
        producer.attrs.String("data_format") == "NHWC") {
      bias_value = producer.inputs[1];
      convolution = producer.inputs[0].node;
    }
    if (!IsFoldableConvolution(convolution)) return Status();
    const Tensor filter = *graph_->constant(graph_->node(convolution).inputs[1]);
    if (filter.shape().rank() != 4) return Status();
    const bool depthwise = graph_->node(convolution).op == "DepthwiseConv2dNative";
    const int64_t channels = filter.shape().Product(depthwise ? 2 : 3, 4);
    if (bias_value.node >= 0) {
      bias = Floats(bias_value, channels);
      if (bias == nullptr) return Status();
    }
    const Node& norm = graph_->node(id);
    const float* scale = Floats(norm.inputs[1], channels);
    const float* offset = Floats(norm.inputs[2], channels);
    const float* mean = Floats(norm.inputs[3], channels);
    const float* variance = Floats(norm.inputs[4], channels);
    if (!scale || !offset || !mean || !variance || channels == 0) return Status();

    const float epsilon = norm.attrs.Float("epsilon");
    std::vector<double> factor(channels);
    std::vector<float> shift(channels);
    for (int64_t c = 0; c < channels; ++c) {
      factor[c] = scale[c] / std::sqrt(static_cast<double>(variance[c]) + epsilon);
      const double from = (bias != nullptr ? bias[c] : 0.0) - mean[c];
      shift[c] = static_cast<float>(from * factor[c] + offset[c]);
    }
    SM_ASSIGN_OR_RETURN(Tensor scaled, Tensor::Allocate(DType::kFloat, filter.shape()));
    const float* from = filter.data<float>();
    float* to = static_cast<float*>(scaled.raw_mutable_data());
    for (int64_t i = 0, n = filter.num_elements(); i < n; i += channels) {
      for (int64_t c = 0; c < channels; ++c) {
        to[i + c] = static_cast<float>(from[i + c] * factor[c]);
      }
    }
    const std::string name = norm.name;
    const NodeId filter_id = graph_->AddConst(name + "/filter", std::move(scaled));
    const NodeId shift_id = graph_->AddConst(name + "/bias", Tensor::Vector(shift));
    graph_->node(convolution).inputs[1] = {filter_id, 0};
    MakeBiasAdd(id, {convolution, 0}, {shift_id, 0});
    return Status();
  }

  void MakeBiasAdd(NodeId id, NodeOutput value, NodeOutput bias) {
    Node& node = graph_->node(id);
    node.op = "BiasAdd";
    node.registered = context_->env.registry->Find(node.op);
    node.inputs = {value, bias};
    node.output_types.resize(1);
    if (!node.output_shapes.empty()) node.output_shapes.resize(1);
    node.output_is_ref.clear();
    Attrs attrs;
    attrs.Set("T", DType::kFloat);
    attrs.Set("data_format", std::string("NHWC"));
    node.attrs = std::move(attrs);
  }

  OptimizeContext* context_;
  Graph* graph_;
  std::vector<int> uses_;
  std::vector<int> secondary_;  // uses of outputs other than 0
};

}  // namespace

Status FoldBatchNorms(OptimizeContext* context, Graph* graph) {
  return BatchNormFolder(context, graph).Run();
}

}  // namespace savedmodel
