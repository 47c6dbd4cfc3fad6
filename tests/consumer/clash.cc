// A host with another abseil and another protobuf: its own namespaces of these names come first and
// hold other things under the same names. The public headers must not notice.
namespace absl {
struct Status {
  int host = 1;
};
template <class T>
struct Span;
int string_view;
}  // namespace absl
namespace google::protobuf {
enum Message { kHost = 7 };
}
namespace Eigen {
int Tensor;
}
namespace tbb {
int task_group;
}

#include <savedmodel/dtype.h>
#include <savedmodel/file_system.h>
#include <savedmodel/float16.h>
#include <savedmodel/model.h>
#include <savedmodel/op.h>
#include <savedmodel/resource.h>
#include <savedmodel/shape.h>
#include <savedmodel/span.h>
#include <savedmodel/status.h>
#include <savedmodel/tensor.h>
#include <savedmodel/thread_pool.h>
#include <savedmodel/value.h>

int main() {
  const absl::Status host;
  const auto missing = savedmodel::Load("/nonexistent");
  return host.host == 1 && google::protobuf::kHost == 7 &&
                 missing.status().code() == savedmodel::StatusCode::kNotFound
             ? 0
             : 1;
}
