// TensorFlow 1's view of a model.
#include "savedmodel/model.h"
#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel {

Session Session::FromError(const Status& status) {
  Session session;
  session.error_ = status;
  return session;
}

Status Session::status() const {
  if (!error_.ok()) return error_;
  if (model_ == nullptr) return FailedPrecondition("an empty Session; get one from a Model");
  return model_->error;
}

StatusOr<std::vector<Tensor>> Session::Run(const TensorMap& feeds,
                                           const std::vector<std::string>& fetches,
                                           const std::vector<std::string>& targets,
                                           const RunOptions& options) const {
  SM_RETURN_IF_ERROR(status());
  model_->RestoreMainGraph();
  RunState run = model_->context.MakeRun(options);
  SM_ASSIGN_OR_RETURN(std::vector<Tensor> outputs,
                      model_->RunSession(feeds, fetches, targets, run));
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].has_value()) {
      return InvalidArgument("tensor '", fetches[i],
                             "' lies on a branch that this run did not take");
    }
  }
  return outputs;
}

}  // namespace savedmodel
