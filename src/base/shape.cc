#include "savedmodel/shape.h"

#include <algorithm>
#include <cstring>

#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

// Dimensions of a shape that is being made, of two others at most.
class Dims {
 public:
  void Append(int count, int64_t dim) {
    for (; count > 0; --count) dims_[size_++] = dim;
  }
  void Append(const int64_t* begin, const int64_t* end) {
    for (; begin < end; ++begin) dims_[size_++] = *begin;
  }
  operator Shape() const { return Shape(dims_, size_); }

 private:
  int64_t dims_[2 * Shape::kMaxRank + 1];
  size_t size_ = 0;
};

}  // namespace

Shape::Shape(const int64_t* dims, size_t rank) {
  if (rank > static_cast<size_t>(kMaxRank)) {
    num_elements_ = kInvalid;
    return;
  }
  rank_ = static_cast<int>(rank);
  int64_t* out = inline_;
  if (rank_ > kInline) out = heap_ = new int64_t[rank];
  // A zero dimension makes the product zero, but the others must still fit by themselves:
  // strides are products of any run of dimensions.
  bool unknown = false, zero = false, invalid = false;
  int64_t product = 1;
  for (int i = 0; i < rank_; ++i) {
    const int64_t d = dims[i];
    out[i] = d;
    invalid |= d < -1;
    unknown |= d == -1;
    zero |= d == 0;
    if (d > 0) invalid |= __builtin_mul_overflow(product, d, &product);
  }
  num_elements_ = invalid ? kInvalid : unknown ? -1 : zero ? 0 : product;
}

void Shape::CopyHeap() {
  const int64_t* dims = heap_;
  heap_ = new int64_t[rank_];
  std::memcpy(heap_, dims, rank_ * sizeof(int64_t));
}

StatusOr<Shape> Shape::Make(const std::vector<int64_t>& dims) {
  Shape shape(dims);
  if (!shape.valid()) {
    return InvalidArgument("shape: found dimensions ", dims,
                           ", expected at most 254 of them, each >= -1, with fewer than 2^63 "
                           "elements in all");
  }
  return shape;
}

Shape Shape::Unknown() {
  Shape shape;
  shape.rank_ = -1;
  shape.num_elements_ = -1;
  return shape;
}

Shape Shape::UnknownOfRank(int rank) {
  if (rank < 0) return Unknown();
  Dims dims;
  dims.Append(rank, -1);
  return dims;
}

int64_t Shape::Product(int from, int to) const {
  int64_t product = 1;
  for (int i = from; i < to; ++i) product *= dims()[i];
  return product;
}

bool Shape::CompatibleWith(const Shape& other) const {
  if (!known_rank() || !other.known_rank()) return true;
  if (rank_ != other.rank_) return false;
  for (int i = 0; i < rank_; ++i) {
    if (dim(i) >= 0 && other.dim(i) >= 0 && dim(i) != other.dim(i)) return false;
  }
  return true;
}

Shape Shape::Generalize(const Shape& other) const {
  if (rank_ != other.rank_ || rank_ < 0) return Unknown();
  Dims dims;
  for (int i = 0; i < rank_; ++i) dims.Append(1, dim(i) == other.dim(i) ? dim(i) : -1);
  return dims;
}

StatusOr<Shape> Shape::Merge(const Shape& other) const {
  if (!CompatibleWith(other)) {
    return InvalidArgument("shapes ", *this, " and ", other, " contradict each other");
  }
  if (!known_rank()) return other;
  if (!other.known_rank()) return *this;
  Dims dims;
  for (int i = 0; i < rank_; ++i) dims.Append(1, std::max(dim(i), other.dim(i)));
  return Shape(dims);
}

Shape Shape::WithDim(int i, int64_t dim) const {
  Dims dims;
  dims.Append(begin(), begin() + i);
  dims.Append(1, dim);
  dims.Append(begin() + i + 1, end());
  return dims;
}

Shape Shape::WithInserted(int i, int64_t dim) const {
  if (!known_rank()) return Unknown();
  Dims dims;
  dims.Append(begin(), begin() + i);
  dims.Append(1, dim);
  dims.Append(begin() + i, end());
  return dims;
}

Shape Shape::WithRemoved(int i) const {
  Dims dims;
  dims.Append(begin(), begin() + i);
  dims.Append(begin() + i + 1, end());
  return dims;
}

Shape Shape::Slice(int from, int to) const {
  return Shape(dims() + from, static_cast<size_t>(std::max(0, to - from)));
}

Shape Shape::Concat(const Shape& tail) const {
  if (!known_rank() || !tail.known_rank()) return Unknown();
  Dims dims;
  dims.Append(begin(), end());
  dims.Append(tail.begin(), tail.end());
  return dims;
}

std::string Shape::ToString() const {
  if (!known_rank()) return "?";
  std::string out = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) out += ',';
    out += dim(i) == -1 ? "?" : std::to_string(dim(i));
  }
  return out + "]";
}

bool operator==(const Shape& a, const Shape& b) {
  return a.rank_ == b.rank_ && a.num_elements_ == b.num_elements_ &&
         std::equal(a.begin(), a.end(), b.begin());
}

}  // namespace savedmodel
