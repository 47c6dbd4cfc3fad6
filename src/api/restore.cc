// Values for the objects and graphs of a model that has just been read.
#include <deque>
#include <map>

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel::api {
namespace {

Tensor HandleTensor(ResourceRef resource) {
  return Tensor::Scalar<ResourceRef>(std::move(resource));
}

std::string VariableKeyInTable(const std::string& name) {
  return ResourceTable::Key("variable", "", name);
}

// The state of a run on behalf of Load.
RunState LoadingRun(const ModelImpl& model) {
  RunOptions options;
  options.timeout = model.context.options.timeout;
  return model.context.MakeRun(options, /*loading=*/true);
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

class ObjectRestorer {
 public:
  explicit ObjectRestorer(ModelImpl* model)
      : model_(model), objects_(*model->meta.objects), run_(LoadingRun(*model)) {}

  Status Run() {
    model_->node_values.resize(objects_.nodes.size());
    FindPaths();
    SM_RETURN_IF_ERROR(OpenCheckpoint());
    for (size_t id = 0; id < objects_.nodes.size(); ++id) {
      SM_RETURN_IF_ERROR(MakeValue(static_cast<int>(id)).At(Place(static_cast<int>(id))));
    }
    BindMainGraph();
    // A resource that nothing uses may be one that cannot be made.
    model_->node_errors = ForResources("_create_resource");
    SM_RETURN_IF_ERROR(RestoreTables());
    const std::map<int, Status> errors = ForResources("_initialize");
    return errors.empty() ? Status() : errors.begin()->second;
  }

 private:
  std::string Place(int id) const {
    const std::string& path = model_->node_paths[id];
    return StrCat("object ", path.empty() ? StrCat("node ", id) : path);
  }

  // Breadth first, so that the first path to a node is a shortest one.
  void FindPaths() {
    model_->node_paths.assign(objects_.nodes.size(), "");
    reachable_.assign(objects_.nodes.size(), false);
    reachable_[0] = true;
    std::deque<int> queue = {0};
    model_->node_paths[0] = ".";
    while (!queue.empty()) {
      const int id = queue.front();
      queue.pop_front();
      const std::string prefix = id == 0 ? "" : model_->node_paths[id] + ".";
      for (const ObjectChild& child : objects_.nodes[id].children) {
        if (reachable_[child.id]) continue;
        reachable_[child.id] = true;
        model_->node_paths[child.id] = prefix + child.name;
        queue.push_back(child.id);
      }
    }
  }

  Status OpenCheckpoint() {
    if (model_->meta.variables_prefix.empty()) return Status();
    SM_ASSIGN_OR_RETURN(reader_, model_->context.checkpoints->Open(model_->meta.variables_prefix));
    SM_ASSIGN_OR_RETURN(checkpoint_, ReadCheckpointObjects(*reader_));
    matches_ = MatchCheckpointObjects(objects_, checkpoint_);
    return Status();
  }

  Status MakeValue(int id) {
    const ObjectNode& node = objects_.nodes[id];
    switch (node.kind) {
      case ObjectKind::kVariable:
        return MakeVariable(id, node);
      case ObjectKind::kConstant:
        return MakeConstant(id, node.tensor_name);
      case ObjectKind::kAsset:
        return MakeAsset(id, node);
      default:
        return Status();
    }
  }

  Status MakeVariable(int id, const ObjectNode& node) {
    auto variable = std::make_shared<VariableResource>(node.variable.dtype, node.variable.shape);
    variable->set_name(node.variable.name);
    if (reader_ != nullptr) {
      SM_RETURN_IF_ERROR(
          RestoreVariable(id, variable.get()).At(StrCat("variable '", node.variable.name, "'")));
    }
    const auto [it, is_new] = by_name_.emplace(node.variable.name, variable);
    if (!is_new) it->second = nullptr;
    model_->node_values[id] = HandleTensor(variable);
    if (reachable_[id]) {
      model_->variables.push_back(
          {model_->node_paths[id], node.variable.name, variable, node.variable.trainable, id});
    }
    return Status();
  }

  Status RestoreVariable(int id, VariableResource* variable) {
    const std::string key = VariableKey(objects_, id, checkpoint_, matches_, *reader_);
    if (key.empty()) {
      // The checkpoint may know a variable without a value; TensorFlow asks for no more.
      if (matches_[id] >= 0 || !reachable_[id]) return Status();
      return InvalidArgument("the checkpoint ", model_->meta.variables_prefix,
                             " has no such variable");
    }
    SM_ASSIGN_OR_RETURN(Tensor value, reader_->Read(key));
    const Shape& shape = objects_.nodes[id].variable.shape;
    if (!value.shape().CompatibleWith(shape)) {
      return InvalidArgument("the checkpoint holds ", value.TypeString(), " under '", key,
                             "', expected shape ", shape);
    }
    return variable->Assign(std::move(value));
  }

  // The main graph (a session's view) finds variables by names of its own. It shares those of the
  // objects if all can be told: by captures of its calls, or by a name that one object has alone.
  // Else it has variables of its own, which the saver restores when they are first asked for.
  void BindMainGraph() {
    std::map<std::string, ResourceRef> bound = Captures();
    bool all_bound = true;
    for (const Node& handle : model_->meta.graph.graph.nodes()) {
      if (handle.op != "VarHandleOp" || !handle.error.ok()) continue;
      const std::string key = MainGraphKey(handle);
      if (bound.count(key) > 0) continue;
      auto named = by_name_.find(handle.attrs.String("shared_name"));
      const bool found = named != by_name_.end() && named->second != nullptr &&
                         named->second->dtype() == handle.attrs.Type("dtype");
      if (found) bound[key] = named->second;
      all_bound = all_bound && found;
    }
    if (!all_bound) {
      model_->main_graph_variables.bound = std::move(bound);
      return;
    }
    for (auto& [key, variable] : bound) model_->context.resources.Put(key, std::move(variable));
  }

  static std::string MainGraphKey(const Node& handle) {
    const std::string& name = handle.attrs.String("shared_name");
    return ResourceTable::Key("variable", handle.attrs.String("container"),
                              name.empty() ? handle.name : name);
  }

  // By key of the main graph: the variables that its calls pass for captures.
  std::map<std::string, ResourceRef> Captures() const {
    std::map<std::string, ResourceRef> found;
    const Graph& graph = model_->meta.graph.graph;
    for (const Node& call : graph.nodes()) {
      const FuncAttr* f = call.attrs.Has("f") ? &call.attrs.Get<FuncAttr>("f") : nullptr;
      if (f == nullptr) continue;
      const auto signature = objects_.concrete_functions.find(f->name);
      if (signature == objects_.concrete_functions.end()) continue;
      const std::vector<int>& bound = signature->second.bound_inputs;
      if (bound.size() > call.inputs.size()) continue;
      const size_t first = call.inputs.size() - bound.size();
      for (size_t i = 0; i < bound.size(); ++i) {
        const Node& handle = graph.node(call.inputs[first + i].node);
        if (handle.op != "VarHandleOp" || objects_.nodes[bound[i]].kind != ObjectKind::kVariable) {
          continue;
        }
        found[MainGraphKey(handle)] = *model_->node_values[bound[i]].data<ResourceRef>();
      }
    }
    return found;
  }

  Status MakeConstant(int id, const std::string& name) {
    const LoadedGraph& graph = model_->meta.graph;
    auto it = graph.by_name.find(name);
    const Tensor* value =
        it == graph.by_name.end() ? nullptr : graph.graph.constant({it->second, 0});
    if (value == nullptr) {
      return InvalidArgument("the graph has no Const node '", name, "' for a constant object");
    }
    model_->node_values[id] = *value;
    return Status();
  }

  Status MakeAsset(int id, const ObjectNode& node) {
    if (node.asset_index < 0 || node.asset_index >= static_cast<int>(model_->meta.assets.size())) {
      return InvalidArgument("found asset number ", node.asset_index, ", the model lists ",
                             model_->meta.assets.size(), " assets");
    }
    model_->node_values[id] = Tensor::Scalar(model_->meta.assets[node.asset_index].path);
    return Status();
  }

  // Runs function `name` of each table-like object; `_create_resource` gives its handle. An object
  // may need another one made before it, so what cannot run yet is tried again.
  std::map<int, Status> ForResources(const std::string& name) {
    std::vector<int> waiting;
    for (size_t id = 0; id < objects_.nodes.size(); ++id) {
      if (objects_.nodes[id].FindChild(name) >= 0) waiting.push_back(static_cast<int>(id));
    }
    for (;;) {
      std::vector<int> again;
      std::map<int, Status> errors;
      for (int id : waiting) {
        const Status status = CallChild(id, name).At(Place(id));
        if (status.ok()) continue;
        errors[id] = status;
        again.push_back(id);
      }
      if (again.size() == waiting.size()) return errors;
      waiting = std::move(again);
    }
  }

  Status CallChild(int id, const std::string& name) {
    const ObjectNode& f = objects_.nodes[objects_.nodes[id].FindChild(name)];
    if (f.concrete_functions.empty()) return Status();
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const Executable> executable,
                        model_->Concrete(f.concrete_functions[0]));
    if (executable->num_inputs() != 0) {
      return InvalidArgument(name, " takes ", executable->num_inputs(),
                             " arguments, expected none");
    }
    std::vector<Tensor> outputs(executable->num_outputs());
    SM_RETURN_IF_ERROR(executable->Run({}, outputs, run_));
    if (name == "_create_resource") {
      if (outputs.empty() || outputs[0].dtype() != DType::kResource) {
        return InvalidArgument("_create_resource gives no resource handle");
      }
      model_->node_values[id] = std::move(outputs[0]);
    }
    return Status();
  }

  // State beyond variables: `<attribute>-keys` and `<attribute>-values` of mutable tables, and what
  // objects restore by functions of their own.
  Status RestoreTables() {
    for (size_t id = 0; id < objects_.nodes.size(); ++id) {
      if (reader_ == nullptr || matches_[id] < 0) continue;
      const CheckpointNode& stored = checkpoint_[matches_[id]];
      for (const auto& [name, functions] : objects_.nodes[id].saveables) {
        if (objects_.nodes[id].kind == ObjectKind::kVariable) continue;
        SM_RETURN_IF_ERROR(CallRestore(name, functions, stored).At(Place(static_cast<int>(id))));
      }
    }
    return Status();
  }

  Status CallRestore(const std::string& name, const SaveableFunctions& functions,
                     const CheckpointNode& stored) {
    if (functions.restore <= 0 || functions.restore >= static_cast<int>(objects_.nodes.size())) {
      return Status();
    }
    std::vector<Tensor> values;
    for (const CheckpointAttribute& attribute : stored.attributes) {
      if (attribute.name.compare(0, name.size(), name) != 0) continue;
      std::vector<std::string> keys = {attribute.key};
      // A table is two tensors.
      if (reader_->Find(attribute.key) == nullptr) {
        keys = {attribute.key + "-keys", attribute.key + "-values"};
      }
      for (const std::string& key : keys) {
        SM_ASSIGN_OR_RETURN(Tensor value, reader_->Read(key));
        values.push_back(std::move(value));
      }
    }
    const ObjectNode& restore = objects_.nodes[functions.restore];
    if (values.empty() || restore.concrete_functions.empty()) return Status();
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const Executable> executable,
                        model_->Concrete(restore.concrete_functions[0]));
    if (executable->num_inputs() != static_cast<int>(values.size())) {
      return InvalidArgument("the checkpoint holds ", values.size(), " values for '", name,
                             "', its restore function takes ", executable->num_inputs());
    }
    std::vector<Tensor> outputs(executable->num_outputs());
    return executable->Run(values, outputs, run_);
  }

  ModelImpl* model_;
  const ObjectGraph& objects_;
  std::map<std::string, std::shared_ptr<VariableResource>>
      by_name_;                  // null for a name that several have
  std::vector<bool> reachable_;  // from the root, by names
  RunState run_;
  std::shared_ptr<const CheckpointReader> reader_;
  std::vector<CheckpointNode> checkpoint_;
  std::vector<int> matches_;
};

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

}  // namespace

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

void ModelImpl::RestoreMainGraph() const {
  std::lock_guard<std::mutex> lock(main_graph_variables.mutex);
  if (!main_graph_variables.bound.has_value()) return;
  const bool own = RestoreBySaver(*this).ok();
  for (auto& [key, variable] : *main_graph_variables.bound) {
    // Keras 3 saves copies of its variables: the saver knows those, not what the calls capture.
    const auto restored =
        std::dynamic_pointer_cast<VariableResource>(own ? context.resources.Find(key) : nullptr);
    if (restored == nullptr || !restored->initialized()) {
      context.resources.Put(key, std::move(variable));
    }
  }
  main_graph_variables.bound.reset();
}

Status RestoreObjects(ModelImpl* model) { return ObjectRestorer(model).Run(); }

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
