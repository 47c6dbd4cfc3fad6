// Dilated convolutions as TensorFlow 1 and Keras 2 write them, one op again: SpaceToBatchND makes
// an image of every n-th row and column, a convolution goes over these, and BatchToSpaceND puts
// what it gives together. An ExpandDims and a Squeeze may lie around the convolution, which then
// has one dimension, and a BiasAdd behind it.
//
//   y[i] = sum over k of w[k] * x[i + crop - padding + k * block]
#include <algorithm>
#include <optional>
#include <vector>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// Of the dimensions behind the batch, as a SpaceToBatchND or BatchToSpaceND has them.
struct Blocks {
  std::vector<int64_t> sizes;
  std::vector<int64_t> border;  // paddings or crops, before and after each dimension
};

class DilationJoiner {
 public:
  explicit DilationJoiner(Graph* graph) : graph_(graph), uses_(CountUses(*graph)) {}

  void Run() {
    for (NodeId id = 0; id < graph_->num_nodes(); ++id) {
      if (graph_->node(id).op == "BatchToSpaceND") Join(id);
    }
    redirects_.Apply(graph_);
  }

 private:
  std::optional<Blocks> BlocksOf(const Node& node) const {
    if (!node.control_inputs.empty() || node.inputs.size() != 3) return {};
    const Tensor* sizes = graph_->constant(node.inputs[1]);
    const Tensor* border = graph_->constant(node.inputs[2]);
    if (sizes == nullptr || border == nullptr ||
        border->num_elements() != 2 * sizes->num_elements()) {
      return {};
    }
    Blocks blocks;
    for (int64_t i = 0; i < sizes->num_elements(); ++i) {
      blocks.sizes.push_back(IntegerAt(*sizes, i));
      if (blocks.sizes.back() < 1) return {};
    }
    for (int64_t i = 0; i < border->num_elements(); ++i) {
      blocks.border.push_back(IntegerAt(*border, i));
      if (blocks.border.back() < 0 || blocks.border.back() > INT32_MAX) return {};
    }
    return blocks;
  }

  // The node of `v`, which nothing else uses and which waits for nothing.
  bool IsPart(NodeOutput v) const {
    return uses_[v.node] == 1 && graph_->node(v.node).control_inputs.empty();
  }
  bool IsConvolution(const Node& node) const {
    const auto is_one = [](int64_t n) { return n == 1; };
    const auto are_ones = [&](const std::vector<int64_t>& list) {
      return list.size() == 4 && std::all_of(list.begin(), list.end(), is_one);
    };
    return (node.op == "Conv2D" || node.op == "DepthwiseConv2dNative") && node.inputs.size() == 2 &&
           node.epilogue.empty() && node.attrs.String("padding") == "VALID" &&
           node.attrs.String("data_format") == "NHWC" && are_ones(node.attrs.Ints("strides")) &&
           are_ones(node.attrs.Ints("dilations")) && graph_->shape(node.inputs[1]).rank() == 4;
  }

  void Join(NodeId last) {
    const std::optional<Blocks> crops = BlocksOf(graph_->node(last));
    if (!crops) return;
    // From the last op to the first.
    std::vector<NodeId> behind;
    NodeOutput v = graph_->node(last).inputs[0];
    bool squeezed = false;
    for (; IsPart(v) && !IsConvolution(graph_->node(v.node)); v = graph_->node(v.node).inputs[0]) {
      const Node& node = graph_->node(v.node);
      if (node.op == "Squeeze" && !squeezed) {
        const std::vector<int64_t>& dims = node.attrs.Ints("squeeze_dims");
        if (dims.size() != 1 || (dims[0] != 1 && dims[0] != -3)) return;
        squeezed = true;
      } else if (node.op != "BiasAdd" || node.attrs.String("data_format") != "NHWC") {
        return;
      }
      behind.push_back(v.node);
    }
    if (!IsPart(v)) return;
    const NodeId conv = v.node;
    v = graph_->node(conv).inputs[0];
    NodeId expand = -1;
    if (squeezed) {
      const Node& node = graph_->node(v.node);
      if (node.op != "ExpandDims" || !IsPart(v)) return;
      if (!IsAxis(graph_->constant(node.inputs[1]), 1, 4)) return;
      expand = v.node;
      v = node.inputs[0];
    }
    const Node& first = graph_->node(v.node);
    if (first.op != "SpaceToBatchND") return;
    const std::optional<Blocks> paddings = BlocksOf(first);
    if (!paddings || paddings->sizes != crops->sizes) return;
    Shape out = graph_->shape(first.inputs[0]);
    if (out.rank() != (squeezed ? 3 : 4)) return;
    if (squeezed) out = out.WithInserted(1, 1);
    const Shape image = out;
    Attrs attrs = graph_->node(conv).attrs;
    if (!Dilate(*paddings, *crops, graph_->shape(graph_->node(conv).inputs[1]), squeezed ? 2 : 1,
                &attrs, &out)) {
      return;
    }
    Node& convolution = graph_->node(conv);
    out = out.WithDim(3, graph_->shape({conv, 0}).rank() == 4 ? graph_->shape({conv, 0})[3] : -1);
    convolution.attrs = std::move(attrs);
    convolution.output_shapes = {out};
    if (expand >= 0) {
      graph_->node(expand).inputs[0] = first.inputs[0];
      graph_->node(expand).output_shapes = {image};
    } else {
      convolution.inputs[0] = first.inputs[0];
    }
    for (auto id = behind.rbegin(); id != behind.rend(); ++id) {
      if (graph_->node(*id).op == "Squeeze") out = out.WithRemoved(1);
      graph_->node(*id).output_shapes = {out};
    }
    redirects_.Set({last, 0}, graph_->node(last).inputs[0]);
    redirects_.SetControl(last, graph_->node(last).inputs[0].node);
  }

  // What makes a convolution with `window` of an image of `shape` one with dilations; `shape`
  // becomes that of the result. False where the ops would fail, or crop more than they pad.
  // Dimension `first` of the image is the first with blocks.
  static bool Dilate(const Blocks& paddings, const Blocks& crops, const Shape& window, int first,
                     Attrs* attrs, Shape* shape) {
    std::vector<int64_t> dilations(4, 1), around(8, 0);
    const int end = first + static_cast<int>(paddings.sizes.size());
    if (end > 3) return false;
    for (int d = 1; d < 3; ++d) {
      const size_t at = static_cast<size_t>(d);
      const bool has_blocks = d >= first && d < end;
      const int64_t size = (*shape)[d], taps = window[d - 1];
      if (!has_blocks && size < 0) continue;
      if (size < 0 || taps < 1) return false;
      if (has_blocks) {
        const size_t i = static_cast<size_t>(d - first);
        const int64_t before = paddings.border[2 * i], after = paddings.border[2 * i + 1];
        dilations[at] = paddings.sizes[i];
        if ((size + before + after) % dilations[at] != 0) return false;
        around[2 * at] = before - crops.border[2 * i];
        around[2 * at + 1] = after - crops.border[2 * i + 1];
        if (around[2 * at] < 0 || around[2 * at + 1] < 0) return false;
      }
      const int64_t padded = size + around[2 * at] + around[2 * at + 1];
      if (padded <= (taps - 1) * dilations[at]) return false;
      *shape = shape->WithDim(d, padded - (taps - 1) * dilations[at]);
    }
    attrs->Set("dilations", std::move(dilations));
    if (std::any_of(around.begin(), around.end(), [](int64_t n) { return n > 0; })) {
      attrs->Set("padding", std::string("EXPLICIT"));
      attrs->Set("explicit_paddings", std::move(around));
    }
    return true;
  }

  Graph* graph_;
  std::vector<int> uses_;
  Redirects redirects_;
};

}  // namespace

void JoinDilatedConvolutions(Graph* graph) { DilationJoiner(graph).Run(); }

}  // namespace savedmodel
