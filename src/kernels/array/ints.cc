#include "src/kernels/array/ints.h"

namespace savedmodel {

std::vector<int64_t> ReadInts(const Tensor& t) {
  const IntReader reader(t);
  std::vector<int64_t> out(t.num_elements());
  for (size_t i = 0; i < out.size(); ++i) out[i] = reader[i];
  return out;
}

bool KnownInts(const ShapeContext& ctx, int i, std::vector<int64_t>* out) {
  const Tensor* t = ctx.value(i);
  if (t == nullptr) return false;
  *out = ReadInts(*t);
  return true;
}

StatusOr<bool> KnownScalar(const ShapeContext& ctx, int i, int64_t* out) {
  const Shape& s = ctx.input(i);
  if (s.fully_known() && s.num_elements() != 1) {
    return InvalidArgument("input ", i, " has shape ", s, "; expected a scalar");
  }
  const Tensor* t = ctx.value(i);
  if (t == nullptr) return false;
  SM_RETURN_IF_ERROR(ExpectOneElement(*t, "value"));
  *out = IntReader(*t)[0];
  return true;
}

StatusOr<Shape> ShapeOf(const std::vector<int64_t>& dims) {
  for (int64_t d : dims) {
    SM_CHECK_ARG(d >= 0, "found dimensions ", dims, ", expected no negative one");
  }
  return Shape::Make(dims);
}

Strides StridesOf(const Shape& shape) {
  Strides strides(static_cast<size_t>(shape.rank()));
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

Status ExpectOneElement(const Tensor& t, std::string_view what) {
  SM_CHECK_ARG(t.num_elements() == 1, what, " has shape ", t.shape(), "; expected a scalar");
  return Status();
}

void StoreInt(Tensor& t, int64_t i, int64_t value) {
  switch (t.dtype()) {
    case DType::kInt32:
      static_cast<int32_t*>(t.raw_mutable_data())[i] = static_cast<int32_t>(value);
      return;
    case DType::kInt64:
      static_cast<int64_t*>(t.raw_mutable_data())[i] = value;
      return;
    case DType::kInt16:
      static_cast<int16_t*>(t.raw_mutable_data())[i] = static_cast<int16_t>(value);
      return;
    default:
      return;
  }
}

}  // namespace savedmodel
