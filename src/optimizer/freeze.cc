// Named resources resolved to handles, and variables that the graph only reads to constants.
#include <unordered_set>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// The resource that a Const node holds, or null.
ResourceRef ConstResource(const Graph& graph, NodeOutput v) {
  const Tensor* value = graph.constant(v);
  if (value == nullptr || value->num_elements() != 1) return nullptr;
  const ResourceRef* handle = value->data<ResourceRef>();
  return handle == nullptr ? nullptr : *handle;
}

// An op without inputs whose only output is a handle found by `shared_name`, and the same handle
// every time.
bool LooksUpHandle(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.registered == nullptr || node.is_const() || node.is_arg()) return false;
  // Under this name TensorFlow makes a new resource each time.
  constexpr std::string_view kAnonymous = "cd2c89b7-88b7-44c8-ad83-06c2a9158347";
  return node.inputs.empty() && node.num_outputs() == 1 && node.attrs.Has("shared_name") &&
         node.attrs.String("shared_name") != kAnonymous &&
         (node.output_types[0] == DType::kResource || graph.is_ref({id, 0}));
}

bool IsRead(const Node& node) { return node.op == "ReadVariableOp" || node.op == "_ReadRef"; }

// Ops that take a resource and write no variable.
bool LeavesVariables(const Node& node) {
  return IsRead(node) || node.op.rfind("TensorArray", 0) == 0 || node.op == "ResourceGather" ||
         node.op == "ResourceGatherNd" || node.op == "VariableShape" ||
         node.op == "VarIsInitializedOp" || node.op == "IsVariableInitialized" ||
         node.op == "DisableCopyOnRead";
}

// Which variables the graph may write, found through calls of functions too.
class Writers {
 public:
  Writers(const OptimizeContext& context, const Graph& graph) : context_(context) {
    for (NodeId id = 0; id < graph.num_nodes(); ++id) Look(graph, id);
  }
  bool MayWrite(const Resource* resource) const {
    return writes_unknown_ || written_.count(resource) > 0;
  }

 private:
  void Look(const Graph& graph, NodeId id) {
    const Node& node = graph.node(id);
    if (node.registered == nullptr || LeavesVariables(node)) return;
    const bool calls = CallsFunctions(node);
    if (node.registered->def->effects != Effects::kWritesState && !calls) return;
    if (calls && !MayWriteVariables(node)) return;
    for (const NodeOutput& v : node.inputs) {
      if (graph.type(v) != DType::kResource && !graph.is_ref(v)) continue;
      const ResourceRef resource = ConstResource(graph, v);
      if (resource == nullptr) {
        writes_unknown_ = true;
      } else {
        written_.insert(resource.get());
      }
    }
  }

  // True when a function that the node calls, or one that these call, holds an op that writes.
  bool MayWriteVariables(const Node& node) {
    std::vector<FuncAttr> stack = Callees(node);
    std::unordered_set<std::string> seen;
    while (!stack.empty()) {
      const FuncAttr f = std::move(stack.back());
      stack.pop_back();
      if (!seen.insert(f.name).second) continue;
      auto function = context_.library->Get(f);
      if (!function.ok()) return true;
      for (const Node& inner : (*function)->graph.nodes()) {
        if (inner.is_arg() || inner.is_const()) continue;
        if (inner.registered == nullptr) return true;
        const std::vector<FuncAttr> more = Callees(inner);
        stack.insert(stack.end(), more.begin(), more.end());
        if (more.empty() && inner.registered->def->effects == Effects::kWritesState &&
            !inner.inputs.empty() && !LeavesVariables(inner)) {
          return true;
        }
      }
    }
    return false;
  }

  const OptimizeContext& context_;
  bool writes_unknown_ = false;
  std::unordered_set<const Resource*> written_;
};

// Gathers from a variable that became a constant are gathers from that constant.
void RewriteGather(const CompileEnv& env, Graph* graph, NodeId id, NodeOutput params) {
  Node& node = graph->node(id);
  node.inputs[0] = params;
  const DType dtype = node.output_types[0], indices = graph->type(node.inputs[1]);
  Attrs attrs;
  attrs.Set("Tparams", dtype);
  attrs.Set("Tindices", indices);
  if (node.op == "ResourceGather") {
    const int64_t batch_dims = node.attrs.Int("batch_dims");
    attrs.Set("batch_dims", batch_dims);
    attrs.Set("Taxis", DType::kInt64);
    const NodeId axis =
        graph->AddConst(StrCat(graph->node(id).name, "/axis"), Tensor::Scalar<int64_t>(batch_dims));
    graph->node(id).inputs.push_back({axis, 0});
  }
  Node& gather = graph->node(id);
  gather.op = gather.op == "ResourceGather" ? "GatherV2" : "GatherNd";
  gather.registered = env.registry->Find(gather.op);
  if (gather.registered != nullptr) (void)CompleteAttrs(gather.registered->signature, &attrs).ok();
  gather.attrs = std::move(attrs);
}

}  // namespace

Status ResolveHandles(OptimizeContext* context, Graph* graph) {
  for (NodeId id = 0; id < graph->num_nodes(); ++id) {
    if (!LooksUpHandle(*graph, id)) continue;
    SM_ASSIGN_OR_RETURN(std::vector<Tensor> handle, EvaluateNode(context->env, *graph, id, {}));
    if (handle[0].dtype() != DType::kResource) continue;
    MakeConst(graph, id, std::move(handle[0]));
  }
  return Status();
}

Status FreezeVariables(OptimizeContext* context, Graph* graph) {
  const Writers writers(*context, *graph);
  const int count = graph->num_nodes();
  for (NodeId id = 0; id < count; ++id) {
    const std::string op = graph->node(id).op;
    const bool gathers = op == "ResourceGather" || op == "ResourceGatherNd";
    if (!IsRead(graph->node(id)) && !gathers) continue;
    const auto variable = std::dynamic_pointer_cast<VariableResource>(
        ConstResource(*graph, graph->node(id).inputs[0]));
    if (variable == nullptr || writers.MayWrite(variable.get())) continue;
    if (context->keep_variable && context->keep_variable(*variable)) continue;
    const uint64_t version = variable->version();
    StatusOr<Tensor> value = variable->Read();
    if (!value.ok() || value->dtype() == DType::kResource || value->dtype() == DType::kVariant) {
      continue;  // uninitialised: the read fails when it runs
    }
    const DType declared = gathers ? graph->node(id).attrs.Type("dtype") : graph->type({id, 0});
    if (value->dtype() != declared) continue;  // the read refuses when it runs
    context->frozen.push_back({variable, version});
    if (gathers) {
      const NodeId params =
          graph->AddConst(graph->node(id).name + "/params", std::move(value).value());
      RewriteGather(context->env, graph, id, {params, 0});
    } else {
      MakeConst(graph, id, std::move(value).value());
    }
  }
  return Status();
}

}  // namespace savedmodel
