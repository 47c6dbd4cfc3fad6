#include "savedmodel/model.h"

#include <algorithm>
#include <map>

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

Status EmptyModel() { return FailedPrecondition("an empty Model; savedmodel::Load makes one"); }

}  // namespace

Model Model::FromError(const Status& status) {
  auto impl = std::make_shared<api::ModelImpl>();
  impl->error = status;
  impl->meta.objects = std::make_shared<const ObjectGraph>();
  return Model(std::move(impl));
}

const Status& Model::status() const {
  static const Status* const empty = new Status(EmptyModel());
  return impl_ == nullptr ? *empty : impl_->error;
}

Function Model::Signature(const std::string& key) const {
  if (!status().ok()) return Function::FromError(status());
  return Function(impl_->MakeSignature(key));
}

std::vector<SignatureInfo> Model::signatures() const {
  return status().ok() ? impl_->signatures : std::vector<SignatureInfo>();
}

Object Model::root() const {
  if (!status().ok()) return Object::FromError(status());
  Object root;
  root.model_ = impl_;
  root.node_ = impl_->has_objects() ? 0 : -1;
  root.path_ = ".";
  return root;
}

Object Model::object(const std::string& path) const {
  Object object = root();
  if (path == ".") return object;
  // A child's own name may hold a dot: take the longest name that fits first.
  size_t from = 0;
  while (from <= path.size() && object.status().ok()) {
    size_t to = path.size();
    Object child = object[path.substr(from)];
    while (!child.status().ok()) {
      const size_t dot = path.rfind('.', to - 1);
      if (to == 0 || dot == std::string::npos || dot < from || dot == 0) break;
      to = dot;
      child = object[path.substr(from, to - from)];
    }
    object = std::move(child);
    from = to + 1;
  }
  return object;
}

Variable Model::variable(const std::string& path) const {
  if (!status().ok()) return Variable::FromError(status());
  const Object found = object(path);
  if (found.status().ok() && found.kind() == Object::Kind::kVariable) return found.variable();
  for (const auto& entry : impl_->variables) {
    if (entry.path == path) return impl_->MakeVariable(entry);
  }
  impl_->RestoreMainGraph();
  std::shared_ptr<VariableResource> of_main_graph = api::FindVariable(impl_->context, path);
  for (const auto& entry : impl_->variables) {
    if (entry.name != path) continue;
    if (of_main_graph == nullptr || of_main_graph == entry.resource) {
      return impl_->MakeVariable(entry);
    }
  }
  if (of_main_graph != nullptr) {
    return impl_->MakeVariable({path, path, std::move(of_main_graph), false, -1});
  }
  if (found.status().ok()) return found.variable();
  return Variable::FromError(NotFound("variable '", path, "': not in the model, which has ",
                                      impl_->variables.size(),
                                      " variables; Model::variables lists them"));
}

Function Model::function(const std::string& path) const {
  if (!status().ok()) return Function::FromError(status());
  const Object found = object(path);
  if (!found.status().ok() && impl_->context.functions != nullptr &&
      impl_->context.functions->Has(path)) {
    return Function(impl_->MakeConcrete(path));
  }
  return found.function();
}

std::vector<std::pair<std::string, Variable>> Model::variables() const {
  std::vector<std::pair<std::string, Variable>> out;
  if (!status().ok()) return out;
  for (const auto& entry : impl_->variables) {
    out.emplace_back(entry.path, impl_->MakeVariable(entry));
  }
  return out;
}

Session Model::session() const {
  if (!status().ok()) return Session::FromError(status());
  Session session;
  session.model_ = impl_;
  return session;
}

Function Model::Prune(const std::vector<std::string>& feeds,
                      const std::vector<std::string>& fetches) const {
  if (!status().ok()) return Function::FromError(status());
  impl_->RestoreMainGraph();
  StatusOr<std::shared_ptr<const api::Executable>> executable = impl_->Pruned(feeds, fetches, {});
  if (!executable.ok()) return Function::FromError(executable.status().At("Prune"));
  auto f = std::make_shared<api::FunctionImpl>();
  f->model = impl_;
  f->name = "pruned graph";
  f->returns_list = true;
  f->executable = *executable;
  (*executable)->Describe(feeds, fetches, &f->inputs, &f->outputs);
  return Function(std::move(f));
}

std::vector<Problem> Model::Check() const {
  if (!status().ok()) return {{"", "", "", status()}};
  return api::CheckModel(*impl_);
}

StatusOr<Model> Model::Clone() const {
  SM_RETURN_IF_ERROR(status());
  StatusOr<std::shared_ptr<const api::ModelImpl>> clone = api::CloneModel(*impl_);
  if (!clone.ok()) return clone.status().At("Clone");
  return Model(std::move(clone).value());
}

std::vector<std::string> Model::tags() const {
  return impl_ == nullptr ? std::vector<std::string>() : impl_->meta.tags;
}

std::string Model::tensorflow_version() const {
  return impl_ == nullptr ? "" : impl_->meta.tensorflow_version;
}

std::optional<Fingerprint> Model::fingerprint() const {
  if (impl_ == nullptr || !impl_->meta.fingerprint.has_value()) return std::nullopt;
  const LoadedFingerprint& f = *impl_->meta.fingerprint;
  return Fingerprint{f.saved_model_checksum,    f.graph_def_program_hash, f.signature_def_hash,
                     f.saved_object_graph_hash, f.checkpoint_hash,        f.uuid};
}

std::vector<std::string> Model::assets() const {
  std::vector<std::string> paths;
  if (!status().ok()) return paths;
  for (const LoadedAsset& asset : impl_->meta.assets) {  // several tensors may name one file
    if (std::find(paths.begin(), paths.end(), asset.path) == paths.end()) {
      paths.push_back(asset.path);
    }
  }
  return paths;
}

std::vector<std::string> Model::function_names() const {
  if (!status().ok() || impl_->context.functions == nullptr) return {};
  return impl_->context.functions->Names();
}

std::vector<OpUse> Model::ops() const {
  std::vector<OpUse> out;
  if (!status().ok()) return out;
  std::map<std::string, int64_t> counts;
  const auto count = [&](const Graph& graph) {
    for (const Node& node : graph.nodes()) {
      if (!node.is_arg() && node.op.front() != '_') ++counts[node.op];
    }
  };
  if (const auto main = impl_->meta.main_graph->Get(); main.ok()) count((*main)->graph);
  for (const std::string& name : function_names()) {
    FuncAttr f;
    f.name = name;
    StatusOr<std::shared_ptr<const GraphFunction>> function = impl_->context.functions->Get(f);
    if (function.ok()) count((*function)->graph);
  }
  for (const auto& [op, n] : counts) {
    out.push_back({op, n, impl_->context.registry->Find(op) != nullptr});
  }
  return out;
}

}  // namespace savedmodel
