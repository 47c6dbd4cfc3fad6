#include "savedmodel/tensor.h"

#include <cstring>
#include <new>
#include <utility>

#include "savedmodel/resource.h"
#include "src/base/block_cache.h"
#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

using internal::Buffer;

// A buffer whose elements follow the header in one block of memory.
struct OwnedBuffer : Buffer {
  std::shared_ptr<MemoryBudget> budget;
  DType dtype = DType::kInvalid;
  int64_t count = 0;
  size_t block = 0;  // bytes of the whole block

  void* elements() { return reinterpret_cast<char*>(this) + kHeader; }
  static constexpr size_t kHeader = kBlockAlignment;
};
static_assert(sizeof(OwnedBuffer) <= OwnedBuffer::kHeader);

template <class T>
void DestroyElements(void* data, int64_t count) {
  T* elements = static_cast<T*>(data);
  for (int64_t i = 0; i < count; ++i) elements[i].~T();
}

template <class T>
void ConstructElements(void* data, int64_t count) {
  T* elements = static_cast<T*>(data);
  for (int64_t i = 0; i < count; ++i) new (elements + i) T();
}

// What the buffer's budget was charged.
int64_t ElementBytes(const OwnedBuffer& buffer) {
  return buffer.count * static_cast<int64_t>(DTypeSize(buffer.dtype));
}

void DestroyOwned(Buffer* base) {
  OwnedBuffer* buffer = static_cast<OwnedBuffer*>(base);
  switch (buffer->dtype) {
    case DType::kString:
      DestroyElements<std::string>(buffer->elements(), buffer->count);
      break;
    case DType::kResource:
      DestroyElements<ResourceRef>(buffer->elements(), buffer->count);
      break;
    case DType::kVariant:
      DestroyElements<VariantRef>(buffer->elements(), buffer->count);
      break;
    default:
      break;
  }
  if (buffer->budget != nullptr) buffer->budget->Refund(ElementBytes(*buffer));
  const size_t block = buffer->block;
  buffer->~OwnedBuffer();
  GiveBlock(buffer, block);
}

struct BorrowedBuffer : Buffer {
  std::function<void()> release;
};

void DestroyBorrowed(Buffer* base) {
  BorrowedBuffer* buffer = static_cast<BorrowedBuffer*>(base);
  if (buffer->release) buffer->release();
  delete buffer;
}

StatusOr<size_t> CheckedBytes(DType dtype, const Shape& shape) {
  const size_t size = DTypeSize(dtype);
  size_t bytes = 0;
  if (size == 0 || !shape.fully_known() ||
      __builtin_mul_overflow(static_cast<size_t>(shape.num_elements()), size, &bytes) ||
      bytes > static_cast<size_t>(INT64_MAX) - 2 * kBlockAlignment) {
    return InvalidArgument("tensor: cannot allocate ", dtype, shape,
                           "; expected a known dtype and dimensions >= 0 with fewer than 2^63 "
                           "bytes in all");
  }
  return bytes;
}

StatusOr<OwnedBuffer*> AllocateBuffer(DType dtype, const Shape& shape,
                                      std::shared_ptr<MemoryBudget> budget) {
  SM_ASSIGN_OR_RETURN(const size_t bytes, CheckedBytes(dtype, shape));
  const int64_t charge = static_cast<int64_t>(bytes);
  if (budget != nullptr && !budget->Charge(charge)) {
    return ResourceExhausted("tensor: ", dtype, shape, " takes ", charge,
                             " bytes, but the memory budget of this run has ",
                             budget->limit() - budget->used(), " of ", budget->limit(),
                             " left; raise the limit in the options or use smaller inputs");
  }
  size_t block =
      (OwnedBuffer::kHeader + bytes + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
  void* memory = TakeBlock(&block);
  if (memory == nullptr) {
    if (budget != nullptr) budget->Refund(charge);
    return ResourceExhausted("tensor: the system has no memory for ", dtype, shape, " (", charge,
                             " bytes)");
  }
  OwnedBuffer* buffer = new (memory) OwnedBuffer();
  buffer->destroy = &DestroyOwned;
  buffer->budget = std::move(budget);
  buffer->dtype = dtype;
  buffer->count = shape.num_elements();
  buffer->block = block;
  switch (dtype) {
    case DType::kString:
      ConstructElements<std::string>(buffer->elements(), buffer->count);
      break;
    case DType::kResource:
      ConstructElements<ResourceRef>(buffer->elements(), buffer->count);
      break;
    case DType::kVariant:
      ConstructElements<VariantRef>(buffer->elements(), buffer->count);
      break;
    default:
      break;
  }
  return buffer;
}

template <class T>
void CopyElements(const void* from, void* to, int64_t count) {
  const T* source = static_cast<const T*>(from);
  T* target = static_cast<T*>(to);
  for (int64_t i = 0; i < count; ++i) target[i] = source[i];
}

void PrintElement(const Tensor& t, int64_t i, std::string* out) {
  switch (t.dtype()) {
    case DType::kFloat:
      *out += StrCat(t.data<float>()[i]);
      break;
    case DType::kDouble:
      *out += StrCat(t.data<double>()[i]);
      break;
    case DType::kHalf:
      *out += StrCat(float(t.data<half>()[i]));
      break;
    case DType::kBFloat16:
      *out += StrCat(float(t.data<bfloat16>()[i]));
      break;
    case DType::kComplex64: {
      const auto c = t.data<std::complex<float>>()[i];
      *out += StrCat("(", c.real(), ",", c.imag(), ")");
      break;
    }
    case DType::kComplex128: {
      const auto c = t.data<std::complex<double>>()[i];
      *out += StrCat("(", c.real(), ",", c.imag(), ")");
      break;
    }
    case DType::kBool:
      *out += t.data<bool>()[i] ? "true" : "false";
      break;
    case DType::kString:
      *out += StrCat("\"", t.data<std::string>()[i], "\"");
      break;
    case DType::kResource: {
      const ResourceRef& r = t.data<ResourceRef>()[i];
      *out += r == nullptr ? std::string("<null>") : StrCat("<", r->kind(), " ", r->name(), ">");
      break;
    }
    case DType::kVariant: {
      const VariantRef& v = t.data<VariantRef>()[i];
      *out += v == nullptr ? std::string("<empty>") : StrCat("<", v->kind(), ">");
      break;
    }
    case DType::kUInt64:
      *out += StrCat(t.data<uint64_t>()[i]);
      break;
    case DType::kInt64:
      *out += StrCat(t.data<int64_t>()[i]);
      break;
    case DType::kUInt32:
      *out += StrCat(t.data<uint32_t>()[i]);
      break;
    default:
      if (const int32_t* p = t.data<int32_t>())
        *out += StrCat(p[i]);
      else if (const int16_t* p = t.data<int16_t>())
        *out += StrCat(p[i]);
      else if (const uint16_t* p = t.data<uint16_t>())
        *out += StrCat(p[i]);
      else if (const int8_t* p = t.data<int8_t>())
        *out += StrCat(static_cast<int>(p[i]));
      else if (const uint8_t* p = t.data<uint8_t>())
        *out += StrCat(static_cast<int>(p[i]));
  }
}

}  // namespace

Resource::~Resource() = default;
StatusOr<ResourceRef> Resource::Clone() const {
  return Unimplemented("a ", kind(), " ('", name(), "') cannot be copied");
}
VariantValue::~VariantValue() = default;

bool MemoryBudget::Charge(int64_t bytes) {
  const int64_t before = used_.fetch_add(bytes, std::memory_order_relaxed);
  if (limit_ >= 0 && (bytes > limit_ || before > limit_ - bytes)) {
    used_.fetch_sub(bytes, std::memory_order_relaxed);
    return false;
  }
  return true;
}

StatusOr<Tensor> Tensor::Allocate(DType dtype, const Shape& shape,
                                  std::shared_ptr<MemoryBudget> budget) {
  SM_ASSIGN_OR_RETURN(OwnedBuffer * buffer, AllocateBuffer(dtype, shape, std::move(budget)));
  return Tensor(dtype, shape, buffer->elements(), buffer);
}

StatusOr<Tensor> Tensor::Zeros(DType dtype, const Shape& shape,
                               std::shared_ptr<MemoryBudget> budget) {
  SM_ASSIGN_OR_RETURN(Tensor t, Allocate(dtype, shape, std::move(budget)));
  if (IsPlainData(dtype)) std::memset(t.data_, 0, t.num_bytes());
  return t;
}

StatusOr<Tensor> Tensor::BorrowMutable(DType dtype, const Shape& shape, void* data, size_t bytes,
                                       std::function<void()> release) {
  SM_ASSIGN_OR_RETURN(const size_t expected, CheckedBytes(dtype, shape));
  if (!IsPlainData(dtype) || bytes != expected || (data == nullptr && bytes > 0)) {
    return InvalidArgument("Tensor::Borrow: found ", bytes, " bytes for ", dtype, shape,
                           ", expected ", expected, " bytes of a plain dtype");
  }
  BorrowedBuffer* buffer = new BorrowedBuffer();
  buffer->destroy = &DestroyBorrowed;
  buffer->release = std::move(release);
  return Tensor(dtype, shape, data, buffer);
}

StatusOr<Tensor> Tensor::Borrow(DType dtype, const Shape& shape, const void* data, size_t bytes,
                                std::function<void()> release) {
  SM_ASSIGN_OR_RETURN(
      Tensor t, BorrowMutable(dtype, shape, const_cast<void*>(data), bytes, std::move(release)));
  t.buffer_->writable = false;
  return t;
}

Tensor Tensor::View(DType dtype, const Shape& shape, void* data) {
  return Tensor(dtype, shape, data, nullptr);
}

Tensor Tensor::MustAllocate(DType dtype, const Shape& shape) {
  StatusOr<Tensor> t = Allocate(dtype, shape);
  return std::move(t).value();
}

Tensor Tensor::WithShape(const Shape& shape) const& {
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::WithShape(const Shape& shape) && {
  shape_ = shape;
  return std::move(*this);
}

Tensor Tensor::WithDType(DType dtype) const {
  Tensor t = *this;
  t.dtype_ = dtype;
  return t;
}

Tensor Tensor::Rows(int64_t begin, int64_t end) const {
  Tensor t = *this;
  t.shape_ = shape_.WithDim(0, end - begin);
  const size_t row_bytes =
      static_cast<size_t>(shape_.Product(1, shape_.rank())) * DTypeSize(dtype_);
  t.data_ = static_cast<char*>(data_) + static_cast<size_t>(begin) * row_bytes;
  return t;
}

StatusOr<Tensor> Tensor::Owned(std::shared_ptr<MemoryBudget> budget) const {
  if (!is_view()) return *this;
  return Clone(std::move(budget));
}

StatusOr<Tensor> Tensor::Clone(std::shared_ptr<MemoryBudget> budget) const {
  if (!has_value()) return *this;
  SM_ASSIGN_OR_RETURN(Tensor copy, Allocate(dtype_, shape_, std::move(budget)));
  switch (dtype_) {
    case DType::kString:
      CopyElements<std::string>(data_, copy.data_, num_elements());
      break;
    case DType::kResource:
      CopyElements<ResourceRef>(data_, copy.data_, num_elements());
      break;
    case DType::kVariant:
      CopyElements<VariantRef>(data_, copy.data_, num_elements());
      break;
    default:
      if (num_bytes() > 0) std::memcpy(copy.data_, data_, num_bytes());
  }
  return copy;
}

bool Tensor::MakeExclusive() {
  if (is_view() || exclusive()) return true;
  StatusOr<Tensor> copy = Clone();
  if (!copy.ok()) return false;
  *this = std::move(copy).value();
  return true;
}

std::string Tensor::TypeString() const { return StrCat(dtype_, shape_); }

std::string Tensor::ToString(int64_t max_elements) const {
  if (!has_value()) return "<no tensor>";
  std::string out = TypeString() + " ";
  const int rank = shape_.rank();
  const int64_t count = num_elements();
  if (count == 0) return out + "[]";
  std::vector<int64_t> block(rank);  // elements below dimension d
  int64_t size = 1;
  for (int d = rank - 1; d >= 0; --d) block[d] = size *= shape_.dim(d);
  for (int64_t i = 0; i < count && i < max_elements; ++i) {
    if (i > 0) out += block.empty() || i % block[rank - 1] != 0 ? ", " : "";
    int closed = 0;
    for (int d = 0; d < rank; ++d) closed += i > 0 && i % block[d] == 0;
    if (closed > 0) out += std::string(closed, ']') + ", ";
    for (int d = 0; d < rank; ++d) out += i % block[d] == 0 ? "[" : "";
    PrintElement(*this, i, &out);
  }
  if (count > max_elements) out += ", ...";
  return out + std::string(rank, ']');
}

}  // namespace savedmodel
