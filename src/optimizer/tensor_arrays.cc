// TensorArrays of TensorFlow 1's loops made lists, as those of TensorFlow 2's loops are, so that
// later passes see one form.
//
// An array that a loop reads or writes at its counter, below its size, cannot fail in a way that a
// list does not: nothing is written or read twice.
#include <algorithm>
#include <numeric>

#include "src/base/status_macros.h"
#include "src/optimizer/loop_function.h"

namespace savedmodel {
namespace {

Tensor ShapeTensor(const Shape& shape) {
  if (!shape.known_rank()) return Tensor::Scalar<int32_t>(-1);
  return Tensor::Vector(std::vector<int32_t>(shape.begin(), shape.end()));
}

class ArrayPass : private PatternPass {
 public:
  ArrayPass(OptimizeContext* context, Graph* graph) : PatternPass(context, graph) {}

  Status Run(bool* changed) {
    const int count = graph_->num_nodes();
    for (NodeId id = 0; id < count; ++id) {
      if (graph_->node(id).op != "TensorArrayV3") continue;
      Array array{.node = id};
      if (!ReadOutside(&array)) continue;
      SM_ASSIGN_OR_RETURN(const bool fits, ReadLoop(&array));
      if (!fits) continue;
      SM_RETURN_IF_ERROR(Replace(array));
      *changed = true;
    }
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  struct Array {
    NodeId node = -1;
    int64_t size = 0;
    NodeId scatter = -1;  // what fills it before the loop, if anything does
    std::vector<NodeId> gathers;
    NodeId loop = -1;
    int handle = -1, flow = -1;  // variables of the loop
    Shape element;               // of items
    // The loop's functions after Optimize, and the op of the body that reads or writes.
    GraphFunction body, cond;
    NodeId access = -1;
  };

  // All uses of `v`, as (node, input); false when it is a result or must be waited for.
  bool Users(NodeOutput v, std::vector<std::pair<NodeId, int>>* users) const {
    for (NodeId id = 0; id < graph_->num_nodes(); ++id) {
      const Node& node = graph_->node(id);
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        if (node.inputs[i] == v) users->emplace_back(id, static_cast<int>(i));
      }
      const auto& waits = node.control_inputs;
      if (std::find(waits.begin(), waits.end(), v.node) != waits.end()) return false;
    }
    const auto is = [&](const std::vector<NodeOutput>& in) {
      return std::find(in.begin(), in.end(), v) != in.end();
    };
    return !is(graph_->results);
  }

  // Whether constant `v` is 0, 1, …, size - 1.
  bool NamesAll(NodeOutput v, int64_t size) const {
    const Tensor* indices = Constant(v);
    if (indices == nullptr || indices->shape() != Shape({size})) return false;
    for (int64_t i = 0; i < size; ++i) {
      if (IntegerAt(*indices, i) != i) return false;
    }
    return true;
  }

  // The loop whose variable number `variable` is the only use of `v`.
  bool IsLoopInput(NodeOutput v, NodeId* loop, int* variable) const {
    std::vector<std::pair<NodeId, int>> users;
    if (!Users(v, &users) || users.size() != 1) return false;
    std::tie(*loop, *variable) = users[0];
    return IsWhile(graph_->node(*loop));
  }

  bool ReadOutside(Array* array) {
    const NodeOutput handle{array->node, 0}, flow{array->node, 1};
    const Node& node = graph_->node(array->node);
    const Tensor* size = node.control_inputs.empty() ? Constant(node.inputs[0]) : nullptr;
    if (size == nullptr || node.attrs.Bool("dynamic_size")) return false;
    array->size = LoopFunction::Integer(*size);
    array->element = node.attrs.Get<Shape>("element_shape");
    std::vector<std::pair<NodeId, int>> users;
    if (array->size < 0 || !Users(handle, &users)) return false;
    NodeOutput filled = flow;
    for (const auto& [id, input] : users) {
      if (As({id, 0}, "TensorArrayScatterV3", 4) != nullptr && input == 0 && array->scatter < 0) {
        array->scatter = id;
        filled = {id, 0};
      } else if (As({id, 0}, "TensorArrayGatherV3", 3) != nullptr && input == 0) {
        array->gathers.push_back(id);
      } else if (IsWhile(graph_->node(id)) && array->loop < 0) {
        array->loop = id;
        array->handle = input;
      } else {
        return false;
      }
    }
    if (array->scatter >= 0) {
      const Node& scatter = graph_->node(array->scatter);
      const Shape value = graph_->shape(scatter.inputs[2]);
      std::vector<std::pair<NodeId, int>> takers;
      if (!NamesAll(scatter.inputs[1], array->size) || scatter.inputs[3] != flow ||
          !value.known_rank() || value.rank() < 1 || value[0] != array->size ||
          !array->element.CompatibleWith(value.Slice(1, value.rank())) || !Users(flow, &takers) ||
          takers.size() != 1) {
        return false;
      }
      array->element = value.Slice(1, value.rank());
    }
    NodeId loop = -1;
    return array->loop >= 0 && IsLoopInput(filled, &loop, &array->flow) && loop == array->loop;
  }

  // Whether the loop counts to at most array.size, and takes the array at its counter.
  StatusOr<bool> ReadLoop(Array* array) {
    const Node& loop = graph_->node(array->loop);
    for (auto [name, function] : {std::pair("body", &array->body), {"cond", &array->cond}}) {
      SM_ASSIGN_OR_RETURN(auto original, context_->library->Get(loop.attrs.Get<FuncAttr>(name)));
      *function = *original;
      SM_RETURN_IF_ERROR(Optimize(context_, &function->graph));
    }
    LoopFunction body(context_, array->body.graph), cond(context_, array->cond.graph);
    const size_t count = loop.inputs.size();
    if (body.num_args() != count || body.num_results() != count || cond.num_args() != count) {
      return false;
    }
    const Graph& graph = array->body.graph;
    std::vector<std::pair<NodeId, int>> handle_users, flow_users;
    const NodeOutput handle{graph.args[array->handle], 0}, flow{graph.args[array->flow], 0};
    for (NodeId id = 0; id < graph.num_nodes(); ++id) {
      for (size_t i = 0; i < graph.node(id).inputs.size(); ++i) {
        const NodeOutput v = graph.node(id).inputs[i];
        if (v == handle) handle_users.emplace_back(id, static_cast<int>(i));
        if (v == flow) flow_users.emplace_back(id, static_cast<int>(i));
      }
    }
    if (handle_users.size() != 1 || flow_users.size() != 1 ||
        handle_users[0].first != flow_users[0].first || !body.IsUnchanged(array->handle)) {
      return false;
    }
    array->access = handle_users[0].first;
    const Node& access = graph.node(array->access);
    const bool reads = access.op == "TensorArrayReadV3" && access.inputs.size() == 3;
    const bool writes = access.op == "TensorArrayWriteV3" && access.inputs.size() == 4;
    const NodeOutput result = graph.results[array->flow];
    if ((!reads && !writes) || !access.control_inputs.empty() || reads != (array->scatter >= 0) ||
        result != (reads ? flow : NodeOutput{array->access, 0}) || access.inputs[0] != handle ||
        graph.type({array->access, 0}) == DType::kInvalid) {
      return false;
    }
    const DType dtype = reads ? access.output_types[0] : graph.type(access.inputs[2]);
    if (dtype != graph_->node(array->node).attrs.Type("dtype")) return false;
    if (std::any_of(array->gathers.begin(), array->gathers.end(), [&](NodeId id) {
          const Node& gather = graph_->node(id);
          return reads || !NamesAll(gather.inputs[1], array->size) ||
                 gather.inputs[2] != NodeOutput{array->loop, array->flow} ||
                 gather.output_types[0] != dtype;
        })) {
      return false;
    }
    if (!LeavesOnlyGathers(*array)) return false;
    return CountsBelow(*array, body, cond, access.inputs[1]);
  }

  // Whether nothing behind the loop takes the array but what gathers its items.
  bool LeavesOnlyGathers(const Array& array) const {
    std::vector<std::pair<NodeId, int>> handles, flows;
    return Users({array.loop, array.handle}, &handles) && handles.empty() &&
           Users({array.loop, array.flow}, &flows) && flows.size() == array.gathers.size();
  }

  // Whether `index` of the body is a counter that stays in [0, array.size).
  StatusOr<bool> CountsBelow(const Array& array, LoopFunction& body, LoopFunction& cond,
                             NodeOutput index) {
    const std::vector<NodeOutput>& inputs = graph_->node(array.loop).inputs;
    SM_RETURN_IF_ERROR(body.Specialize(*graph_, array.loop, body));
    SM_RETURN_IF_ERROR(cond.Specialize(*graph_, array.loop, body));
    const int counter = body.Variable(index);
    std::vector<LoopFunction::Limit> limits;
    if (!body.IsCounter(counter) || !cond.ReadLimits(&limits)) return false;
    const Tensor* start = Constant(inputs[counter]);
    if (start == nullptr || LoopFunction::Integer(*start) < 0) return false;
    return std::any_of(limits.begin(), limits.end(), [&](const LoopFunction::Limit& limit) {
      if (limit.variable != counter) return false;
      if (limit.number >= 0) return limit.number <= array.size;
      return body.IsUnchanged(limit.other) && IsAtMost(inputs[limit.other], array.size);
    });
  }

  // Whether `v` is a constant of at most `most`, or the minimum of one and something.
  bool IsAtMost(NodeOutput v, int64_t most) const {
    const Tensor* number = Constant(v);
    if (number != nullptr) {
      const int64_t value = LoopFunction::Integer(*number);
      return value >= 0 && value <= most;
    }
    const Node* minimum = As(v, "Minimum", 2);
    return minimum != nullptr && (graph_->constant(minimum->inputs[0]) != nullptr
                                      ? IsAtMost(minimum->inputs[0], most)
                                      : graph_->constant(minimum->inputs[1]) != nullptr &&
                                            IsAtMost(minimum->inputs[1], most));
  }

  NodeOutput AddConstant(NodeId like, const char* what, Tensor value) {
    return {graph_->AddConst(graph_->node(like).name + what, std::move(value)), 0};
  }

  NodeOutput MakeList(const Array& array) {
    const NodeOutput shape = AddConstant(array.node, "/element_shape", ShapeTensor(array.element));
    const bool filled = array.scatter >= 0;
    std::vector<NodeOutput> inputs = {shape, graph_->node(array.node).inputs[0]};
    if (filled) inputs = {graph_->node(array.scatter).inputs[2], shape};
    Attrs attrs;
    attrs.Set("element_dtype", graph_->node(array.node).attrs.Type("dtype"));
    attrs.Set("shape_type", DType::kInt32);
    const NodeOutput list = Make(array.node, filled ? "TensorListFromTensor" : "TensorListReserve",
                                 std::move(inputs), std::move(attrs));
    graph_->node(list.node).output_types = {DType::kVariant};
    graph_->node(list.node).output_shapes = {Shape()};
    return list;
  }

  Status Replace(Array& array) {
    const NodeOutput list = MakeList(array);
    // Nothing takes the handle any more: a constant, which ShortenCalls drops.
    const NodeOutput handle = AddConstant(array.node, "/handle", Tensor::Scalar(ResourceRef()));
    const size_t flow = static_cast<size_t>(array.flow);
    Node& loop = graph_->node(array.loop);
    loop.inputs[array.handle] = handle;
    loop.inputs[flow] = list;
    loop.output_types[flow] = DType::kVariant;
    std::vector<DType> types = loop.attrs.Types("T");
    types[flow] = DType::kVariant;
    loop.attrs.Set("T", std::move(types));
    loop.attrs.Set("output_shapes", std::vector<Shape>());
    if (flow < loop.output_shapes.size()) loop.output_shapes[flow] = Shape();

    TakeList(array);
    for (auto [name, function] : {std::pair("body", &array.body), {"cond", &array.cond}}) {
      Node& arg = function->graph.node(function->graph.args[flow]);
      arg.output_types = {DType::kVariant};
      arg.attrs.Set("T", DType::kVariant);
      if (flow < function->inputs.size()) function->inputs[flow].dtype = DType::kVariant;
      if (flow < function->outputs.size()) function->outputs[flow].dtype = DType::kVariant;
      FuncAttr renamed;
      function->name = function->name.substr(0, function->name.find('@'));
      renamed.name = context_->library->Add(std::move(*function));
      graph_->node(array.loop).attrs.Set(name, std::move(renamed));
    }
    for (const NodeId id : array.gathers) Stack(array, id);
    return Status();
  }

  // The body's op reads or writes the list in place of the array.
  void TakeList(Array& array) const {
    Graph& graph = array.body.graph;
    const Node access = graph.node(array.access);
    const bool reads = access.op == "TensorArrayReadV3";
    const NodeOutput list = access.inputs.back();
    Attrs attrs;
    std::vector<NodeOutput> inputs = {list, access.inputs[1]};
    if (reads) {
      const NodeId shape =
          graph.AddConst(access.name + "/element_shape", ShapeTensor(array.element));
      inputs.push_back({shape, 0});
      attrs.Set("element_dtype", access.output_types[0]);
    } else {
      inputs.push_back(access.inputs[2]);
      attrs.Set("element_dtype", graph.type(access.inputs[2]));
      attrs.Set("resize_if_index_out_of_bounds", false);
    }
    Node& node = graph.node(array.access);
    node.op = reads ? "TensorListGetItem" : "TensorListSetItem";
    node.registered = context_->env.registry->Find(node.op);
    node.inputs = std::move(inputs);
    node.attrs = std::move(attrs);
    node.output_shapes.clear();
    if (!reads) node.output_types = {DType::kVariant};
  }

  void Stack(const Array& array, NodeId id) {
    const Node gather = graph_->node(id);
    const NodeOutput shape =
        AddConstant(id, "/element_shape", ShapeTensor(gather.attrs.Get<Shape>("element_shape")));
    Attrs attrs;
    attrs.Set("element_dtype", gather.output_types[0]);
    attrs.Set("num_elements", array.size);
    const NodeOutput made =
        Make(id, "TensorListStack", {gather.inputs[2], shape}, std::move(attrs));
    graph_->node(made.node).output_types = gather.output_types;
    Redirect(id, made);
  }
};

}  // namespace

Status ListTensorArrays(OptimizeContext* context, Graph* graph) {
  const std::vector<Node>& nodes = graph->nodes();
  const auto is_array = [](const Node& n) { return n.op == "TensorArrayV3"; };
  if (std::none_of(nodes.begin(), nodes.end(), is_array)) return Status();
  graph->Compact();  // what is dead uses no array
  bool changed = false;
  SM_RETURN_IF_ERROR(ArrayPass(context, graph).Run(&changed));
  if (!changed) return Status();
  SM_RETURN_IF_ERROR(ShortenCalls(context, graph));
  graph->Compact();
  return InferAndFold(context, graph);
}

}  // namespace savedmodel
