/// Tensor shapes with checked arithmetic.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/status.h"

namespace savedmodel {

/// A shape: dimensions, each >= 0 or -1 (unknown), or unknown rank.
///
/// The number of elements is computed once, at construction, with overflow checks. A Shape that
/// would hold 2^63 elements or more, has a dimension below -1 or a rank above 254 is *invalid*:
/// `valid()` is false, and allocating a tensor of it is an error. `Make` reports that as a Status.
class SAVEDMODEL_EXPORT Shape {
 public:
  static constexpr int kMaxRank = 254;

  /// A scalar: rank 0, one element.
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(dims.begin(), dims.size()) {}
  explicit Shape(const std::vector<int64_t>& dims) : Shape(dims.data(), dims.size()) {}
  Shape(const int64_t* dims, size_t rank);
  Shape(const Shape& other) { CopyFrom(other); }
  Shape(Shape&& other) noexcept { TakeFrom(other); }
  Shape& operator=(const Shape& other) {
    if (this == &other) return *this;
    Release();
    CopyFrom(other);
    return *this;
  }
  Shape& operator=(Shape&& other) noexcept {
    if (this == &other) return *this;
    Release();
    TakeFrom(other);
    return *this;
  }
  ~Shape() { Release(); }

  /// The shape with these dimensions. INVALID_ARGUMENT where it would be invalid.
  static StatusOr<Shape> Make(const std::vector<int64_t>& dims);
  /// The shape of which not even the rank is known.
  static Shape Unknown();
  /// Rank `rank` with all dimensions unknown.
  static Shape UnknownOfRank(int rank);

  bool valid() const { return num_elements_ != kInvalid; }
  bool known_rank() const { return rank_ >= 0; }
  /// True when every dimension is known (and the shape is valid): a tensor can have it.
  bool fully_known() const { return num_elements_ >= 0; }
  /// Number of dimensions; -1 when unknown.
  int rank() const { return rank_; }
  /// Dimension `i`, 0 <= i < rank(); -1 when unknown.
  int64_t dim(int i) const { return dims()[i]; }
  int64_t operator[](int i) const { return dims()[i]; }
  const int64_t* dims() const { return rank_ > kInline ? heap_ : inline_; }
  const int64_t* begin() const { return dims(); }
  const int64_t* end() const { return dims() + (rank_ > 0 ? rank_ : 0); }
  std::vector<int64_t> ToVector() const { return std::vector<int64_t>(begin(), end()); }

  /// Product of all dimensions; negative when not fully known or invalid.
  int64_t num_elements() const { return num_elements_; }
  /// Product of dimensions [from, to) of a fully known shape; 1 for an empty range.
  int64_t Product(int from, int to) const;

  /// True when no known dimension of the two contradicts.
  bool CompatibleWith(const Shape& other) const;
  /// The shape that knows what both know: equal dimensions stay, others become unknown.
  Shape Generalize(const Shape& other) const;
  /// The shape with what either knows; INVALID_ARGUMENT when they contradict.
  StatusOr<Shape> Merge(const Shape& other) const;

  /// The same shape with dimension `i` set to, inserted as, or appended as `dim`.
  Shape WithDim(int i, int64_t dim) const;
  Shape WithInserted(int i, int64_t dim) const;
  Shape WithAppended(int64_t dim) const { return WithInserted(rank(), dim); }
  Shape WithRemoved(int i) const;
  /// Dimensions [from, to).
  Shape Slice(int from, int to) const;
  /// Dimensions of this shape, then those of `tail`; unknown rank when either rank is unknown.
  Shape Concat(const Shape& tail) const;

  /// "[2,?,3]", "[]" for a scalar, "?" for unknown rank.
  std::string ToString() const;

  friend bool operator==(const Shape& a, const Shape& b);
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }

 private:
  static constexpr int kInline = 6;
  static constexpr int64_t kInvalid = -2;

  void Release() {
    if (rank_ > kInline) delete[] heap_;
  }
  void CopyFrom(const Shape& other) {
    std::memcpy(inline_, other.inline_, sizeof(inline_));
    rank_ = other.rank_;
    num_elements_ = other.num_elements_;
    if (rank_ > kInline) CopyHeap();
  }
  void TakeFrom(Shape& other) {
    std::memcpy(inline_, other.inline_, sizeof(inline_));
    rank_ = other.rank_;
    num_elements_ = other.num_elements_;
    other.rank_ = 0;
    other.num_elements_ = 1;
  }
  // Makes the dimensions, which another shape owns, its own.
  void CopyHeap();

  int rank_ = 0;
  int64_t num_elements_ = 1;
  union {
    int64_t inline_[kInline] = {};
    int64_t* heap_;
  };
};

}  // namespace savedmodel
