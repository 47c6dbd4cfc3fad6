/// Tensor: a typed, shaped, shared block of elements.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/dtype.h"
#include "savedmodel/export.h"
#include "savedmodel/shape.h"
#include "savedmodel/span.h"
#include "savedmodel/status.h"

namespace savedmodel {

/// A limit on the bytes that tensors of one run (or one load) may hold at a time.
///
/// Every allocation made under a budget is charged before memory is asked for, and returned when
/// the buffer is freed. Thread-safe.
class SAVEDMODEL_EXPORT MemoryBudget {
 public:
  /// A budget of `limit` bytes; negative means unlimited.
  explicit MemoryBudget(int64_t limit) : limit_(limit) {}
  /// Takes `bytes`, or returns false and takes nothing.
  bool Charge(int64_t bytes);
  void Refund(int64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  int64_t used() const { return used_.load(std::memory_order_relaxed); }
  int64_t limit() const { return limit_; }

 private:
  const int64_t limit_;
  std::atomic<int64_t> used_{0};
};

namespace internal {

/// Counted owner of a tensor's bytes. `kind`-specific clean-up runs when the last Tensor goes.
struct SAVEDMODEL_EXPORT Buffer {
  std::atomic<int32_t> references{1};
  bool writable = true;
  void (*destroy)(Buffer*) = nullptr;  // frees the elements and the Buffer itself

  void Ref() { references.fetch_add(1, std::memory_order_relaxed); }
  void Unref() {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(this);
  }
};

}  // namespace internal

/// A dense array of elements: dtype, shape, and a counted buffer.
///
/// Copying a Tensor shares its elements. Elements of a shared Tensor are immutable: `mutable_data`
/// first gives the Tensor a buffer of its own (copy on write). Different Tensor objects may be
/// used from different threads even when they share elements; one Tensor object follows the usual
/// rule for values (no write concurrent with any other access).
///
/// The buffer is owned (64-byte aligned), a part of a mapped checkpoint file, or borrowed from the
/// host. Elements lie in row-major order.
class SAVEDMODEL_EXPORT Tensor {
 public:
  /// An empty handle: dtype kInvalid, no elements.
  Tensor() = default;
  Tensor(const Tensor& other)
      : dtype_(other.dtype_), shape_(other.shape_), data_(other.data_), buffer_(other.buffer_) {
    if (buffer_ != nullptr) buffer_->Ref();
  }
  Tensor(Tensor&& other) noexcept
      : dtype_(std::exchange(other.dtype_, DType::kInvalid)),
        shape_(std::move(other.shape_)),
        data_(std::exchange(other.data_, nullptr)),
        buffer_(std::exchange(other.buffer_, nullptr)) {}
  Tensor& operator=(const Tensor& other) {
    if (this != &other) *this = Tensor(other);
    return *this;
  }
  Tensor& operator=(Tensor&& other) noexcept {
    std::swap(dtype_, other.dtype_);
    std::swap(shape_, other.shape_);
    std::swap(data_, other.data_);
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~Tensor() {
    if (buffer_ != nullptr) buffer_->Unref();
  }

  /// A scalar. T is an element type that DTypeOf knows, or convertible to std::string.
  template <class T>
  static Tensor Scalar(T value);
  /// A tensor of rank 1 with a copy of `values`.
  template <class T>
  static Tensor Vector(const std::vector<T>& values);
  template <class T>
  static Tensor Vector(std::initializer_list<T> values) {
    return Vector(std::vector<T>(values));
  }
  /// A tensor of `shape` with a copy of `values` (row-major).
  /// INVALID_ARGUMENT when the counts differ.
  template <class T>
  static StatusOr<Tensor> FromVector(const std::vector<T>& values, const Shape& shape);

  /// A new tensor. Plain elements are uninitialised; strings are empty, handles null.
  /// INVALID_ARGUMENT for an invalid or not fully known shape, RESOURCE_EXHAUSTED when `budget`
  /// refuses or memory is short.
  static StatusOr<Tensor> Allocate(DType dtype, const Shape& shape,
                                   std::shared_ptr<MemoryBudget> budget = nullptr);
  /// As Allocate, with all bytes zero.
  static StatusOr<Tensor> Zeros(DType dtype, const Shape& shape,
                                std::shared_ptr<MemoryBudget> budget = nullptr);
  /// A tensor over `bytes` bytes of the caller's memory, without copying. `release` runs when the
  /// last Tensor sharing them goes; until then the memory must stay valid and unchanged. Plain
  /// dtypes only. INVALID_ARGUMENT when `bytes` is not what dtype and shape take.
  static StatusOr<Tensor> Borrow(DType dtype, const Shape& shape, const void* data, size_t bytes,
                                 std::function<void()> release = nullptr);
  /// As Borrow over memory that may be written: what a bound output is.
  static StatusOr<Tensor> BorrowMutable(DType dtype, const Shape& shape, void* data, size_t bytes,
                                        std::function<void()> release = nullptr);
  /// A tensor without a buffer over memory that outlives it by other means (a run's arena).
  static Tensor View(DType dtype, const Shape& shape, void* data);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t num_elements() const { return dtype_ == DType::kInvalid ? 0 : shape_.num_elements(); }
  size_t num_bytes() const { return static_cast<size_t>(num_elements()) * DTypeSize(dtype_); }
  /// True for anything but the empty handle.
  bool has_value() const { return dtype_ != DType::kInvalid; }

  /// The elements, or nullptr when this tensor does not store T.
  template <class T>
  const T* data() const {
    return IsStoredAs<T>(dtype_) ? static_cast<const T*>(data_) : nullptr;
  }
  /// The elements for writing, after making them this Tensor's own; nullptr when this tensor does
  /// not store T, or memory is short.
  template <class T>
  T* mutable_data() {
    if (!IsStoredAs<T>(dtype_) || !MakeExclusive()) return nullptr;
    return static_cast<T*>(data_);
  }
  /// All elements; empty when this tensor does not store T.
  template <class T>
  Span<const T> values() const {
    const T* p = data<T>();
    return p == nullptr ? Span<const T>() : Span<const T>(p, static_cast<size_t>(num_elements()));
  }
  /// A copy of the elements; empty when this tensor does not store T.
  template <class T>
  std::vector<T> ToVector() const {
    const Span<const T> v = values<T>();
    return std::vector<T>(v.begin(), v.end());
  }
  const void* raw_data() const { return data_; }
  /// The elements for writing without a check for sharing: for code that made the tensor.
  void* raw_mutable_data() { return data_; }

  /// The same elements under another shape of as many elements, or another dtype of the same
  /// element size. The caller has checked both.
  Tensor WithShape(const Shape& shape) const&;
  Tensor WithShape(const Shape& shape) &&;
  Tensor WithDType(DType dtype) const;
  /// Rows [begin, end) of the first dimension, sharing elements. The caller has checked the range.
  Tensor Rows(int64_t begin, int64_t end) const;
  /// A tensor with the same elements that owns its buffer: itself, or a copy of a View.
  StatusOr<Tensor> Owned(std::shared_ptr<MemoryBudget> budget = nullptr) const;
  /// A copy with a buffer of its own.
  StatusOr<Tensor> Clone(std::shared_ptr<MemoryBudget> budget = nullptr) const;

  /// True when no other Tensor shares the elements and they may be written.
  bool exclusive() const {
    return buffer_ != nullptr && buffer_->writable &&
           buffer_->references.load(std::memory_order_acquire) == 1;
  }
  bool is_view() const { return buffer_ == nullptr && data_ != nullptr; }

  /// "float[2,3]"
  std::string TypeString() const;
  /// Type and the first `max_elements` elements, numpy-like, for messages and printing.
  std::string ToString(int64_t max_elements = 32) const;

 private:
  Tensor(DType dtype, const Shape& shape, void* data, internal::Buffer* buffer)
      : dtype_(dtype), shape_(shape), data_(data), buffer_(buffer) {}
  bool MakeExclusive();
  static Tensor MustAllocate(DType dtype, const Shape& shape);

  DType dtype_ = DType::kInvalid;
  Shape shape_;
  void* data_ = nullptr;
  internal::Buffer* buffer_ = nullptr;
};

template <class T>
Tensor Tensor::Scalar(T value) {
  if constexpr (std::is_convertible_v<T, std::string>) {
    Tensor t = MustAllocate(DType::kString, Shape());
    static_cast<std::string*>(t.data_)[0] = std::move(value);
    return t;
  } else {
    Tensor t = MustAllocate(DTypeOf<T>::value, Shape());
    static_cast<T*>(t.data_)[0] = std::move(value);
    return t;
  }
}

template <class T>
Tensor Tensor::Vector(const std::vector<T>& values) {
  Tensor t = MustAllocate(DTypeOf<T>::value, Shape({static_cast<int64_t>(values.size())}));
  T* out = static_cast<T*>(t.data_);
  for (size_t i = 0; i < values.size(); ++i) out[i] = values[i];
  return t;
}

template <class T>
StatusOr<Tensor> Tensor::FromVector(const std::vector<T>& values, const Shape& shape) {
  if (shape.num_elements() != static_cast<int64_t>(values.size())) {
    return Status(StatusCode::kInvalidArgument,
                  "Tensor::FromVector: found " + std::to_string(values.size()) +
                      " values, expected as many as shape " + shape.ToString() + " has elements");
  }
  return Vector(values).WithShape(shape);
}

}  // namespace savedmodel
