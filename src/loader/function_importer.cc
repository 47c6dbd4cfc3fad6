// FunctionDef → GraphFunction. Edges in function bodies are named "argument" or
// "node:output:index"; a list without index stands for all its members.
#include <algorithm>
#include <charconv>
#include <utility>

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/body_importer.h"
#include "src/loader/graph_importer.h"
#include "src/loader/tensor_proto.h"

namespace savedmodel {
namespace {

class FunctionImporter {
 public:
  FunctionImporter(const proto::FunctionDef& def, const Attrs* attrs,
                   const FunctionIndex& functions, const OpRegistry& registry,
                   GraphFunction* function)
      : def_(def),
        attrs_(attrs),
        registry_(registry),
        function_(*function),
        graph_(function->graph),
        body_(registry, functions, attrs, &function->graph) {}

  Status Import() {
    function_.name = def_.signature().name();
    function_.stateful = def_.signature().is_stateful();
    for (int i = 0; i < def_.signature().input_arg_size(); ++i) SM_RETURN_IF_ERROR(AddArg(i));
    const NodeId first_node = graph_.num_nodes();
    for (const proto::NodeDef& node : def_.node_def()) SM_RETURN_IF_ERROR(body_.Add(node));
    SM_RETURN_IF_ERROR(body_.ResolveOutputs());
    for (int i = 0; i < def_.node_def_size(); ++i) {
      Status status = Connect(def_.node_def(i), first_node + i);
      if (!status.ok()) return status.At(StrCat("node '", def_.node_def(i).name(), "'"));
    }
    body_.Finish();
    for (const auto& arg : def_.signature().output_arg()) SM_RETURN_IF_ERROR(AddResult(arg));
    return AddTargets();
  }

 private:
  struct Arg {
    std::vector<NodeOutput> values;
    bool is_list = false;
  };

  // The shapes that the writer knew of argument `i`, or unknown ones.
  std::vector<Shape> ArgShapes(int i, size_t count) const {
    std::vector<Shape> shapes(count, Shape::Unknown());
    auto arg = def_.arg_attr().find(i);
    if (arg == def_.arg_attr().end()) return shapes;
    auto attr = arg->second.attr().find("_output_shapes");
    if (attr == arg->second.attr().end()) return shapes;
    const auto& list = attr->second.list().shape();
    if (static_cast<size_t>(list.size()) != count) return shapes;
    for (size_t k = 0; k < count; ++k) {
      if (StatusOr<Shape> s = ShapeFromProto(list.Get(static_cast<int>(k))); s.ok()) shapes[k] = *s;
    }
    return shapes;
  }

  Status AddArg(int i) {
    const auto& def = def_.signature().input_arg(i);
    SM_ASSIGN_OR_RETURN(const ArgSpec spec, ArgSpecFromProto(def));
    SM_ASSIGN_OR_RETURN(const std::vector<DType> types, ArgTypesOf(spec, attrs_));
    SM_RETURN_IF_ERROR(body_.ChargeEdges(types.size()));
    Arg arg;
    arg.is_list = !spec.number_attr.empty() || !spec.type_list_attr.empty();
    const std::vector<Shape> shapes = ArgShapes(i, types.size());
    for (size_t k = 0; k < types.size(); ++k) {
      std::string name = arg.is_list ? StrCat(def.name(), "_", k) : def.name();
      const NodeId id = graph_.AddArg(name, types[k], shapes[k]);
      if (spec.is_ref) graph_.node(id).output_is_ref = {true};
      if (!arg.is_list) SM_RETURN_IF_ERROR(body_.Register(name, id));
      function_.inputs.push_back({std::move(name), types[k]});
      arg.values.push_back({id, 0});
    }
    if (args_.emplace(def.name(), std::move(arg)).second) return Status();
    return InvalidArgument("found two arguments named '", def.name(),
                           "', expected names to differ");
  }

  // The values that `edge` names.
  Status Lookup(const std::string& edge, std::vector<NodeOutput>* values) const {
    std::string_view rest = edge;
    const size_t colon = rest.find(':');
    const std::string head(rest.substr(0, colon));
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    if (auto arg = args_.find(head); arg != args_.end()) {
      if (colon != std::string_view::npos && !arg->second.is_list) {
        return InvalidArgument("'", edge, "' asks for a part of argument '", head,
                               "', which is no list");
      }
      return Select(edge, rest, colon != std::string_view::npos, arg->second.values, values);
    }
    const NodeId id = body_.Find(head);
    if (id < 0) return InvalidArgument("'", edge, "' names nothing in the function");
    const size_t second = rest.find(':');
    std::vector<NodeOutput> all;
    SM_RETURN_IF_ERROR(body_.AppendOutputs(id, rest.substr(0, second), &all));
    const bool has_index = second != std::string_view::npos && body_.Usable(id);
    return Select(edge, has_index ? rest.substr(second + 1) : std::string_view(), has_index, all,
                  values);
  }

  // Appends all of `all`, or the one whose index is `text`.
  static Status Select(const std::string& edge, std::string_view text, bool has_index,
                       const std::vector<NodeOutput>& all, std::vector<NodeOutput>* values) {
    if (!has_index) {
      values->insert(values->end(), all.begin(), all.end());
      return Status();
    }
    size_t index = 0;
    const auto r = std::from_chars(text.data(), text.data() + text.size(), index);
    if (r.ec != std::errc() || r.ptr != text.data() + text.size() || index >= all.size()) {
      return InvalidArgument("'", edge, "' has index '", text, "', expected one below ",
                             all.size());
    }
    values->push_back(all[index]);
    return Status();
  }

  Status Connect(const proto::NodeDef& def, NodeId id) {
    for (const std::string& input : def.input()) {
      if (!input.empty() && input[0] == '^') {
        SM_ASSIGN_OR_RETURN(const NodeId source, ControlSource(input.substr(1)));
        if (source >= 0) graph_.node(id).control_inputs.push_back(source);
        continue;
      }
      if (!graph_.node(id).control_inputs.empty()) {
        return InvalidArgument("input '", input, "' follows a control input, expected those last");
      }
      std::vector<NodeOutput>& inputs = graph_.node(id).inputs;
      const size_t before = inputs.size();
      SM_RETURN_IF_ERROR(Lookup(input, &inputs));
      SM_RETURN_IF_ERROR(body_.ChargeEdges(inputs.size() - before));
    }
    return Status();
  }

  // The node to wait for; -1 for an argument that is a list (there is nothing to wait for).
  StatusOr<NodeId> ControlSource(const std::string& name) const {
    const NodeId id = body_.Find(name);
    if (id < 0 && args_.count(name) == 0) {
      return InvalidArgument("control input '^", name, "' names nothing in the function");
    }
    return id;
  }

  Status AddResult(const proto::OpDef_ArgDef& arg) {
    SM_ASSIGN_OR_RETURN(const ArgSpec spec, ArgSpecFromProto(arg));
    SM_ASSIGN_OR_RETURN(const std::vector<DType> types, ArgTypesOf(spec, attrs_));
    auto ret = def_.ret().find(arg.name());
    if (ret == def_.ret().end()) {
      return InvalidArgument("result '", arg.name(), "' is not computed: the ret map lacks it");
    }
    std::vector<NodeOutput> values;
    Status status = Lookup(ret->second, &values);
    if (!status.ok()) return status.At(StrCat("result '", arg.name(), "'"));
    SM_RETURN_IF_ERROR(body_.ChargeEdges(values.size()));
    const bool usable = std::all_of(values.begin(), values.end(),
                                    [&](const NodeOutput& v) { return body_.Usable(v.node); });
    if (usable && values.size() != types.size()) {
      return InvalidArgument("result '", arg.name(), "': found ", values.size(),
                             " values, expected ", types.size());
    }
    values.resize(types.size(), values.empty() ? NodeOutput{} : values[0]);
    for (size_t k = 0; k < types.size(); ++k) {
      SM_RETURN_IF_ERROR(AddOneResult(spec, arg.name(), types[k], usable, values[k]));
    }
    return Status();
  }

  Status AddOneResult(const ArgSpec& spec, const std::string& name, DType type, bool usable,
                      NodeOutput value) {
    if (usable && graph_.type(value) != type) {
      return InvalidArgument("result '", name, "' is ", graph_.type(value), ", expected ", type);
    }
    if (usable && !spec.is_ref) {
      SM_ASSIGN_OR_RETURN(value, ValueOfReference(registry_, &graph_, value));
    }
    function_.outputs.push_back({name, type});
    graph_.results.push_back(value);
    return Status();
  }

  // What runs though no result needs it. Functions written before control outputs existed run
  // every op that changes something.
  Status AddTargets() {
    std::vector<std::string> names(def_.signature().control_output().begin(),
                                   def_.signature().control_output().end());
    if (names.empty()) {
      for (const auto& [name, node] : def_.control_ret()) names.push_back(name);
      std::sort(names.begin(), names.end());
    }
    for (const std::string& name : names) {
      auto ret = def_.control_ret().find(name);
      if (ret == def_.control_ret().end()) {
        return InvalidArgument("control result '", name, "' is not in the control_ret map");
      }
      const NodeId id = body_.Find(ret->second);
      if (id < 0) {
        return InvalidArgument("control result '", name, "' names node '", ret->second,
                               "', which the function does not have");
      }
      graph_.targets.push_back(id);
    }
    if (!names.empty()) return Status();
    for (NodeId id = 0; id < graph_.num_nodes(); ++id) {
      const RegisteredOp* op = graph_.node(id).registered;
      if (op != nullptr && op->def->effects == Effects::kWritesState) graph_.targets.push_back(id);
    }
    return Status();
  }

  const proto::FunctionDef& def_;
  const Attrs* attrs_;
  const OpRegistry& registry_;
  GraphFunction& function_;
  Graph& graph_;
  BodyImporter body_;
  std::unordered_map<std::string, Arg> args_;
};

}  // namespace

StatusOr<std::shared_ptr<const GraphFunction>> ImportFunction(const proto::FunctionDef& function,
                                                              const Attrs* attrs,
                                                              const FunctionIndex& functions,
                                                              const OpRegistry& registry,
                                                              const ImportOptions& options) {
  if (function.node_def_size() > options.max_nodes) {
    return ResourceExhausted("found ", function.node_def_size(), " nodes, expected at most ",
                             options.max_nodes);
  }
  auto result = std::make_shared<GraphFunction>();
  SM_RETURN_IF_ERROR(FunctionImporter(function, attrs, functions, registry, result.get()).Import());
  return std::shared_ptr<const GraphFunction>(std::move(result));
}

}  // namespace savedmodel
