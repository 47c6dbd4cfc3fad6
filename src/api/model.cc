#include "savedmodel/model.h"

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

Status EmptyModel() { return FailedPrecondition("an empty Model; savedmodel::Load makes one"); }

}  // namespace

Model Model::FromError(const Status& status) {
  auto impl = std::make_shared<api::ModelImpl>();
  impl->error = status;
  return Model(std::move(impl));
}

const Status& Model::status() const {
  static const Status* const empty = new Status(EmptyModel());
  return impl_ == nullptr ? *empty : impl_->error;
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
  StatusOr<std::shared_ptr<const api::Executable>> executable = impl_->Pruned(feeds, fetches, {});
  if (!executable.ok()) return Function::FromError(executable.status().At("Prune"));
  auto f = std::make_shared<api::FunctionImpl>();
  f->model = impl_;
  f->name = "pruned graph";
  f->executable = *executable;
  (*executable)->Describe(feeds, fetches, &f->inputs, &f->outputs);
  return Function(std::move(f));
}

StatusOr<Model> LoadGraphDef(const std::string& bytes, const LoadOptions& options) {
  auto impl = std::make_shared<api::ModelImpl>();
  api::SetUpContext(options, &impl->context);
  SM_ASSIGN_OR_RETURN(impl->main, LoadGraphDef(bytes, *impl->context.registry));
  impl->context.functions = impl->main.functions;
  return Model(std::move(impl));
}

}  // namespace savedmodel
