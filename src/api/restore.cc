// Values for the objects of a model that has just been read.
#include <deque>
#include <map>

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel::api {
namespace {

Tensor HandleTensor(ResourceRef resource) {
  return Tensor::Scalar<ResourceRef>(std::move(resource));
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
    model_->main_graph_variables.are_bound = false;
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

  Status MakeConstant(int id, const std::string& name) {
    const Tensor& value = model_->meta.constants[name];
    if (!value.has_value()) {
      return InvalidArgument("the graph has no Const node '", name, "' for a constant object");
    }
    model_->node_values[id] = value;
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
  std::vector<bool> reachable_;  // from the root, by names
  RunState run_;
  std::shared_ptr<const CheckpointReader> reader_;
  std::vector<CheckpointNode> checkpoint_;
  std::vector<int> matches_;
};

}  // namespace

Status RestoreObjects(ModelImpl* model) { return ObjectRestorer(model).Run(); }

}  // namespace savedmodel::api
