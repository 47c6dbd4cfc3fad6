// LookupTable, the class.
#include "src/kernels/state/lookup_table.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "src/base/status_macros.h"
#include "src/kernels/state/elements.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// The bits of number `i` of `t`, equal where the numbers are.
int64_t NumberBits(const Tensor& t, int64_t i) {
  const size_t size = DTypeSize(t.dtype());
  if (const float* p = t.data<float>(); p != nullptr && p[i] == 0) return 0;
  if (const double* p = t.data<double>(); p != nullptr && p[i] == 0) return 0;
  int64_t bits = 0;
  std::memcpy(&bits, static_cast<const char*>(t.raw_data()) + i * size, size);
  return bits;
}

bool SameElements(const Tensor& a, int64_t a_at, const Tensor& b, int64_t b_at, int64_t n) {
  if (const std::string* p = a.data<std::string>()) {
    return std::equal(p + a_at, p + a_at + n, b.data<std::string>() + b_at);
  }
  const size_t size = DTypeSize(a.dtype());
  return std::memcmp(static_cast<const char*>(a.raw_data()) + a_at * size,
                     static_cast<const char*>(b.raw_data()) + b_at * size, n * size) == 0;
}

}  // namespace

StatusOr<ResourceRef> LookupTable::Clone() const {
  auto copy = std::make_shared<LookupTable>(spec_);
  std::shared_lock<std::shared_mutex> lock(mutex_);
  copy->initialized_ = initialized_;
  copy->numbers_ = numbers_;
  copy->bytes_ = bytes_;
  copy->size_ = size_;
  if (size_ > 0) SM_RETURN_IF_ERROR(copy->TakeRows(keys_, values_, size_));
  return ResourceRef(std::move(copy));
}

int64_t LookupTable::size() const {
  std::shared_lock<std::shared_mutex> lock(mutex_);
  return size_;
}

Status LookupTable::CheckKeys(const Tensor& keys) const {
  const Shape &shape = keys.shape(), &key = spec_.key_shape;
  SM_CHECK_ARG(keys.dtype() == spec_.key_dtype, "the table's keys are ", spec_.key_dtype,
               ", found keys ", keys.TypeString());
  SM_CHECK_ARG(
      shape.rank() >= key.rank() && shape.Slice(shape.rank() - key.rank(), shape.rank()) == key,
      "keys have shape ", shape, ", expected one that ends in ", key);
  return Status();
}

bool LookupTable::IsReserved(const Tensor& keys, int64_t i) const {
  const int64_t n = spec_.key_shape.num_elements();
  return std::any_of(
      spec_.reserved_keys.begin(), spec_.reserved_keys.end(),
      [&](const Tensor& reserved) { return SameElements(keys, i * n, reserved, 0, n); });
}

// The keys that stand for no key are not looked for, inserted or removed.
Status LookupTable::CheckNotReserved(const Tensor& keys) const {
  if (spec_.reserved_keys.empty()) return Status();
  for (int64_t i = 0; i < Outer(keys).num_elements(); ++i) {
    SM_CHECK_ARG(!IsReserved(keys, i),
                 "the table's empty key and deleted key cannot be used as keys");
  }
  return Status();
}

Status LookupTable::CheckEntries(const Tensor& keys, const Tensor& values) const {
  SM_RETURN_IF_ERROR(CheckKeys(keys));
  SM_CHECK_ARG(values.dtype() == spec_.value_dtype, "the table's values are ", spec_.value_dtype,
               ", found values ", values.TypeString());
  const Shape expected = Outer(keys).Concat(spec_.value_shape);
  SM_CHECK_ARG(values.shape() == expected, "values have shape ", values.shape(), ", expected ",
               expected);
  return Status();
}

Shape LookupTable::Outer(const Tensor& keys) const {
  return keys.shape().Slice(0, keys.shape().rank() - spec_.key_shape.rank());
}

namespace {

// Key i of `keys` as bytes, where keys are strings or tensors of `n` elements.
std::string_view KeyBytes(const Tensor& keys, int64_t i, int64_t n) {
  if (const std::string* p = keys.data<std::string>()) return p[i];
  const size_t bytes = n * DTypeSize(keys.dtype());
  return {static_cast<const char*>(keys.raw_data()) + i * bytes, bytes};
}

}  // namespace

LookupTable::Key LookupTable::KeyAt(const Tensor& keys, int64_t i) const {
  if (!HasBytes()) return {.number = NumberBits(keys, i)};
  const std::string_view bytes = KeyBytes(keys, i, spec_.key_shape.num_elements());
  return {.bytes = bytes, .hash = HashOf(bytes)};
}

int64_t LookupTable::FindRow(const Key& key) const {
  if (HasBytes()) {
    const auto it = bytes_.find(key);
    return it == bytes_.end() ? -1 : it->second;
  }
  const auto it = numbers_.find(key.number);
  return it == numbers_.end() ? -1 : it->second;
}

void LookupTable::Fetch(const Key& key) const {
  HasBytes() ? bytes_.prefetch(key) : numbers_.prefetch(key.number);
}

int64_t LookupTable::FindOrAddRow(const Key& key, bool* added) {
  const int64_t row = FindRow(key);
  *added = row < 0;
  if (row >= 0) return row;
  if (HasBytes()) {
    bytes_.emplace(key.bytes, size_);
  } else {
    numbers_.emplace(key.number, size_);
  }
  return size_++;
}

// Makes room for `rows` rows.
Status LookupTable::Grow(int64_t rows) {
  const int64_t capacity = keys_.has_value() ? keys_.shape()[0] : 0;
  if (rows <= capacity) return Status();
  return TakeRows(keys_, values_, std::max({rows, 2 * capacity, int64_t{16}}));
}

Status LookupTable::TakeRows(const Tensor& from_keys, const Tensor& from_values, int64_t capacity) {
  SM_ASSIGN_OR_RETURN(Tensor keys,
                      Tensor::Zeros(spec_.key_dtype, spec_.key_shape.WithInserted(0, capacity)));
  SM_ASSIGN_OR_RETURN(
      Tensor values, Tensor::Zeros(spec_.value_dtype, spec_.value_shape.WithInserted(0, capacity)));
  if (size_ > 0) {
    SM_RETURN_IF_ERROR(CopyElements(from_keys, 0, keys, 0, size_ * spec_.key_shape.num_elements()));
    SM_RETURN_IF_ERROR(
        CopyElements(from_values, 0, values, 0, size_ * spec_.value_shape.num_elements()));
  }
  keys_ = std::move(keys);
  values_ = std::move(values);
  return Status();
}

Status LookupTable::InsertLocked(const Tensor& keys, const Tensor& values, bool keep_old) {
  const int64_t n = Outer(keys).num_elements();
  const int64_t key_size = spec_.key_shape.num_elements();
  const int64_t value_size = spec_.value_shape.num_elements();
  SM_RETURN_IF_ERROR(Grow(size_ + n));
  for (int64_t i = 0; i < n; ++i) {
    if (IsReserved(keys, i)) continue;
    bool added = false;
    const int64_t row = FindOrAddRow(KeyAt(keys, i), &added);
    if (added) {
      SM_RETURN_IF_ERROR(CopyElements(keys, i * key_size, keys_, row * key_size, key_size));
    } else if (keep_old) {
      if (SameElements(values, i * value_size, values_, row * value_size, value_size)) continue;
      return FailedPrecondition("key ", i, " comes twice, with different values");
    }
    SM_RETURN_IF_ERROR(CopyElements(values, i * value_size, values_, row * value_size, value_size));
  }
  return Status();
}

Status LookupTable::Initialize(const Tensor& keys, const Tensor& values) {
  SM_RETURN_IF_ERROR(CheckEntries(keys, values));
  std::unique_lock<std::shared_mutex> lock(mutex_);
  if (initialized_) {
    if (Outer(keys).num_elements() == size_) return Status();
    return FailedPrecondition("the table has been initialised with ", size_,
                              " other entries already");
  }
  const Status status = InsertLocked(keys, values, /*keep_old=*/true);
  initialized_ = status.ok();
  if (!status.ok()) {
    numbers_.clear();
    bytes_.clear();
    size_ = 0;
  }
  return status;
}

Status LookupTable::Insert(const Tensor& keys, const Tensor& values) {
  if (!spec_.is_mutable) return Unimplemented("this table cannot be inserted to");
  SM_RETURN_IF_ERROR(CheckEntries(keys, values));
  SM_RETURN_IF_ERROR(CheckNotReserved(keys));
  std::unique_lock<std::shared_mutex> lock(mutex_);
  return InsertLocked(keys, values, /*keep_old=*/false);
}

Status LookupTable::Import(Tensor keys, Tensor values) {
  if (!spec_.is_mutable) return Initialize(keys, values);
  if (!spec_.reserved_keys.empty() && keys.shape().rank() > 0) {
    const int64_t n = keys.shape()[0];
    const Shape key = spec_.key_shape.WithInserted(0, n);
    const Shape value = spec_.value_shape.WithInserted(0, n);
    if (keys.num_elements() == key.num_elements() &&
        values.num_elements() == value.num_elements()) {
      keys = std::move(keys).WithShape(key);
      values = std::move(values).WithShape(value);
    }
  }
  SM_RETURN_IF_ERROR(CheckEntries(keys, values));
  std::unique_lock<std::shared_mutex> lock(mutex_);
  numbers_.clear();
  bytes_.clear();
  size_ = 0;
  return InsertLocked(keys, values, /*keep_old=*/false);
}

// The last row takes the place of the removed one.
void LookupTable::RemoveRow(int64_t row) {
  const int64_t last = --size_;
  if (row == last) return;
  const int64_t key_size = spec_.key_shape.num_elements();
  const int64_t value_size = spec_.value_shape.num_elements();
  const Key key = KeyAt(keys_, last);
  (HasBytes() ? bytes_.find(key)->second : numbers_[key.number]) = row;
  (void)CopyElements(keys_, last * key_size, keys_, row * key_size, key_size);
  (void)CopyElements(values_, last * value_size, values_, row * value_size, value_size);
}

Status LookupTable::Remove(const Tensor& keys) {
  if (!spec_.is_mutable) return Unimplemented("entries of this table cannot be removed");
  SM_RETURN_IF_ERROR(CheckKeys(keys));
  SM_RETURN_IF_ERROR(CheckNotReserved(keys));
  std::unique_lock<std::shared_mutex> lock(mutex_);
  const int64_t n = Outer(keys).num_elements();
  for (int64_t i = 0; i < n; ++i) {
    const Key key = KeyAt(keys, i);
    const int64_t row = FindRow(key);
    if (row < 0) continue;
    HasBytes() ? bytes_.erase(key) : numbers_.erase(key.number);
    RemoveRow(row);
  }
  return Status();
}

Status LookupTable::Find(OpContext& ctx, const Tensor& keys, const Tensor& defaults,
                         int output) const {
  SM_RETURN_IF_ERROR(CheckKeys(keys));
  SM_RETURN_IF_ERROR(CheckNotReserved(keys));
  SM_CHECK_ARG(defaults.dtype() == spec_.value_dtype, "the table's values are ", spec_.value_dtype,
               ", found a default of ", defaults.dtype());
  const Shape outer = Outer(keys);
  const Shape shape = outer.Concat(spec_.value_shape);
  const bool one_default = defaults.shape() == spec_.value_shape;
  SM_CHECK_ARG(one_default || defaults.shape() == shape, "the default has shape ", defaults.shape(),
               ", expected ", spec_.value_shape, " or ", shape);
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, shape));
  Tensor& out = ctx.output(output);
  const int64_t size = spec_.value_shape.num_elements();
  std::shared_lock<std::shared_mutex> lock(mutex_);
  if (!spec_.is_mutable && !initialized_) {
    return FailedPrecondition("table '", name(), "' is not initialised; run its initialiser");
  }
  return VisitByElementSize(spec_.value_dtype, [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* values = static_cast<const T*>(values_.raw_data());
    const T* fallback = static_cast<const T*>(defaults.raw_data());
    T* to = static_cast<T*>(out.raw_mutable_data());
    ctx.ParallelFor(outer.num_elements(), 50, [&](int64_t begin, int64_t end) {
      constexpr int64_t kAhead = 4;
      Key fetched[kAhead];  // of the next keys
      const auto fetch = [&](int64_t i) {
        if (i >= end) return;
        fetched[i % kAhead] = KeyAt(keys, i);
        Fetch(fetched[i % kAhead]);
      };
      for (int64_t i = begin; i < begin + kAhead; ++i) fetch(i);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = FindRow(fetched[i % kAhead]);
        fetch(i + kAhead);
        const T* from = row >= 0      ? values + row * size
                        : one_default ? fallback
                                      : fallback + i * size;
        std::copy_n(from, size, to + i * size);
      }
    });
    return Status();
  });
}

Status LookupTable::Export(OpContext& ctx) const {
  std::shared_lock<std::shared_mutex> lock(mutex_);
  if (!spec_.is_mutable && !initialized_) {
    return FailedPrecondition("table '", name(), "' is not initialised; run its initialiser");
  }
  SM_CHECK_ARG(ctx.output_dtype(0) == spec_.key_dtype && ctx.output_dtype(1) == spec_.value_dtype,
               "the table maps ", spec_.key_dtype, " to ", spec_.value_dtype, ", expected ",
               ctx.output_dtype(0), " and ", ctx.output_dtype(1));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, spec_.key_shape.WithInserted(0, size_)));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, spec_.value_shape.WithInserted(0, size_)));
  if (size_ == 0) return Status();
  SM_RETURN_IF_ERROR(
      CopyElements(keys_, 0, ctx.output(0), 0, size_ * spec_.key_shape.num_elements()));
  return CopyElements(values_, 0, ctx.output(1), 0, size_ * spec_.value_shape.num_elements());
}

}  // namespace savedmodel
