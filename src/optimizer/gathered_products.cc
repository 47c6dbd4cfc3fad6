// Products of embeddings with constant weights: a row of the table has the same product wherever it
// is picked, so one op picks products in place of rows.
#include <algorithm>
#include <numeric>

#include "src/kernels/nn/row_products.h"
#include "src/optimizer/patterns.h"

namespace savedmodel {
namespace {

class GatheredProducts : private PatternPass {
 public:
  GatheredProducts(OptimizeContext* context, Graph* graph) : PatternPass(context, graph) {}

  Status Run() {
    return ReplaceEach([&](NodeId id, const std::string& op) {
      if (op == "MatMul" || op == "BatchMatMulV2") ReplaceProduct(id);
      if (op == "Conv2D") ReplaceConv(id);
      if (op == "Squeeze") Rejoin(id);
    });
  }

 private:
  // Rows of a table that indices pick.
  struct Rows {
    NodeOutput table, indices;
  };

  // The rows along the last dimension of `v` where they are picked from a constant table and put in
  // another order at most: `indices` have the shape of `v` without the last dimension.
  std::optional<Rows> RowsOf(NodeOutput v, int64_t depth) {
    std::vector<NodeOutput> moved;  // what gives the rows another order, the last first
    constexpr size_t kMostMoves = 8;
    while (Depth(v) == depth && moved.size() < kMostMoves) {
      if (const Node* gather = AsGatheredRows(v)) {
        const Tensor* table = Constant(gather->inputs[0]);
        if (table == nullptr || table->shape().rank() != 2) return {};
        Rows rows{gather->inputs[0], gather->inputs[1]};
        for (; !moved.empty(); moved.pop_back()) {
          rows.indices = Move(moved.back(), rows.indices);
          if (rows.indices.node < 0) return {};
        }
        return rows;
      }
      const Node& node = graph_->node(v.node);
      if (node.inputs.empty() || !node.control_inputs.empty()) return {};
      moved.push_back(v);
      v = node.inputs[0];
    }
    return {};
  }

  int64_t Depth(NodeOutput v) const {
    const Shape shape = graph_->shape(v);
    return shape.rank() < 1 ? -1 : shape[shape.rank() - 1];
  }
  static Shape WithoutLast(const Shape& shape) {
    std::vector<int64_t> dims = shape.ToVector();
    dims.pop_back();
    return Shape(dims);
  }

  // Indices moved as `v`, which keeps its last dimension, moves the rows of its input; none where
  // it does something else.
  NodeOutput Move(NodeOutput v, NodeOutput indices) {
    const Node& node = graph_->node(v.node);
    const Shape shape = WithoutLast(graph_->shape(v));
    if (node.op == "Reshape" || node.op == "ExpandDims" || node.op == "Squeeze") {
      return Reshaped(indices, shape);
    }
    const std::vector<int> permutation = PermutationOf(*graph_, node);
    if (!permutation.empty() && permutation.back() == shape.rank()) {
      const std::vector<int32_t> rest(permutation.begin(), permutation.end() - 1);
      return AddMove("Transpose", indices, Tensor::Vector(rest), shape);
    }
    const Tensor* axes = node.op == "ReverseV2" ? Constant(node.inputs[1]) : nullptr;
    if (axes == nullptr) return {};
    std::vector<int32_t> rest;
    for (int64_t i = 0; i < axes->num_elements(); ++i) {
      const int64_t axis = IntegerAt(*axes, i);
      rest.push_back(static_cast<int32_t>(axis < 0 ? axis + shape.rank() + 1 : axis));
      if (rest.back() == shape.rank()) return {};
    }
    return AddMove("ReverseV2", indices, Tensor::Vector(rest), shape);
  }

  // `v` with another shape; none where that leaves too much open.
  NodeOutput Reshaped(NodeOutput v, const Shape& shape) {
    if (const Node* reshape = As(v, "Reshape", 2)) v = reshape->inputs[0];
    if (graph_->shape(v) == shape) return v;
    const std::vector<int64_t> dims = shape.ToVector();
    const auto open = std::count(dims.begin(), dims.end(), -1);
    if (open > 1 || (open == 1 && std::count(dims.begin(), dims.end(), 0) > 0)) return {};
    return AddMove("Reshape", v, Tensor::Vector(dims), shape);
  }

  NodeOutput AddMove(const char* op, NodeOutput v, const Tensor& how, const Shape& shape) {
    const NodeOutput constant{graph_->AddConst(graph_->node(v.node).name + "/how", how), 0};
    const DType dtype = graph_->type(v);
    const NodeOutput moved = Make(v.node, op, {v, constant});
    Node& node = graph_->node(moved.node);
    node.control_inputs.clear();
    node.output_types = {dtype};
    node.output_shapes = {shape};
    return moved;
  }

  // Whether to keep products with the rows of a table: each is used more than once, then, and is
  // quicker read than computed.
  bool Pays(NodeOutput table, int64_t depth, int64_t columns) const {
    constexpr int64_t kLeastDepth = 16;
    return depth >= kLeastDepth && columns > 0 &&
           KeptProducts(graph_->shape(table)[0], columns) > 0;
  }

  void ReplaceProduct(NodeId id) {
    const Node* node = As({id, 0}, graph_->node(id).op, 2);
    if (node == nullptr || Constant(node->inputs[1]) == nullptr) return;
    const NodeOutput weights = node->inputs[1];
    const Shape shape = graph_->shape(weights);
    const auto says = [&](const char* attr) { return node->attrs.Bool(attr); };
    if (shape.rank() != 2 || says("transpose_a") || says("transpose_b") || says("adj_x") ||
        says("adj_y")) {
      return;
    }
    const std::optional<Rows> rows = RowsOf(node->inputs[0], shape[0]);
    if (!rows || !Pays(rows->table, shape[0], shape[1])) return;
    Attrs attrs;
    SetTaps(1, 1, 0, 0, &attrs);
    attrs.Set("Tindices", graph_->type(rows->indices));
    Redirect(id, Make(id, "_GatheredProduct", {rows->table, rows->indices, weights}, attrs));
  }

  static void SetTaps(int64_t stride, int64_t dilation, int64_t before, int64_t after,
                      Attrs* attrs) {
    attrs->Set("stride", stride);
    attrs->Set("dilation", dilation);
    attrs->Set("before", before);
    attrs->Set("after", after);
  }

  // A convolution along one dimension, the other being of one row: over the channels of rows of an
  // embedding, or over images of one channel as wide as the embedding and the filter.
  void ReplaceConv(NodeId id) {
    const Node* node = As({id, 0}, "Conv2D", 2);
    if (node == nullptr || Constant(node->inputs[1]) == nullptr ||
        node->attrs.String("data_format") != "NHWC") {
      return;
    }
    const Tensor filter = *Constant(node->inputs[1]);
    const Shape x = graph_->shape(node->inputs[0]), window = filter.shape();
    const Shape y = graph_->shape({id, 0});
    if (x.rank() != 4 || y.rank() != 4 || window.rank() != 4) return;
    const bool flat = x[3] == 1 && x[2] > 1 && x[2] == window[1] && window[2] == 1 &&
                      node->attrs.String("padding") != "SAME";
    const int line = flat || (x[2] == 1 && window[1] == 1) ? 1 : 2;
    if (!flat && (x[3 - line] != 1 || window[2 - line] != 1 || x[3] != window[2])) return;
    const int64_t depth = flat ? x[2] : x[3], columns = window[3];
    Attrs attrs;
    if (!ReadTaps(*node, line, window[line - 1], &attrs)) return;
    const std::string name = node->name;
    NodeOutput embedded = node->inputs[0];
    if (flat) {
      const Node& widened = graph_->node(embedded.node);
      const bool only_widens =
          (widened.op == "ExpandDims" || widened.op == "Reshape") && widened.control_inputs.empty();
      if (!only_widens) return;
      embedded = widened.inputs[0];
    }
    const std::optional<Rows> rows = RowsOf(embedded, depth);
    if (!rows || !Pays(rows->table, depth, window[line - 1] * columns)) return;
    const NodeOutput lines = Reshaped(rows->indices, Shape({x[0], x[line]}));
    if (lines.node < 0) return;
    const Tensor taps = filter.WithShape(Shape({window[line - 1], depth, columns}));
    const NodeOutput weights{graph_->AddConst(name + "/taps", taps), 0};
    attrs.Set("Tindices", graph_->type(lines));
    const NodeOutput made =
        Make(id, "_GatheredProduct", {rows->table, lines, weights}, std::move(attrs));
    graph_->node(made.node).output_shapes = {Shape({y[0], y[line], columns})};
    const NodeOutput shaped = Reshaped(made, y);
    if (shaped.node >= 0) Redirect(id, shaped);
  }

  // A convolution of lines that had to be images: back to lines.
  void Rejoin(NodeId id) {
    const Node* squeeze = As({id, 0}, "Squeeze", 1);
    const Node* reshape = squeeze == nullptr ? nullptr : As(squeeze->inputs[0], "Reshape", 2);
    if (reshape != nullptr && graph_->shape(reshape->inputs[0]) == graph_->shape({id, 0})) {
      Redirect(id, reshape->inputs[0]);
    }
  }

  // Strides, dilations and padding along dimension `line` of a convolution's input.
  static bool ReadTaps(const Node& conv, int line, int64_t taps, Attrs* attrs) {
    const std::vector<int64_t>&strides = conv.attrs.Ints("strides"),
          &dilations = conv.attrs.Ints("dilations"),
          &paddings = conv.attrs.Ints("explicit_paddings");
    if (strides.size() != 4 || (!dilations.empty() && dilations.size() != 4)) return false;
    const int64_t stride = strides[line], dilation = dilations.empty() ? 1 : dilations[line];
    int64_t before = 0, after = 0;
    const std::string& padding = conv.attrs.String("padding");
    if (padding == "EXPLICIT") {
      if (paddings.size() != 8) return false;
      before = paddings[2 * line];
      after = paddings[2 * line + 1];
      if (std::accumulate(paddings.begin(), paddings.end(), int64_t{0}) != before + after) {
        return false;
      }
    } else if (padding == "SAME") {
      if (stride != 1) return false;
      before = (taps - 1) * dilation / 2;
      after = (taps - 1) * dilation - before;
    }
    SetTaps(stride, dilation, before, after, attrs);
    return std::max({stride, dilation, before, after, taps}) <= kMostTaps;
  }
};

// Whether the largest of several values is still the largest behind the steps, which have nothing
// but constants for each column: so that it may be found before.
bool KeepOrder(const Graph& graph, const Node& node, int64_t columns) {
  return std::all_of(node.epilogue.begin(), node.epilogue.end(), [&](const EpilogueStep& step) {
    if (step.op == ScalarOp::kRelu || step.op == ScalarOp::kRelu6) return true;
    const Tensor* operand = step.operand < 0 ? nullptr : graph.constant(node.inputs[step.operand]);
    return step.op == ScalarOp::kAdd && operand != nullptr &&
           (operand->num_elements() == 1 || operand->num_elements() == columns);
  });
}

}  // namespace

Status KeepGatheredProducts(OptimizeContext* context, Graph* graph) {
  return GatheredProducts(context, graph).Run();
}

void TakeLargestOfLines(Graph* graph) {
  const std::vector<int> uses = CountUses(*graph);
  Redirects redirects;
  for (NodeId id = 0; id < graph->num_nodes(); ++id) {
    const Node& max = graph->node(id);
    if (max.op != "Max" || !max.control_inputs.empty() || max.attrs.Bool("keep_dims")) continue;
    const NodeOutput v = max.inputs[0];
    Node& product = graph->node(v.node);
    const Shape shape = graph->shape(v);
    if (product.op != "_GatheredProduct" || uses[v.node] != 1 || shape.rank() < 2 ||
        !IsAxis(graph->constant(max.inputs[1]), shape.rank() - 2, shape.rank()) ||
        !KeepOrder(*graph, product, shape[shape.rank() - 1])) {
      continue;
    }
    product.attrs.Set("largest", true);
    product.output_shapes = max.output_shapes;
    redirects.Set({id, 0}, v);
    redirects.SetControl(id, v.node);
  }
  redirects.Apply(graph);
}

}  // namespace savedmodel
