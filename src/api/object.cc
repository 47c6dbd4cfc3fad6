// Objects and variables of the restored tree.
#include <set>

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel {

Variable Variable::FromError(const Status& status) {
  Variable v;
  auto state = std::make_shared<api::VariableState>();
  state->error = status;
  v.state_ = std::move(state);
  return v;
}

Status Variable::status() const {
  if (state_ == nullptr) return FailedPrecondition("an empty Variable; get one from a Model");
  return state_->error;
}

std::string Variable::name() const { return state_ == nullptr ? "" : state_->name; }

DType Variable::dtype() const {
  return status().ok() ? state_->resource->dtype() : DType::kInvalid;
}

Shape Variable::shape() const {
  if (!status().ok()) return Shape::Unknown();
  if (state_->resource->shape().fully_known()) return state_->resource->shape();
  StatusOr<Tensor> value = state_->resource->Read();
  return value.ok() ? value->shape() : state_->resource->shape();
}

bool Variable::trainable() const { return state_ != nullptr && state_->trainable; }

StatusOr<Tensor> Variable::Read() const {
  SM_RETURN_IF_ERROR(status());
  return state_->resource->Read();
}

Tensor Variable::value() const {
  StatusOr<Tensor> value = Read();
  return value.ok() ? std::move(value).value() : Tensor();
}

Status Variable::Assign(const Tensor& value) const {
  SM_RETURN_IF_ERROR(status());
  if (!value.shape().CompatibleWith(state_->resource->shape())) {
    return InvalidArgument("variable '", name(), "' has shape ", state_->resource->shape(),
                           ", cannot assign ", value.TypeString());
  }
  SM_ASSIGN_OR_RETURN(Tensor copy, value.Clone());
  return state_->resource->Assign(std::move(copy));
}

namespace api {

Variable ModelImpl::MakeVariable(const VariableEntry& entry) const {
  auto state = std::make_shared<VariableState>();
  state->model = shared_from_this();
  state->resource = entry.resource;
  state->name = entry.name;
  state->trainable = entry.trainable;
  Variable v;
  v.state_ = std::move(state);
  return v;
}

}  // namespace api

Object Object::FromError(const Status& status) {
  Object object;
  object.error_ = status;
  return object;
}

Status Object::status() const {
  if (!error_.ok()) return error_;
  if (model_ == nullptr) return FailedPrecondition("an empty Object; get one from a Model");
  return Status();
}

std::string Object::path() const { return path_; }

namespace {

// Node numbers of TensorFlow 1's tree, which is a root over the variables.
constexpr int kRoot = -1;
constexpr int kFirstVariable = -2;  // the others follow downwards

bool IsPlainVariable(int node) { return node <= kFirstVariable; }

const ObjectNode* NodeOf(const std::shared_ptr<const api::ModelImpl>& model, int node) {
  if (model == nullptr || node < 0 || node >= static_cast<int>(model->meta.objects->nodes.size())) {
    return nullptr;
  }
  return &model->meta.objects->nodes[node];
}

// The variable of a node; null for a node of another kind.
std::shared_ptr<VariableResource> ResourceOf(const std::shared_ptr<const api::ModelImpl>& model,
                                             int node) {
  const ObjectNode* object = NodeOf(model, node);
  if (object == nullptr || object->kind != ObjectKind::kVariable) return nullptr;
  return std::dynamic_pointer_cast<VariableResource>(
      model->node_values[node].data<ResourceRef>()[0]);
}

}  // namespace

Object::Kind Object::kind() const {
  if (IsPlainVariable(node_)) return Kind::kVariable;
  const ObjectNode* node = NodeOf(model_, node_);
  if (node == nullptr) return status().ok() ? Kind::kObject : Kind::kNone;
  switch (node->kind) {
    case ObjectKind::kUserObject:
      return Kind::kObject;
    case ObjectKind::kVariable:
      return Kind::kVariable;
    case ObjectKind::kFunction:
    case ObjectKind::kBareConcreteFunction:
      return Kind::kFunction;
    case ObjectKind::kConstant:
    case ObjectKind::kCapturedTensor:
      return Kind::kConstant;
    case ObjectKind::kAsset:
      return Kind::kAsset;
    case ObjectKind::kResource:
      return Kind::kResource;
  }
  return Kind::kNone;
}

std::string Object::type_name() const {
  if (IsPlainVariable(node_)) return "variable";
  const ObjectNode* node = NodeOf(model_, node_);
  if (node == nullptr) return status().ok() ? "graph" : "";
  switch (node->kind) {
    case ObjectKind::kUserObject:
      return node->identifier;
    case ObjectKind::kVariable:
      return "variable";
    case ObjectKind::kFunction:
      return "function";
    case ObjectKind::kBareConcreteFunction:
      return "concrete_function";
    case ObjectKind::kConstant:
      return "constant";
    case ObjectKind::kCapturedTensor:
      return "captured_tensor";
    case ObjectKind::kAsset:
      return "asset";
    case ObjectKind::kResource:
      return "resource";
  }
  return "";
}

std::vector<std::pair<std::string, Object>> Object::children() const {
  std::vector<std::pair<std::string, Object>> out;
  const ObjectNode* node = NodeOf(model_, node_);
  if (node != nullptr) {
    for (const ObjectChild& child : node->children)
      out.emplace_back(child.name, (*this)[child.name]);
  } else if (status().ok() && node_ == kRoot) {
    for (const auto& entry : model_->variables) out.emplace_back(entry.path, (*this)[entry.path]);
  }
  return out;
}

Object Object::operator[](const std::string& child) const {
  if (!status().ok()) return *this;
  Object object;
  object.model_ = model_;
  object.path_ = path_.empty() || path_ == "." ? child : path_ + "." + child;
  const ObjectNode* node = NodeOf(model_, node_);
  if (node == nullptr) {  // TensorFlow 1: the root's children are the variables, by name
    for (size_t i = 0; node_ == kRoot && i < model_->variables.size(); ++i) {
      if (model_->variables[i].path == child) {
        object.node_ = kFirstVariable - static_cast<int>(i);
        return object;
      }
    }
  } else {
    object.node_ = node->FindChild(child);
    if (object.node_ >= 0) return object;
  }
  std::string names;
  for (size_t i = 0; node != nullptr && i < node->children.size() && i < 20; ++i) {
    names += (i > 0 ? ", " : "") + node->children[i].name;
  }
  return FromError(NotFound("object '", object.path_, "': no such child; found {", names, "}"));
}

Object Object::operator[](int index) const { return (*this)[std::to_string(index)]; }

Variable Object::variable() const {
  if (!status().ok()) return Variable::FromError(status());
  if (IsPlainVariable(node_))
    return model_->MakeVariable(model_->variables[kFirstVariable - node_]);
  const std::shared_ptr<VariableResource> resource = ResourceOf(model_, node_);
  if (resource != nullptr) {
    const VariableFacts& declared = NodeOf(model_, node_)->variable;
    return model_->MakeVariable({path_, declared.name, resource, declared.trainable, node_});
  }
  return Variable::FromError(
      InvalidArgument("object '", path_, "' is a ", type_name(), ", no variable"));
}

Variable Object::slot(const Variable& variable, const std::string& name) const {
  if (!status().ok()) return Variable::FromError(status());
  if (!variable.status().ok()) return variable;
  std::set<std::string> names;
  const ObjectNode* optimizer = NodeOf(model_, node_);
  if (optimizer != nullptr) {
    for (const SlotVariable& slot : optimizer->slots) {
      if (ResourceOf(model_, slot.variable) != variable.state_->resource) continue;
      names.insert(slot.name);
      const std::shared_ptr<VariableResource> resource = ResourceOf(model_, slot.slot);
      if (slot.name != name || resource == nullptr) continue;
      const VariableFacts& declared = NodeOf(model_, slot.slot)->variable;
      return model_->MakeVariable({"", declared.name, resource, declared.trainable, slot.slot});
    }
  }
  return Variable::FromError(NotFound("object '", path_, "' keeps no '", name, "' for variable '",
                                      variable.name(), "'; found {", StrJoin(names, ", "), "}"));
}

Function Object::function() const {
  if (!status().ok()) return Function::FromError(status());
  const ObjectNode* node = NodeOf(model_, node_);
  if (node == nullptr) {
    return Function::FromError(InvalidArgument("object '", path_, "' is no function"));
  }
  if (node->kind == ObjectKind::kUserObject && node->FindChild("__call__") >= 0) {
    return (*this)["__call__"].function();
  }
  return Function(model_->MakeFunction(node_, path_));
}

StatusOr<Tensor> Object::Read() const {
  SM_RETURN_IF_ERROR(status());
  if (kind() == Kind::kVariable) return variable().Read();
  const bool readable = kind() == Kind::kConstant || kind() == Kind::kAsset;
  if (readable && model_->node_values[node_].has_value()) return model_->node_values[node_];
  return InvalidArgument("object '", path_, "' is a ", type_name(),
                         "; only variables, constants and assets can be read");
}

}  // namespace savedmodel
