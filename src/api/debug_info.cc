#include "src/loader/debug_info.h"

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel {

StatusOr<std::map<std::string, std::vector<std::string>>> Model::source_traces() const {
  SM_RETURN_IF_ERROR(status());
  return ReadDebugInfo(*impl_->context.files, impl_->directory);
}

}  // namespace savedmodel
