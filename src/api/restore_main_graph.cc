// Values for the main graph of a model, which TensorFlow 1 ran in a session.
#include <map>

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel::api {
namespace {

std::string VariableKeyInTable(const std::string& name) {
  return ResourceTable::Key("variable", "", name);
}

// The tensors that name assets, with where the files are.
TensorMap AssetFeeds(const LoadedMetaGraph& meta) {
  TensorMap feeds;
  for (const LoadedAsset& asset : meta.assets) {
    if (!asset.tensor_name.empty()) feeds[asset.tensor_name] = Tensor::Scalar(asset.path);
  }
  return feeds;
}

Status RunTargets(const ModelImpl& model, const TensorMap& feeds,
                  const std::vector<std::string>& targets) {
  RunState run = LoadingRun(model);
  return model.RunSession(feeds, {}, targets, run).status();
}

// Runs the restore op of the main graph, if it has one.
Status RestoreBySaver(const ModelImpl& model) {
  const LoadedMetaGraph& meta = model.meta;
  if (!meta.saver.has_value() || meta.variables_prefix.empty() || meta.saver->restore_op.empty()) {
    return Status();
  }
  TensorMap feeds = AssetFeeds(meta);
  feeds[meta.saver->filename_tensor] = Tensor::Scalar(meta.variables_prefix);
  return RunTargets(model, feeds, {meta.saver->restore_op}).At("restoring variables");
}

// For graphs without a restore op (TensorFlow Hub's first format): variables by their names.
Status RestoreByName(ModelImpl* model) {
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const CheckpointReader> reader,
                      model->context.checkpoints->Open(model->meta.variables_prefix));
  for (const LoadedVariable& v : model->meta.variables) {
    if (reader->Find(KeyByName(v)) == nullptr) continue;
    SM_ASSIGN_OR_RETURN(Tensor value, ReadByName(*reader, v));
    auto resource = std::make_shared<VariableResource>(value.dtype(), value.shape());
    resource->set_name(v.name);
    SM_RETURN_IF_ERROR(resource->Assign(std::move(value)));
    model->context.resources.Put(VariableKeyInTable(v.name), std::move(resource));
  }
  return Status();
}

std::string VariableKeyOf(const Node& handle) {
  const std::string& name = handle.attrs.String("shared_name");
  return ResourceTable::Key("variable", handle.attrs.String("container"),
                            name.empty() ? handle.name : name);
}

// By key of the main graph: the variables that its calls pass for captures.
std::map<std::string, ResourceRef> Captures(const ModelImpl& model, const Graph& graph) {
  const ObjectGraph& objects = *model.meta.objects;
  std::map<std::string, ResourceRef> found;
  for (const Node& call : graph.nodes()) {
    const FuncAttr* f = call.attrs.Has("f") ? &call.attrs.Get<FuncAttr>("f") : nullptr;
    if (f == nullptr) continue;
    const auto signature = objects.concrete_functions.find(f->name);
    if (signature == objects.concrete_functions.end()) continue;
    const std::vector<int>& bound = signature->second.bound_inputs;
    if (bound.size() > call.inputs.size()) continue;
    const size_t first = call.inputs.size() - bound.size();
    for (size_t i = 0; i < bound.size(); ++i) {
      const Node& handle = graph.node(call.inputs[first + i].node);
      if (handle.op != "VarHandleOp" || objects.nodes[bound[i]].kind != ObjectKind::kVariable) {
        continue;
      }
      found[VariableKeyOf(handle)] = *model.node_values[bound[i]].data<ResourceRef>();
    }
  }
  return found;
}

// The variables of the objects by name; null for a name that several have.
std::map<std::string, ResourceRef> VariablesByName(const ModelImpl& model) {
  std::map<std::string, ResourceRef> by_name;
  const std::vector<ObjectNode>& nodes = model.meta.objects->nodes;
  for (size_t id = 0; id < nodes.size(); ++id) {
    if (nodes[id].kind != ObjectKind::kVariable) continue;
    const auto [it, is_new] =
        by_name.emplace(nodes[id].variable.name, *model.node_values[id].data<ResourceRef>());
    if (!is_new) it->second = nullptr;
  }
  return by_name;
}

// Adds to `bound` the variables of `graph` whose name one object has alone. False when some stay
// that no object explains.
bool BindByName(const ModelImpl& model, const Graph& graph,
                std::map<std::string, ResourceRef>* bound) {
  const std::map<std::string, ResourceRef> by_name = VariablesByName(model);
  bool all_bound = true;
  for (const Node& handle : graph.nodes()) {
    if (handle.op != "VarHandleOp" || !handle.error.ok()) continue;
    const std::string key = VariableKeyOf(handle);
    if (bound->count(key) > 0) continue;
    const auto named = by_name.find(handle.attrs.String("shared_name"));
    const auto variable = std::dynamic_pointer_cast<VariableResource>(
        named == by_name.end() ? nullptr : named->second);
    const bool found = variable != nullptr && variable->dtype() == handle.attrs.Type("dtype");
    if (found) bound->emplace(key, variable);
    all_bound = all_bound && found;
  }
  return all_bound;
}

}  // namespace

RunState LoadingRun(const ModelImpl& model) {
  RunOptions options;
  options.timeout = model.context.options.timeout;
  return model.context.MakeRun(options, /*loading=*/true);
}

const std::string& KeyByName(const LoadedVariable& v) {
  return v.full_name.empty() ? v.name : v.full_name;
}

StatusOr<Tensor> ReadByName(const CheckpointReader& reader, const LoadedVariable& v) {
  if (v.full_name.empty()) return reader.Read(v.name);
  return reader.ReadSlice(v.full_name, v.offset, v.extent);
}

std::shared_ptr<VariableResource> FindVariable(const ModelContext& context,
                                               const std::string& name) {
  return std::dynamic_pointer_cast<VariableResource>(
      context.resources.Find(VariableKeyInTable(name)));
}

// The main graph finds variables by names of its own. It shares those of the objects if all can be
// told: by captures of its calls, or by name. Else it has variables of its own.
void ModelImpl::RestoreMainGraph() const {
  std::lock_guard<std::mutex> lock(main_graph_variables.mutex);
  if (main_graph_variables.are_bound) return;
  main_graph_variables.are_bound = true;
  const StatusOr<const LoadedGraph*> main = meta.main_graph->Get();
  if (!main.ok()) return;
  std::map<std::string, ResourceRef> bound = Captures(*this, (*main)->graph);
  const bool own = !BindByName(*this, (*main)->graph, &bound) && RestoreBySaver(*this).ok();
  for (auto& [key, variable] : bound) {
    // Keras 3 saves copies of its variables: the saver knows those, not what the calls capture.
    const auto restored =
        std::dynamic_pointer_cast<VariableResource>(own ? context.resources.Find(key) : nullptr);
    if (restored == nullptr || !restored->initialized()) {
      context.resources.Put(key, std::move(variable));
    }
  }
}

Status RestoreSession(ModelImpl* model) {
  const LoadedMetaGraph& meta = model->meta;
  const TensorMap assets = AssetFeeds(meta);
  SM_RETURN_IF_ERROR(RestoreBySaver(*model));
  if (!meta.saver.has_value() && !meta.variables_prefix.empty()) {
    SM_RETURN_IF_ERROR(RestoreByName(model).At("restoring variables"));
  }
  if (!meta.init_op.empty()) {
    SM_RETURN_IF_ERROR(RunTargets(*model, assets, {meta.init_op}).At("initialising"));
  } else if (auto it = meta.collections.find("table_initializer"); it != meta.collections.end()) {
    SM_RETURN_IF_ERROR(RunTargets(*model, assets, it->second.nodes).At("initialising tables"));
  }
  for (const LoadedVariable& v : meta.variables) {
    std::shared_ptr<VariableResource> resource = FindVariable(model->context, v.name);
    if (resource != nullptr) {
      model->variables.push_back({v.name, v.name, std::move(resource), v.trainable, -1});
    }
  }
  return Status();
}

}  // namespace savedmodel::api
