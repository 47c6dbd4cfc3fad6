// Integer inputs of any width, and shapes made from them.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "savedmodel/op.h"
#include "src/base/status_macros.h"

namespace savedmodel {

// The elements of an integer tensor of whatever width, widened one at a time.
class IntReader {
 public:
  explicit IntReader(const Tensor& t) : data_(t.raw_data()), dtype_(t.dtype()) {}
  int64_t operator[](int64_t i) const {
    switch (dtype_) {
      case DType::kInt32:
        return static_cast<const int32_t*>(data_)[i];
      case DType::kInt64:
        return static_cast<const int64_t*>(data_)[i];
      case DType::kInt16:
        return static_cast<const int16_t*>(data_)[i];
      case DType::kUInt16:
        return static_cast<const uint16_t*>(data_)[i];
      case DType::kInt8:
        return static_cast<const int8_t*>(data_)[i];
      case DType::kUInt8:
        return static_cast<const uint8_t*>(data_)[i];
      default:
        return 0;
    }
  }

 private:
  const void* data_;
  DType dtype_;
};

// All elements of integer tensor `t`.
std::vector<int64_t> ReadInts(const Tensor& t);
// The elements of input `i`; false while not known.
bool KnownInts(const ShapeContext& ctx, int i, std::vector<int64_t>* out);
// The single element of input `i`; false while not known. INVALID_ARGUMENT when the input cannot be
// of one element.
StatusOr<bool> KnownScalar(const ShapeContext& ctx, int i, int64_t* out);

// The shape of these dimensions. INVALID_ARGUMENT for negative ones or too many elements.
StatusOr<Shape> ShapeOf(const std::vector<int64_t>& dims);
// Strides, in elements, of a fully known shape in row-major order.
using Strides = absl::InlinedVector<int64_t, 6>;
Strides StridesOf(const Shape& shape);

// INVALID_ARGUMENT, naming `what`, unless `t` has exactly one element.
Status ExpectOneElement(const Tensor& t, std::string_view what);

// Writes element `i` of `t`, whose dtype is int16, int32 or int64.
void StoreInt(Tensor& t, int64_t i, int64_t value);

}  // namespace savedmodel
