#include "src/loader/tensor_proto.h"

#include <algorithm>
#include <complex>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

// A proto that holds one element may stand for any number of them. Files are limited by their
// size; this limits what a small file can ask for.
constexpr size_t kMaxExpandedBytes = size_t{1} << 30;
// Content of at least this size is moved out of a proto rather than copied.
constexpr size_t kMoveBytes = 4096;

constexpr int kRefOffset = 100;
constexpr int kLastTensorFlowType = 33;

// Copies the `count` values that `at(i)` gives; the last one stands for all further elements, and
// zero for all when there is none. Surplus values are ignored, as in TensorFlow.
template <class T, class At>
void Fill(int64_t count, Tensor* t, const At& at) {
  T* out = static_cast<T*>(t->raw_mutable_data());
  const int64_t n = t->num_elements();
  const int64_t given = std::min(n, count);
  for (int64_t i = 0; i < given; ++i) out[i] = at(i);
  std::fill(out + given, out + n, given > 0 ? out[given - 1] : T());
}

template <class T, class Field>
void FillFrom(const Field& field, Tensor* t) {
  Fill<T>(field.size(), t,
          [&](int64_t i) { return static_cast<T>(field.Get(static_cast<int>(i))); });
}

template <class T, class Field>
void FillComplex(const Field& field, Tensor* t) {
  Fill<std::complex<T>>(field.size() / 2, t, [&](int64_t i) {
    return std::complex<T>(field.Get(static_cast<int>(2 * i)),
                           field.Get(static_cast<int>(2 * i + 1)));
  });
}

int64_t GivenElements(const proto::TensorProto& p, DType dtype) {
  switch (dtype) {
    case DType::kFloat:
      return p.float_val_size();
    case DType::kDouble:
      return p.double_val_size();
    case DType::kString:
      return p.string_val_size();
    case DType::kComplex64:
      return p.scomplex_val_size() / 2;
    case DType::kComplex128:
      return p.dcomplex_val_size() / 2;
    case DType::kInt64:
      return p.int64_val_size();
    case DType::kBool:
      return p.bool_val_size();
    case DType::kHalf:
    case DType::kBFloat16:
      return p.half_val_size();
    case DType::kUInt32:
      return p.uint32_val_size();
    case DType::kUInt64:
      return p.uint64_val_size();
    case DType::kFloat8E5M2:
    case DType::kFloat8E4M3FN:
      return static_cast<int64_t>(p.float8_val().size());
    default:
      return p.int_val_size();
  }
}

void FillFromFields(const proto::TensorProto& p, Tensor* t) {
  switch (t->dtype()) {
    case DType::kFloat:
      return FillFrom<float>(p.float_val(), t);
    case DType::kDouble:
      return FillFrom<double>(p.double_val(), t);
    case DType::kString:
      return FillFrom<std::string>(p.string_val(), t);
    case DType::kComplex64:
      return FillComplex<float>(p.scomplex_val(), t);
    case DType::kComplex128:
      return FillComplex<double>(p.dcomplex_val(), t);
    case DType::kInt64:
      return FillFrom<int64_t>(p.int64_val(), t);
    case DType::kBool:
      return FillFrom<bool>(p.bool_val(), t);
    case DType::kHalf:
    case DType::kBFloat16:
      return FillFrom<uint16_t>(p.half_val(), t);
    case DType::kUInt32:
      return FillFrom<uint32_t>(p.uint32_val(), t);
    case DType::kUInt64:
      return FillFrom<uint64_t>(p.uint64_val(), t);
    case DType::kFloat8E5M2:
    case DType::kFloat8E4M3FN: {
      const std::string& bytes = p.float8_val();
      return Fill<uint8_t>(static_cast<int64_t>(bytes.size()), t,
                           [&](int64_t i) { return static_cast<uint8_t>(bytes[i]); });
    }
    default:
      if (DTypeSize(t->dtype()) == 1) return FillFrom<uint8_t>(p.int_val(), t);
      if (DTypeSize(t->dtype()) == 2) return FillFrom<uint16_t>(p.int_val(), t);
      return FillFrom<int32_t>(p.int_val(), t);
  }
}

// Strings as content: all lengths as varints, then all bytes.
Status DecodeStrings(std::string_view content, Tensor* t) {
  const int64_t n = t->num_elements();
  std::string* out = static_cast<std::string*>(t->raw_mutable_data());
  std::vector<size_t> lengths(n);
  size_t at = 0, total = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint64_t length = 0;
    int shift = 0;
    do {
      if (at == content.size() || shift > 28) {
        return InvalidArgument("tensor_content: the length of string ", i, " of ", n,
                               " is cut off or too large");
      }
      length |= static_cast<uint64_t>(content[at] & 0x7f) << shift;
      shift += 7;
    } while ((content[at++] & 0x80) != 0);
    lengths[i] = length;
    total += length;
  }
  if (total != content.size() - at) {
    return InvalidArgument("tensor_content: found ", content.size() - at, " bytes of text for ", n,
                           " strings, expected ", total);
  }
  for (int64_t i = 0; i < n; ++i) {
    out[i].assign(content.substr(at, lengths[i]));
    at += lengths[i];
  }
  return Status();
}

// Sane dtype and shape for an element type that a file can hold.
StatusOr<std::pair<DType, Shape>> TypeAndShape(const proto::TensorProto& p) {
  SM_ASSIGN_OR_RETURN(const DType dtype, ValueDTypeFromNumber(p.dtype()));
  SM_ASSIGN_OR_RETURN(Shape shape, ShapeFromProto(p.tensor_shape()));
  if (!shape.fully_known()) {
    return InvalidArgument("tensor: found shape ", shape, ", expected all dimensions to be known");
  }
  return std::pair(dtype, std::move(shape));
}

// Bools are read as bytes by kernels, so anything but 0 and 1 must not get in.
void NormalizeBools(Tensor* t) {
  if (t->dtype() != DType::kBool) return;
  uint8_t* p = static_cast<uint8_t*>(t->raw_mutable_data());
  for (int64_t i = 0, n = t->num_elements(); i < n; ++i) p[i] = p[i] != 0;
}

Status CheckContentSize(const std::string& content, DType dtype, const Shape& shape) {
  const size_t size = DTypeSize(dtype);
  if (content.size() % size == 0 &&
      static_cast<int64_t>(content.size() / size) == shape.num_elements()) {
    return Status();
  }
  return InvalidArgument("tensor_content: found ", content.size(), " bytes for ", dtype, shape,
                         ", expected ", shape.num_elements(), " elements of ", size, " bytes");
}

StatusOr<Tensor> Decode(const proto::TensorProto& p, DType dtype, const Shape& shape) {
  const std::string& content = p.tensor_content();
  const bool plain = IsPlainData(dtype);
  if (shape.num_elements() == 0) return Tensor::Allocate(dtype, shape);
  if (plain && !content.empty()) {
    SM_RETURN_IF_ERROR(CheckContentSize(content, dtype, shape));
  } else {
    const int64_t given =
        content.empty() ? GivenElements(p, dtype) : static_cast<int64_t>(content.size());
    const int64_t limit = kMaxExpandedBytes / DTypeSize(dtype);
    if (shape.num_elements() > std::max(given, limit)) {
      return ResourceExhausted("tensor: ", dtype, shape, " is given by ", given,
                               " values; expected at most ", kMaxExpandedBytes,
                               " bytes for a tensor that is not written out");
    }
  }
  SM_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(dtype, shape));
  if (content.empty()) {
    FillFromFields(p, &t);
  } else if (plain) {
    std::memcpy(t.raw_mutable_data(), content.data(), content.size());
    NormalizeBools(&t);
  } else {
    SM_RETURN_IF_ERROR(DecodeStrings(content, &t));
  }
  return t;
}

// Handles cannot live in files; empty variants and tensors without elements can.
StatusOr<Tensor> DecodeHandles(const proto::TensorProto& p, DType dtype, const Shape& shape) {
  if (shape.num_elements() > 0) {
    if (dtype == DType::kResource) {
      return Unimplemented("tensor: found a resource handle, which cannot be read from a file");
    }
    if (!p.tensor_content().empty()) {
      return InvalidArgument("tensor: found tensor_content for ", dtype, ", which has none");
    }
    for (const auto& variant : p.variant_val()) {
      if (variant.type_name().empty()) continue;
      return Unimplemented("tensor: found a variant of type '", variant.type_name(),
                           "', which cannot be read from a file");
    }
    if (shape.num_elements() > static_cast<int64_t>(kMaxExpandedBytes / sizeof(VariantRef))) {
      return ResourceExhausted("tensor: ", dtype, shape, " is too large");
    }
  }
  return Tensor::Allocate(dtype, shape);
}

}  // namespace

StatusOr<DType> DTypeFromNumber(int number) {
  const int base = number > kRefOffset ? number - kRefOffset : number;
  if (IsKnownDType(base)) return static_cast<DType>(base);
  if (base > 0 && base <= kLastTensorFlowType) {
    return Unimplemented("dtype: found TensorFlow's type number ", number,
                         ", which this library does not support");
  }
  return InvalidArgument("dtype: found number ", number,
                         ", expected a number of a TensorFlow type");
}

StatusOr<DType> ValueDTypeFromNumber(int number) {
  if (number > kRefOffset && IsKnownDType(number - kRefOffset)) {
    return InvalidArgument("dtype: found a reference to ", static_cast<DType>(number - kRefOffset),
                           ", expected the type of a value");
  }
  return DTypeFromNumber(number);
}

StatusOr<Shape> ShapeFromProto(const proto::TensorShapeProto& proto) {
  if (proto.unknown_rank()) {
    if (proto.dim_size() > 0) {
      return InvalidArgument("shape: found ", proto.dim_size(),
                             " dimensions and unknown_rank, expected one of the two");
    }
    return Shape::Unknown();
  }
  std::vector<int64_t> dims;
  dims.reserve(proto.dim_size());
  for (const auto& dim : proto.dim()) dims.push_back(dim.size());
  return Shape::Make(dims);
}

StatusOr<Tensor> TensorFromProto(const proto::TensorProto& proto) {
  SM_ASSIGN_OR_RETURN(const auto type, TypeAndShape(proto));
  const auto& [dtype, shape] = type;
  if (!IsPlainData(dtype) && dtype != DType::kString) return DecodeHandles(proto, dtype, shape);
  return Decode(proto, dtype, shape);
}

StatusOr<Tensor> TakeTensorFromProto(proto::TensorProto* proto) {
  const size_t size = proto->tensor_content().size();
  if (size < kMoveBytes) return TensorFromProto(*proto);
  SM_ASSIGN_OR_RETURN(const auto type, TypeAndShape(*proto));
  const auto& [dtype, shape] = type;
  if (!IsPlainData(dtype)) return TensorFromProto(*proto);
  SM_RETURN_IF_ERROR(CheckContentSize(proto->tensor_content(), dtype, shape));
  auto content = std::make_shared<std::string>(std::move(*proto->mutable_tensor_content()));
  SM_ASSIGN_OR_RETURN(Tensor t, Tensor::Borrow(dtype, shape, content->data(), size, [content] {}));
  NormalizeBools(&t);
  return t;
}

StatusOr<Tensor> TensorFromFields(const proto::TensorProto& proto, DType dtype,
                                  const Shape& shape) {
  if (!IsPlainData(dtype) && dtype != DType::kString) {
    return Unimplemented("tensors of type ", dtype, " cannot be read from a checkpoint");
  }
  if (GivenElements(proto, dtype) != shape.num_elements()) {
    return InvalidArgument("found ", GivenElements(proto, dtype), " elements, expected those of ",
                           dtype, shape);
  }
  SM_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(dtype, shape));
  FillFromFields(proto, &t);
  return t;
}

StatusOr<Tensor> ParseTensorProto(std::string_view bytes) {
  proto::TensorProto proto;
  if (bytes.size() > INT32_MAX ||
      !proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return InvalidArgument("tensor: the ", bytes.size(), " bytes are no TensorProto");
  }
  return TakeTensorFromProto(&proto);
}

}  // namespace savedmodel
