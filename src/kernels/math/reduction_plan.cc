#include "src/base/status_macros.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/reduction.h"

namespace savedmodel {

Status ReductionShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  const bool keep_dims = ctx.attrs().Bool("keep_dims");
  std::vector<int64_t> axes;
  if (!in.known_rank()) return Status();
  if (!ctx.IntValues(1, &axes)) {
    if (keep_dims) ctx.set_output(0, Shape::UnknownOfRank(in.rank()));
    return Status();
  }
  std::vector<bool> reduced(in.rank());
  for (int64_t a : axes) {
    SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(a, in.rank()));
    SM_CHECK_ARG(!reduced[axis], "axes to reduce contain dimension ", axis, " twice");
    reduced[axis] = true;
  }
  std::vector<int64_t> dims;
  for (int i = 0; i < in.rank(); ++i) {
    if (!reduced[i]) {
      dims.push_back(in[i]);
    } else if (keep_dims) {
      dims.push_back(1);
    }
  }
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

ReductionPlan PlanReduction(const Shape& shape, const std::vector<int64_t>& axes) {
  std::vector<bool> reduced(shape.rank());
  for (int64_t a : axes) reduced[a < 0 ? a + shape.rank() : a] = true;
  ReductionPlan plan;
  int64_t step = 1;
  bool last_reduced = false;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    const int64_t size = shape[i];
    if (size == 1) continue;
    ReductionPlan::Dims& dims = reduced[i] ? plan.reduced : plan.kept;
    (reduced[i] ? plan.inputs : plan.outputs) *= size;
    if (!dims.empty() && last_reduced == reduced[i]) {
      dims.front().size *= size;
    } else {
      dims.insert(dims.begin(), {size, step});
    }
    last_reduced = reduced[i];
    step *= size;
  }
  return plan;
}

}  // namespace savedmodel
