// Functions of a model: signatures, concrete and polymorphic functions, pruned graphs.
#include <algorithm>
#include <cctype>

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel::api {
namespace {

std::string KeyList(const std::vector<LoadedSignature>& signatures) {
  std::string keys;
  for (const LoadedSignature& s : signatures) keys += (keys.empty() ? "'" : ", '") + s.key + "'";
  return keys.empty() ? "none" : keys;
}

// What TensorFlow makes of an input's name where it needs an identifier.
std::string Identifier(const std::string& name) {
  std::string out = name;
  for (char& c : out) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_') c = '_';
  }
  return out;
}

// Names of tensors in order, for feeding each graph tensor once.
std::vector<std::string> TensorNames(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : specs) names.push_back(spec.tensor_name);
  return names;
}

// The leaves of a structured output, named as the caller sees them.
void OutputSpecs(const StructuredValue& structure, const Graph& graph,
                 std::vector<TensorSpec>* specs) {
  for (size_t i = 0; i < graph.results.size(); ++i) {
    std::string name = StrCat("output_", i);
    if (structure.kind == StructuredValue::Kind::kDict &&
        structure.keys.size() == graph.results.size()) {
      name = structure.keys[i];
    }
    specs->push_back(
        {name, "", graph.type(graph.results[i]), graph.shape(graph.results[i]), false});
  }
}

}  // namespace

StatusOr<std::shared_ptr<const Executable>> ModelImpl::Concrete(const std::string& name) const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = concrete_.find(name);
    if (it != concrete_.end()) return it->second;
  }
  FuncAttr f;
  f.name = name;
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> function, context.functions->Get(f));
  Graph graph = function->graph;
  auto signature = meta.objects->concrete_functions.find(name);
  if (signature != meta.objects->concrete_functions.end()) {
    const std::vector<int>& bound = signature->second.bound_inputs;
    if (bound.size() > graph.args.size()) {
      return InvalidArgument("function ", name, " has ", graph.args.size(), " arguments, but ",
                             bound.size(), " captures");
    }
    const size_t first = graph.args.size() - bound.size();
    for (size_t i = 0; i < bound.size(); ++i) {
      const Tensor& value = node_values[bound[i]];
      const NodeId arg = graph.args[first + i];
      if (!value.has_value()) {
        auto error = node_errors.find(bound[i]);
        if (error != node_errors.end()) return error->second;
        return InvalidArgument("function ", name, ": capture ", i, " (object node ", bound[i],
                               ") has no value");
      }
      if (value.dtype() != graph.node(arg).output_types[0]) {
        return InvalidArgument("function ", name, ": capture ", i, " is ", value.dtype(),
                               ", expected ", graph.node(arg).output_types[0]);
      }
      MakeConst(&graph, arg, value);
    }
    graph.args.resize(first);
  }
  auto executable = std::make_shared<const Executable>(&context, name, std::move(graph));
  std::lock_guard<std::mutex> lock(mutex_);
  return concrete_.emplace(name, std::move(executable)).first->second;
}

StatusOr<std::shared_ptr<const Executable>> ModelImpl::Fetched(
    const Executable& executable, const std::vector<std::string>& fetches) const {
  SM_ASSIGN_OR_RETURN(Graph graph, FetchGraph(context, executable.graph(), fetches));
  return std::make_shared<const Executable>(&context, executable.name(), std::move(graph));
}

std::shared_ptr<const FunctionImpl> ModelImpl::MakeSignature(const std::string& key) const {
  const auto signature = std::find_if(meta.signatures.begin(), meta.signatures.end(),
                                      [&](const LoadedSignature& s) { return s.key == key; });
  if (signature == meta.signatures.end()) {
    return FailedFunction(key, NotFound("signature '", key, "': not in the model; expected one of ",
                                        KeyList(meta.signatures)));
  }
  auto impl = std::make_shared<FunctionImpl>();
  impl->model = shared_from_this();
  impl->name = key;
  for (const auto& [name, value] : signature->defaults) impl->defaults.emplace(name, value);
  impl->inputs = FlatSpecs(signature->inputs);
  impl->outputs = FlatSpecs(signature->outputs);
  for (const TensorSpec& spec : impl->inputs) {
    const std::string identifier = Identifier(spec.name);
    if (identifier != spec.name) impl->aliases.emplace(identifier, spec.name);
  }
  // TensorFlow 2: the function that the object tree ties to the checkpoint.
  const ObjectGraph& objects = *meta.objects;
  const int folder = objects.nodes.empty() ? -1 : objects.nodes[0].FindChild("signatures");
  const int node = folder < 0 ? -1 : objects.nodes[folder].FindChild(key);
  if (node >= 0 && !objects.nodes[node].concrete_functions.empty()) {
    const ObjectNode& f = objects.nodes[node];
    StatusOr<std::shared_ptr<const Executable>> executable = Concrete(f.concrete_functions[0]);
    if (!executable.ok()) return FailedFunction(key, executable.status().At(key));
    impl->executable = *executable;
    // The function's arguments come in its own order, by keyword.
    std::vector<TensorSpec> ordered;
    for (const std::string& keyword : f.argument_keywords) {
      for (const TensorSpec& spec : impl->inputs) {
        if (spec.name == keyword || Identifier(spec.name) == keyword) {
          ordered.push_back(spec);
          break;
        }
      }
    }
    if (static_cast<int>(ordered.size()) == (*executable)->num_inputs() &&
        static_cast<int>(impl->outputs.size()) == (*executable)->num_outputs()) {
      impl->inputs = std::move(ordered);
      return impl;
    }
    if (f.argument_keywords.empty() &&
        static_cast<int>(impl->inputs.size()) == (*executable)->num_inputs() &&
        static_cast<int>(impl->outputs.size()) == (*executable)->num_outputs()) {
      return impl;
    }
  }
  // TensorFlow 1: the tensors of the main graph. Two keys may stand for one placeholder.
  std::vector<std::string> feeds;
  std::vector<TensorSpec> inputs;
  for (const TensorSpec& spec : impl->inputs) {
    const auto same = std::find(feeds.begin(), feeds.end(), spec.tensor_name);
    if (same != feeds.end()) {
      impl->aliases[spec.name] = inputs[same - feeds.begin()].name;
      continue;
    }
    feeds.push_back(spec.tensor_name);
    inputs.push_back(spec);
  }
  impl->inputs = std::move(inputs);
  RestoreMainGraph();
  StatusOr<std::shared_ptr<const Executable>> executable =
      Pruned(feeds, TensorNames(impl->outputs), {});
  if (!executable.ok()) return FailedFunction(key, executable.status().At(key));
  impl->executable = *executable;
  return impl;
}

std::shared_ptr<const FunctionImpl> ModelImpl::MakeFunction(int node,
                                                            const std::string& name) const {
  const ObjectNode& f = meta.objects->nodes[node];
  if (f.kind != ObjectKind::kFunction && f.kind != ObjectKind::kBareConcreteFunction) {
    return FailedFunction(name, InvalidArgument("object ", name, " is no function"));
  }
  if (f.concrete_functions.empty()) {
    return FailedFunction(name, FailedPrecondition("function ", name,
                                                   " was saved without a trace; call it once "
                                                   "before saving, or give it an input_signature"));
  }
  auto impl = std::make_shared<FunctionImpl>();
  impl->model = shared_from_this();
  impl->name = name;
  impl->spec = &f.spec;
  for (const std::string& concrete : f.concrete_functions) {
    auto it = meta.objects->concrete_functions.find(concrete);
    if (it == meta.objects->concrete_functions.end()) {
      return FailedFunction(name, InvalidArgument("function ", name, ": the object graph names ",
                                                  concrete, ", which it does not describe"));
    }
    impl->traces.push_back({concrete, &it->second, nullptr});
  }
  if (impl->traces.size() == 1) {
    StatusOr<std::shared_ptr<const Executable>> executable = Concrete(impl->traces[0].function);
    if (!executable.ok()) return FailedFunction(name, executable.status().At(name));
    impl->executable = *executable;
    FuncAttr attr;
    attr.name = impl->traces[0].function;
    StatusOr<std::shared_ptr<const GraphFunction>> graph = context.functions->Get(attr);
    for (int i = 0; graph.ok() && i < (*executable)->num_inputs(); ++i) {
      const NodeOutput v{(*graph)->graph.args[i], 0};
      const std::string arg = static_cast<size_t>(i) < f.argument_keywords.size()
                                  ? f.argument_keywords[i]
                                  : (*graph)->inputs[i].name;
      impl->inputs.push_back({arg, "", (*graph)->graph.type(v), (*graph)->graph.shape(v), false});
    }
    if (graph.ok()) {
      OutputSpecs(impl->traces[0].signature->output_signature, (*graph)->graph, &impl->outputs);
    }
  }
  return impl;
}

std::shared_ptr<const FunctionImpl> ModelImpl::MakeConcrete(const std::string& function) const {
  FuncAttr attr;
  attr.name = function;
  StatusOr<std::shared_ptr<const GraphFunction>> graph = context.functions->Get(attr);
  if (!graph.ok()) return FailedFunction(function, graph.status());
  StatusOr<std::shared_ptr<const Executable>> executable = Concrete(function);
  if (!executable.ok()) return FailedFunction(function, executable.status().At(function));
  auto impl = std::make_shared<FunctionImpl>();
  impl->model = shared_from_this();
  impl->name = function;
  impl->executable = *executable;
  impl->returns_list = true;
  const Graph& body = (*graph)->graph;
  for (int i = 0; i < (*executable)->num_inputs(); ++i) {
    const NodeOutput v{body.args[i], 0};
    impl->inputs.push_back({(*graph)->inputs[i].name, "", body.type(v), body.shape(v), false});
  }
  for (size_t i = 0; i < body.results.size(); ++i) {
    const NodeOutput v = body.results[i];
    impl->outputs.push_back({(*graph)->outputs[i].name, "", body.type(v), body.shape(v), false});
  }
  return impl;
}

}  // namespace savedmodel::api
