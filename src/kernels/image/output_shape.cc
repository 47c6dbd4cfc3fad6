#include "src/kernels/image/output_shape.h"

#include <vector>

#include "src/base/status_macros.h"

namespace savedmodel {

Status SetImageOutput(ShapeContext& ctx, int64_t batch, int64_t depth, int size_input,
                      std::string_view name) {
  std::vector<int64_t> dims = {batch, -1, -1, depth}, size;
  if (ctx.IntValues(size_input, &size)) {
    SM_CHECK_ARG(size.size() == 2 && size[0] > 0 && size[1] > 0, name, " is ", size,
                 ", expected a height and width above 0");
    dims[1] = size[0];
    dims[2] = size[1];
  }
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

}  // namespace savedmodel
