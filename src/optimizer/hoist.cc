// Input projections of recurrent layers moved out of their loops.
//
// A body that multiplies item i of a list, which the loop does not change, by a constant does so
// for one row at a time. All items are rows of the tensor that the list was made of, so one product
// before the loop computes all of them; the body then takes item i of a list of the products.
#include <algorithm>
#include <map>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// More than this is not worth holding at a time.
constexpr int64_t kMostBytes = 256 << 20;

bool IsPlain(const Node& node, std::string_view op, size_t inputs) {
  return node.op == op && node.inputs.size() == inputs && node.control_inputs.empty();
}

class Hoister {
 public:
  Hoister(OptimizeContext* context, Graph* graph, NodeId loop)
      : context_(context), graph_(graph), loop_(loop) {}

  // Sets `changed` when there was something to move.
  Status Run(bool* changed) {
    const FuncAttr body = Loop().attrs.Get<FuncAttr>("body");
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> function,
                        context_->library->Get(body));
    if (!MayHold(function->graph)) return Status();
    GraphFunction copy = *function;
    for (size_t i = 0; i < copy.graph.args.size(); ++i) {
      const Shape shape = graph_->shape({loop_, static_cast<int>(i)});
      copy.graph.node(copy.graph.args[i]).output_shapes = {shape};
    }
    SM_RETURN_IF_ERROR(Optimize(context_, &copy.graph));
    *changed = TellRowShapes(&copy.graph);
    for (NodeId id = copy.graph.num_nodes() - 1; id >= 0; --id) SplitProduct(&copy.graph, id);
    JoinProducts(&copy.graph);
    const int count = copy.graph.num_nodes();
    for (NodeId id = 0; id < count; ++id) {
      SM_ASSIGN_OR_RETURN(const bool hoisted, Hoist(&copy.graph, id));
      if (!hoisted) continue;
      copy.inputs.push_back({"", DType::kVariant});
      copy.outputs.push_back({"", DType::kVariant});
      *changed = true;
    }
    if (!*changed) return Status();
    SM_RETURN_IF_ERROR(GiveCondition(copy.inputs.size() - function->inputs.size()));
    FuncAttr renamed;
    copy.name = copy.name.substr(0, copy.name.find('@'));
    renamed.name = context_->library->Add(std::move(copy));
    Loop().attrs.Set("body", std::move(renamed));
    return Status();
  }

  // Tells ops that stack a list, which the body sets an item of in each turn, the items' shape:
  // that the body gives its items, once the shapes of the variables are known.
  Status TellItemShapes() {
    const FuncAttr name = Loop().attrs.Get<FuncAttr>("body");
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> function,
                        context_->library->Get(name));
    Graph body = function->graph;
    for (size_t i = 0; i < body.args.size(); ++i) {
      body.node(body.args[i]).output_shapes = {graph_->shape({loop_, static_cast<int>(i)})};
    }
    SM_RETURN_IF_ERROR(InferAndFold(context_, &body));
    const int count = graph_->num_nodes();
    for (NodeId id = 0; id < count; ++id) {
      const Node& stack = graph_->node(id);
      if (!IsPlain(stack, "TensorListStack", 2) || stack.inputs[0].node != loop_) continue;
      const int list = stack.inputs[0].index;
      const Node& set = body.node(body.results[list].node);
      if (!IsPlain(set, "TensorListSetItem", 3) ||
          set.attrs.Bool("resize_if_index_out_of_bounds") ||
          set.inputs[0] != NodeOutput{body.args[list], 0}) {
        continue;
      }
      const Shape item = body.shape(set.inputs[2]);
      const Node& reserve = graph_->node(Loop().inputs[list].node);
      const Tensor* size =
          IsPlain(reserve, "TensorListReserve", 2) ? graph_->constant(reserve.inputs[1]) : nullptr;
      if (!item.fully_known() || size == nullptr || size->num_elements() != 1) continue;
      std::vector<int32_t> dims(item.begin(), item.end());
      const int32_t* items = size->data<int32_t>();
      const std::string shape_name = stack.name + "/element_shape";
      const NodeId shape = graph_->AddConst(shape_name, Tensor::Vector(dims));
      graph_->node(id).inputs[1] = {shape, 0};
      if (items != nullptr && *items > 0) {
        graph_->node(id).attrs.Set("num_elements", static_cast<int64_t>(*items));
      }
    }
    return Status();
  }

 private:
  Node& Loop() { return graph_->node(loop_); }

  bool MayHold(const Graph& body) {
    const auto has = [&](std::string_view op) {
      return std::any_of(body.nodes().begin(), body.nodes().end(),
                         [&](const Node& n) { return n.op == op; });
    };
    return body.args.size() == Loop().inputs.size() &&
           body.results.size() == Loop().inputs.size() && has("MatMul") && has("TensorListGetItem");
  }

  // The tensor of which argument `arg` of the body is the list in every turn.
  NodeOutput Rows(const Graph& body, NodeOutput arg) {
    const Node& node = body.node(arg.node);
    if (!node.is_arg()) return {};
    const int64_t index = node.attrs.Int("index");
    if (body.results[index] != arg) return {};
    const Node& list = graph_->node(Loop().inputs[index].node);
    return IsPlain(list, "TensorListFromTensor", 2) ? list.inputs[0] : NodeOutput();
  }
  // The same, [items, rows, depth].
  NodeOutput Source(const Graph& body, NodeOutput arg) {
    const NodeOutput rows = Rows(body, arg);
    const Shape shape = rows.node < 0 ? Shape() : graph_->shape(rows);
    return shape.fully_known() && shape.rank() == 3 && shape.num_elements() > 0 ? rows
                                                                                : NodeOutput();
  }

  static bool IsProduct(const Node& node) {
    return IsPlain(node, "MatMul", 2) && node.output_types[0] == DType::kFloat &&
           !node.attrs.Bool("transpose_a") && !node.attrs.Bool("transpose_b");
  }

  // A product of a row of a list, side by side with something else, and a constant becomes the sum
  // of the products of the two: TensorFlow 1's cells multiply the input and the state at once.
  void SplitProduct(Graph* body, NodeId id) {
    const Node product = body->node(id);
    if (!IsProduct(product)) return;
    const Node both = body->node(product.inputs[0].node);
    const Tensor* weights = body->constant(product.inputs[1]);
    if (!IsPlain(both, "ConcatV2", 3) || !IsAxis(body->constant(both.inputs[2]), 1, 2) ||
        weights == nullptr || weights->shape().rank() != 2) {
      return;
    }
    int64_t rows[2], first = 0;
    bool takes_item = false;
    for (int i = 0; i < 2; ++i) {
      const Node& part = body->node(both.inputs[i].node);
      const bool is_item = IsPlain(part, "TensorListGetItem", 3);
      const NodeOutput source = is_item ? Source(*body, part.inputs[0]) : NodeOutput();
      takes_item = takes_item || source.node >= 0;
      const Shape shape = body->shape(both.inputs[i]);
      rows[i] = source.node >= 0 ? graph_->shape(source)[2] : shape.rank() == 2 ? shape[1] : -1;
    }
    if (!takes_item || rows[0] < 0 || rows[1] < 0 || rows[0] + rows[1] != weights->shape()[0]) {
      return;
    }
    Node sum;
    for (int i = 0; i < 2; ++i) {
      Node part = product;
      part.name += StrCat("/part", i);
      const Tensor some = weights->Rows(first, first + rows[i]);
      part.inputs = {both.inputs[i], {body->AddConst(part.name + "/weights", some), 0}};
      sum.inputs.push_back({body->AddNode(std::move(part)), 0});
      weights = body->constant(product.inputs[1]);
      first += rows[i];
    }
    sum.name = product.name;
    sum.op = "AddV2";
    sum.registered = context_->env.registry->Find("AddV2");
    sum.attrs.Set("T", DType::kFloat);
    sum.output_types = product.output_types;
    sum.output_shapes = product.output_shapes;
    body->node(id) = std::move(sum);
  }

  // Products of one row of a list and several constants become parts of one product: some cells
  // multiply gate by gate.
  void JoinProducts(Graph* body) {
    std::map<NodeId, std::vector<NodeId>> products;  // by the node that takes the row
    for (NodeId id = 0; id < body->num_nodes(); ++id) {
      const Node& node = body->node(id);
      const NodeId item = IsProduct(node) ? node.inputs[0].node : -1;
      const Tensor* weights = item < 0 ? nullptr : body->constant(node.inputs[1]);
      const bool fits = weights != nullptr && weights->shape().rank() == 2 &&
                        IsPlain(body->node(item), "TensorListGetItem", 3) &&
                        Source(*body, body->node(item).inputs[0]).node >= 0;
      if (fits) products[item].push_back(id);
    }
    for (const auto& [item, parts] : products) {
      if (parts.size() > 1) JoinProducts(body, parts);
    }
  }
  void JoinProducts(Graph* body, const std::vector<NodeId>& parts) {
    const Node first = body->node(parts[0]);
    std::vector<int64_t> widths;
    int64_t rows = 0, columns = 0;
    for (const NodeId id : parts) {
      const Shape& shape = body->constant(body->node(id).inputs[1])->shape();
      if (id != parts[0] && shape[0] != rows) return;
      rows = shape[0];
      widths.push_back(shape[1]);
      columns += shape[1];
    }
    StatusOr<Tensor> joined = Tensor::Allocate(DType::kFloat, Shape({rows, columns}));
    if (!joined.ok()) return;
    float* to = static_cast<float*>(joined->raw_mutable_data());
    for (int64_t r = 0; r < rows; ++r) {
      for (size_t i = 0; i < parts.size(); ++i) {
        const Tensor& weights = *body->constant(body->node(parts[i]).inputs[1]);
        to = std::copy_n(weights.data<float>() + r * widths[i], widths[i], to);
      }
    }
    Node product = first;
    product.name += "/joined";
    product.inputs[1] = {body->AddConst(product.name + "/weights", *joined), 0};
    product.output_shapes.clear();
    Node split;
    split.name = product.name + "/split";
    split.op = "SplitV";
    split.registered = context_->env.registry->Find("SplitV");
    split.inputs = {{body->AddNode(std::move(product)), 0},
                    {body->AddConst(split.name + "/sizes", Tensor::Vector(widths)), 0},
                    {body->AddConst(split.name + "/axis", Tensor::Scalar<int32_t>(1)), 0}};
    split.attrs.Set("T", DType::kFloat);
    split.attrs.Set("Tlen", DType::kInt64);
    split.attrs.Set("num_split", static_cast<int64_t>(parts.size()));
    split.output_types.assign(parts.size(), DType::kFloat);
    const NodeId made = body->AddNode(std::move(split));
    for (size_t i = 0; i < parts.size(); ++i) {
      MakeIdentity(*context_, body, parts[i], {made, static_cast<int>(i)});
    }
  }

  // Tells ops that take items of a list, which the loop does not change, the shape of the items.
  // True when that was news.
  bool TellRowShapes(Graph* body) {
    bool news = false;
    for (NodeId id = body->num_nodes() - 1; id >= 0; --id) {
      if (!IsPlain(body->node(id), "TensorListGetItem", 3)) continue;
      const NodeOutput rows = Rows(*body, body->node(id).inputs[0]);
      const Shape shape = rows.node < 0 ? Shape::Unknown() : graph_->shape(rows);
      if (!shape.fully_known() || shape.rank() < 1 || body->shape({id, 0}).fully_known()) continue;
      const Shape row = shape.Slice(1, shape.rank());
      const std::vector<int32_t> dims(row.begin(), row.end());
      const NodeId told = body->AddConst(body->node(id).name + "/row", Tensor::Vector(dims));
      body->node(id).inputs[2] = {told, 0};
      news = true;
    }
    return news;
  }

  // Moves the product of the body that node `id` is, if it is one of those.
  StatusOr<bool> Hoist(Graph* body, NodeId id) {
    const Node product = body->node(id);
    if (!IsProduct(product)) return false;
    const Node item = body->node(product.inputs[0].node);
    const Node weights = body->node(product.inputs[1].node);
    if (!IsPlain(item, "TensorListGetItem", 3) || !IsPlain(weights, "Const", 0)) return false;
    const NodeOutput source = Source(*body, item.inputs[0]);
    if (source.node < 0) return false;
    const Shape shape = graph_->shape(source);
    const Tensor matrix = *body->constant(product.inputs[1]);
    if (matrix.shape().rank() != 2 || matrix.shape()[0] != shape[2]) return false;
    const Shape projected({shape[0], shape[1], matrix.shape()[1]});
    if (!projected.fully_known() || projected.num_elements() > kMostBytes / 4) return false;

    const NodeOutput list = Project(item.name, source, shape, matrix, projected);
    Loop().inputs.push_back(list);
    Loop().output_types.push_back(DType::kVariant);
    Loop().output_shapes.push_back(Shape());
    std::vector<DType> types = Loop().attrs.Types("T");
    types.push_back(DType::kVariant);
    Loop().attrs.Set("T", std::move(types));
    Loop().attrs.Set("output_shapes", std::vector<Shape>());

    const NodeId arg = body->AddArg(product.name + "/list", DType::kVariant, Shape());
    body->results.push_back({arg, 0});
    const NodeId row = body->AddConst(product.name + "/shape", RowShape(projected));
    Node& taken = body->node(id);
    taken.op = item.op;
    taken.registered = item.registered;
    taken.attrs = item.attrs;
    taken.inputs = {{arg, 0}, item.inputs[1], {row, 0}};
    return true;
  }

  static Tensor RowShape(const Shape& shape) {
    return Tensor::Vector({static_cast<int32_t>(shape[1]), static_cast<int32_t>(shape[2])});
  }

  NodeOutput AddNode(const std::string& name, const char* op, std::vector<NodeOutput> inputs,
                     const Shape& shape, Attrs attrs, DType dtype = DType::kFloat) {
    Node node;
    node.name = name;
    node.op = op;
    node.registered = context_->env.registry->Find(op);
    node.inputs = std::move(inputs);
    node.output_types = {dtype};
    node.output_shapes = {shape};
    node.attrs = std::move(attrs);
    return {graph_->AddNode(std::move(node)), 0};
  }

  // The list of rows of `source` times `matrix`.
  NodeOutput Project(const std::string& name, NodeOutput source, const Shape& shape,
                     const Tensor& matrix, const Shape& projected) {
    const Shape flat({shape[0] * shape[1], shape[2]});
    Attrs reshape, product, list;
    reshape.Set("T", DType::kFloat);
    reshape.Set("Tshape", DType::kInt64);
    product.Set("T", DType::kFloat);
    product.Set("transpose_a", false);
    product.Set("transpose_b", false);
    list.Set("element_dtype", DType::kFloat);
    list.Set("shape_type", DType::kInt32);
    const auto constant = [&](const char* what, Tensor value) -> NodeOutput {
      return {graph_->AddConst(name + what, std::move(value)), 0};
    };
    const NodeOutput rows =
        AddNode(name + "/rows", "Reshape",
                {source, constant("/rows/shape", Tensor::Vector(flat.ToVector()))}, flat, reshape);
    const NodeOutput products =
        AddNode(name + "/products", "MatMul", {rows, constant("/products/weights", matrix)},
                Shape({flat[0], projected[2]}), std::move(product));
    const NodeOutput items =
        AddNode(name + "/items", "Reshape",
                {products, constant("/items/shape", Tensor::Vector(projected.ToVector()))},
                projected, reshape);
    return AddNode(name + "/list", "TensorListFromTensor",
                   {items, constant("/list/shape", RowShape(projected))}, Shape(), std::move(list),
                   DType::kVariant);
  }

  // The condition takes `added` more arguments, which it does not use.
  Status GiveCondition(size_t added) {
    const FuncAttr cond = Loop().attrs.Get<FuncAttr>("cond");
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> function,
                        context_->library->Get(cond));
    GraphFunction copy = *function;
    for (size_t i = 0; i < added; ++i) {
      copy.graph.AddArg(StrCat("list", i), DType::kVariant, Shape());
      copy.inputs.push_back({"", DType::kVariant});
    }
    FuncAttr renamed;
    copy.name = copy.name.substr(0, copy.name.find('@'));
    renamed.name = context_->library->Add(std::move(copy));
    Loop().attrs.Set("cond", std::move(renamed));
    return Status();
  }

  OptimizeContext* context_;
  Graph* graph_;
  const NodeId loop_;
};

}  // namespace

Status HoistProjections(OptimizeContext* context, Graph* graph) {
  // In order, so that the shapes that one loop's results get are known to the next.
  SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph->TopologicalOrder());
  for (NodeId id : order) {
    if (!IsWhile(graph->node(id)) || context->library->IsLarge()) continue;
    Hoister hoister(context, graph, id);
    bool changed = false;
    SM_RETURN_IF_ERROR(hoister.Run(&changed));
    if (!changed) continue;
    SM_RETURN_IF_ERROR(InferAndFold(context, graph));
    SM_RETURN_IF_ERROR(hoister.TellItemShapes());
    SM_RETURN_IF_ERROR(InferAndFold(context, graph));
  }
  return Status();
}

}  // namespace savedmodel
