#include "savedmodel/shape.h"

#include <algorithm>
#include <cstring>

#include "src/base/status_macros.h"

namespace savedmodel {

Shape::Shape(const int64_t* dims, size_t rank) {
  if (rank > static_cast<size_t>(kMaxRank)) {
    num_elements_ = kInvalid;
    return;
  }
  rank_ = static_cast<int>(rank);
  int64_t* out = inline_;
  if (rank_ > kInline) out = heap_ = new int64_t[rank];
  if (rank_ > 0) std::memcpy(out, dims, rank * sizeof(int64_t));
  // A zero dimension makes the product zero, but the others must still fit by themselves:
  // strides are products of any run of dimensions.
  bool unknown = false, zero = false;
  int64_t product = 1;
  for (int i = 0; i < rank_; ++i) {
    const int64_t d = out[i];
    if (d < -1) {
      num_elements_ = kInvalid;
      return;
    }
    if (d == -1) unknown = true;
    if (d == 0) zero = true;
    if (d > 0 && __builtin_mul_overflow(product, d, &product)) {
      num_elements_ = kInvalid;
      return;
    }
  }
  num_elements_ = unknown ? -1 : zero ? 0 : product;
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
  return rank < 0 ? Unknown() : Shape(std::vector<int64_t>(rank, -1));
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
  std::vector<int64_t> dims = ToVector();
  for (int i = 0; i < rank_; ++i) {
    if (dims[i] != other.dim(i)) dims[i] = -1;
  }
  return Shape(dims);
}

StatusOr<Shape> Shape::Merge(const Shape& other) const {
  if (!CompatibleWith(other)) {
    return InvalidArgument("shapes ", *this, " and ", other, " contradict each other");
  }
  if (!known_rank()) return other;
  if (!other.known_rank()) return *this;
  std::vector<int64_t> dims = ToVector();
  for (int i = 0; i < rank_; ++i) dims[i] = std::max(dims[i], other.dim(i));
  return Shape(dims);
}

Shape Shape::WithDim(int i, int64_t dim) const {
  std::vector<int64_t> dims = ToVector();
  dims[i] = dim;
  return Shape(dims);
}

Shape Shape::WithInserted(int i, int64_t dim) const {
  if (!known_rank()) return Unknown();
  std::vector<int64_t> dims = ToVector();
  dims.insert(dims.begin() + i, dim);
  return Shape(dims);
}

Shape Shape::WithRemoved(int i) const {
  std::vector<int64_t> dims = ToVector();
  dims.erase(dims.begin() + i);
  return Shape(dims);
}

Shape Shape::Slice(int from, int to) const {
  return Shape(dims() + from, static_cast<size_t>(std::max(0, to - from)));
}

Shape Shape::Concat(const Shape& tail) const {
  if (!known_rank() || !tail.known_rank()) return Unknown();
  std::vector<int64_t> dims = ToVector();
  dims.insert(dims.end(), tail.begin(), tail.end());
  return Shape(dims);
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
