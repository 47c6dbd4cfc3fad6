// Batch normalisation behind a convolution, one op or a product and a sum with constants, folded
// into the convolution's weights and a bias.
//
//   y = (conv(x, w) + bias - mean) * a + offset,  a = scale / sqrt(variance + epsilon)
//     = conv(x, w * a) + ((bias - mean) * a + offset)
//
// Elsewhere it becomes (x - mean) * a + offset, three scalar ops, which other passes fuse.
#include <algorithm>
#include <cmath>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
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
      if (IsScaleAndShift(id) || (IsBatchNorm(id) && IsChannelsLast(id))) {
        SM_RETURN_IF_ERROR(Fold(id));
      }
      if (IsBatchNorm(id)) SM_RETURN_IF_ERROR(MakeScalarOps(id));
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
           !node.attrs.Bool("is_training") && node.output_types[0] == DType::kFloat &&
           secondary_[id] == 0 && node.control_inputs.empty() && node.inputs.size() == 5;
  }

  bool IsChannelsLast(NodeId id) const {
    return graph_->node(id).attrs.String("data_format") == "NHWC";
  }

  // Which input of binary node `id` is one constant for each channel; -1 where none is.
  int ChannelInput(NodeId id) const {
    const Node& node = graph_->node(id);
    if (node.output_types[0] != DType::kFloat || !node.control_inputs.empty()) return -1;
    for (int i = 0; i < 2; ++i) {
      const Tensor* t = graph_->constant(node.inputs[i]);
      if (t == nullptr || t->shape().rank() == 0 || t->shape().rank() > 4) continue;
      if (t->shape()[t->shape().rank() - 1] == t->num_elements()) return i;
    }
    return -1;
  }

  // x * a + offset with constants for each channel.
  bool IsScaleAndShift(NodeId id) const {
    const Node& node = graph_->node(id);
    if ((node.op != "Add" && node.op != "AddV2") || ChannelInput(id) < 0) return false;
    const NodeId product = node.inputs[1 - ChannelInput(id)].node;
    return graph_->node(product).op == "Mul" && uses_[product] == 1 && ChannelInput(product) >= 0;
  }

  // What a batch normalisation does to its input: x * factor + shift for each channel. False where
  // it is not constant.
  bool ReadNorm(NodeId id, int64_t channels, std::vector<double>* factor,
                std::vector<double>* shift) const {
    const Node& node = graph_->node(id);
    const bool is_op = IsBatchNorm(id);
    const NodeId product = is_op ? id : node.inputs[1 - ChannelInput(id)].node;
    const float* scale = Floats(
        is_op ? node.inputs[1] : graph_->node(product).inputs[ChannelInput(product)], channels);
    const float* offset = Floats(node.inputs[is_op ? 2 : ChannelInput(id)], channels);
    const float* mean = is_op ? Floats(node.inputs[3], channels) : nullptr;
    const float* variance = is_op ? Floats(node.inputs[4], channels) : nullptr;
    if (!scale || !offset || (is_op && (!mean || !variance)) || channels == 0) return false;
    for (int64_t c = 0; c < channels; ++c) {
      double a = scale[c];
      if (is_op) a /= std::sqrt(static_cast<double>(variance[c]) + node.attrs.Float("epsilon"));
      factor->push_back(a);
      shift->push_back(offset[c] - (is_op ? mean[c] * a : 0.0));
    }
    return true;
  }

  bool IsFoldableConvolution(NodeId id) const {
    const Node& node = graph_->node(id);
    return (node.op == "Conv2D" || node.op == "DepthwiseConv2dNative") && uses_[id] == 1 &&
           node.attrs.String("data_format") == "NHWC" && node.output_types[0] == DType::kFloat &&
           graph_->constant(node.inputs[1]) != nullptr;
  }

  // What lies between a convolution and its batch normalisation.
  struct Between {
    NodeOutput convolution;
    NodeOutput bias, biased;  // none where there is no bias
    NodeId above_bias = -1;   // what takes the biased value, where it gives it another shape
  };

  // Whether `node` gives its input another shape with the same last dimension.
  bool KeepsColumns(const Node& node) const {
    if (node.op != "Squeeze" && node.op != "ExpandDims" && node.op != "Reshape") return false;
    const Shape from = graph_->shape(node.inputs[0]);
    const Shape to = node.output_shapes.empty() ? Shape() : node.output_shapes[0];
    return from.rank() > 0 && to.rank() > 0 && to[to.rank() - 1] >= 0 &&
           from[from.rank() - 1] == to[to.rank() - 1];
  }

  // The input of node `id` that it adds a constant for each channel to; -1 where it does not.
  int BiasedInput(NodeId id) const {
    const Node& node = graph_->node(id);
    if (node.op == "BiasAdd") return node.attrs.String("data_format") == "NHWC" ? 0 : -1;
    if ((node.op != "Add" && node.op != "AddV2") || ChannelInput(id) < 0) return -1;
    const int value = 1 - ChannelInput(id);
    return graph_->shape(node.inputs[value]).rank() == graph_->shape({id, 0}).rank() ? value : -1;
  }

  Between Below(NodeOutput v) const {
    Between b;
    NodeId above = -1;
    while (uses_[v.node] == 1 && graph_->node(v.node).control_inputs.empty()) {
      const Node& node = graph_->node(v.node);
      const int biased = BiasedInput(v.node);
      if (biased >= 0 && b.biased.node < 0) {
        b.bias = node.inputs[1 - biased];
        b.biased = node.inputs[biased];
        b.above_bias = above;
      } else if (!KeepsColumns(node)) {
        break;
      }
      above = v.node;
      v = node.inputs[std::max(biased, 0)];
    }
    b.convolution = v;
    return b;
  }

  Status Fold(NodeId id) {
    const NodeId last = IsBatchNorm(id) ? id : graph_->node(id).inputs[1 - ChannelInput(id)].node;
    const NodeOutput x = graph_->node(last).inputs[last == id ? 0 : 1 - ChannelInput(last)];
    const Between between = Below(x);
    const NodeId convolution = between.convolution.node;
    if (!IsFoldableConvolution(convolution)) return Status();
    const Tensor filter = *graph_->constant(graph_->node(convolution).inputs[1]);
    if (filter.shape().rank() != 4) return Status();
    const bool depthwise = graph_->node(convolution).op == "DepthwiseConv2dNative";
    const int64_t channels = filter.shape().Product(depthwise ? 2 : 3, 4);
    const float* bias = nullptr;
    if (between.bias.node >= 0) {
      bias = Floats(between.bias, channels);
      if (bias == nullptr) return Status();
    }
    std::vector<double> factor, offset;
    if (!ReadNorm(id, channels, &factor, &offset)) return Status();
    std::vector<float> shift(channels);
    for (int64_t c = 0; c < channels; ++c) {
      shift[c] = static_cast<float>((bias != nullptr ? bias[c] * factor[c] : 0.0) + offset[c]);
    }
    const std::string name = graph_->node(id).name;
    const NodeId shift_id = graph_->AddConst(name + "/bias", Tensor::Vector(shift));
    if (depthwise) {
      SM_RETURN_IF_ERROR(ScaleFilter(name, convolution, filter, factor));
    } else {
      LeaveScale(name, convolution, factor);
    }
    // The bias takes part in the shift, and drops out.
    NodeOutput unbiased = x;
    if (between.biased.node >= 0) {
      (between.above_bias < 0 ? unbiased : graph_->node(between.above_bias).inputs[0]) =
          between.biased;
    }
    MakeBinary(id, "BiasAdd", unbiased, {shift_id, 0});
    graph_->node(id).attrs.Set("data_format", std::string("NHWC"));
    return Status();
  }

  // A batch normalisation with constant statistics as scalar ops.
  Status MakeScalarOps(NodeId id) {
    const Node& norm = graph_->node(id);
    const Tensor* mean = graph_->constant(norm.inputs[3]);
    const std::string format = norm.attrs.String("data_format");
    if (mean == nullptr || (format != "NHWC" && format != "NCHW")) return Status();
    const int64_t channels = mean->num_elements();
    std::vector<double> factor, shift;
    if (!ReadNorm(id, channels, &factor, &shift)) return Status();
    const std::vector<float> scale(factor.begin(), factor.end());
    const Shape shape = format == "NHWC" ? Shape({channels}) : Shape({channels, 1, 1});
    const std::string name = norm.name;
    const NodeOutput x = norm.inputs[0];
    const auto constant = [&](const char* what, const float* data) -> StatusOr<NodeOutput> {
      SM_ASSIGN_OR_RETURN(Tensor value,
                          Tensor::FromVector(std::vector<float>(data, data + channels), shape));
      return NodeOutput{graph_->AddConst(name + what, std::move(value)), 0};
    };
    const float* offsets = graph_->constant(norm.inputs[2])->data<float>();
    SM_ASSIGN_OR_RETURN(const NodeOutput centre, constant("/mean", mean->data<float>()));
    SM_ASSIGN_OR_RETURN(const NodeOutput product, constant("/scale", scale.data()));
    SM_ASSIGN_OR_RETURN(const NodeOutput offset, constant("/offset", offsets));
    const NodeOutput centred = AddBinary(id, "Sub", x, centre);
    MakeBinary(id, "AddV2", AddBinary(id, "Mul", centred, product), offset);
    return Status();
  }

  // A new node of a binary op whose output is like that of node `id`.
  NodeOutput AddBinary(NodeId id, const std::string& op, NodeOutput x, NodeOutput y) {
    Node node;
    node.name = StrCat(graph_->node(id).name, "/", op);
    node.op = op;
    node.registered = context_->env.registry->Find(op);
    node.inputs = {x, y};
    node.attrs.Set("T", DType::kFloat);
    node.output_types = {DType::kFloat};
    if (!graph_->node(id).output_shapes.empty()) node.output_shapes = {graph_->shape({id, 0})};
    return {graph_->AddNode(std::move(node)), 0};
  }

  // Makes node `id`, of which output 0 is used, a binary op.
  void MakeBinary(NodeId id, const std::string& op, NodeOutput x, NodeOutput y) {
    Node& node = graph_->node(id);
    node.op = op;
    node.registered = context_->env.registry->Find(op);
    node.inputs = {x, y};
    node.output_types.resize(1);
    if (!node.output_shapes.empty()) node.output_shapes.resize(1);
    node.output_is_ref.clear();
    node.attrs = Attrs();
    node.attrs.Set("T", DType::kFloat);
  }

  // Small filters are replaced by scaled ones.
  Status ScaleFilter(const std::string& name, NodeId convolution, const Tensor& filter,
                     const std::vector<double>& factor) {
    SM_ASSIGN_OR_RETURN(Tensor scaled, Tensor::Allocate(DType::kFloat, filter.shape()));
    const float* from = filter.data<float>();
    float* to = static_cast<float*>(scaled.raw_mutable_data());
    const int64_t channels = static_cast<int64_t>(factor.size());
    for (int64_t i = 0, n = filter.num_elements(); i < n; i += channels) {
      for (int64_t c = 0; c < channels; ++c) {
        to[i + c] = static_cast<float>(from[i + c] * factor[c]);
      }
    }
    const NodeId filter_id = graph_->AddConst(name + "/filter", std::move(scaled));
    graph_->node(convolution).inputs[1] = {filter_id, 0};
    return Status();
  }

  // The others stay as they are, mapped from a file; the kernel scales them when it packs them.
  void LeaveScale(const std::string& name, NodeId convolution, const std::vector<double>& factor) {
    const std::vector<float> scale(factor.begin(), factor.end());
    const NodeId scale_id = graph_->AddConst(name + "/scale", Tensor::Vector(scale));
    Node& node = graph_->node(convolution);
    node.op = "_ScaledConv2D";
    node.registered = context_->env.registry->Find(node.op);
    node.inputs.push_back({scale_id, 0});
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
