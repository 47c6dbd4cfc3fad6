#include "src/kernels/io/tensor_proto.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "src/base/status_macros.h"
#include "src/kernels/io/wire.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Field numbers of TensorProto.
enum Field : uint32_t {
  kDType = 1,
  kShape = 2,
  kContent = 4,
  kFloatVal = 5,
  kDoubleVal = 6,
  kIntVal = 7,
  kStringVal = 8,
  kComplex64Val = 9,
  kInt64Val = 10,
  kBoolVal = 11,
  kComplex128Val = 12,
  kHalfVal = 13,
  kUInt32Val = 16,
  kUInt64Val = 17,
};

// The field that holds the values of `dtype` where they are not bytes in kContent.
uint32_t ValueField(DType dtype) {
  switch (dtype) {
    case DType::kFloat:
      return kFloatVal;
    case DType::kDouble:
      return kDoubleVal;
    case DType::kComplex64:
      return kComplex64Val;
    case DType::kComplex128:
      return kComplex128Val;
    case DType::kInt64:
      return kInt64Val;
    case DType::kUInt32:
      return kUInt32Val;
    case DType::kUInt64:
      return kUInt64Val;
    case DType::kBool:
      return kBoolVal;
    case DType::kHalf:
    case DType::kBFloat16:
      return kHalfVal;
    default:
      return kIntVal;
  }
}

bool ParseShape(std::string_view bytes, std::vector<int64_t>* dims) {
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 3 && reader.number() != 0) return false;  // unknown rank
    if (reader.field() != 2 || !reader.is_bytes()) continue;
    int64_t size = 0;
    WireReader dim(reader.bytes());
    while (dim.Next()) {
      if (dim.field() == 1 && dim.is_varint()) size = static_cast<int64_t>(dim.number());
    }
    if (!dim.ok() || size < 0) return false;
    dims->push_back(size);
  }
  return reader.ok();
}

// What a TensorProto's value fields hold: numbers as 64-bit words, floats as their bits.
struct Values {
  std::vector<uint64_t> words;
  std::vector<std::string> strings;
};

bool AppendWords(const WireReader& reader, size_t fixed_bytes, std::vector<uint64_t>* words) {
  if (!reader.is_bytes()) {
    words->push_back(reader.number());
    return true;
  }
  const char* at = reader.bytes().data();
  const char* end = at + reader.bytes().size();
  while (at < end) {
    uint64_t word = 0;
    if (fixed_bytes == 0) {
      if (!ReadVarint(&at, end, &word)) return false;
    } else {
      if (static_cast<size_t>(end - at) < fixed_bytes) return false;
      std::memcpy(&word, at, fixed_bytes);
      at += fixed_bytes;
    }
    words->push_back(word);
  }
  return true;
}

// The last value repeats to the end, more than fit are ignored; without any all are zero.
template <class T>
void Fill(const std::vector<uint64_t>& words, int64_t n, T* out) {
  const auto word = [&](size_t i) -> uint64_t {
    return words.empty() ? 0 : words[std::min(i, words.size() - 1)];
  };
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
    if constexpr (std::is_same_v<T, std::complex<float>> ||
                  std::is_same_v<T, std::complex<double>>) {
      typename T::value_type parts[2] = {};
      // Complex values are pairs of words; the last pair repeats.
      const size_t pairs = words.size() / 2;
      for (size_t k = 0; k < 2 && pairs > 0; ++k) {
        const uint64_t bits = words[2 * std::min(i, pairs - 1) + k];
        std::memcpy(&parts[k], &bits, sizeof(parts[k]));
      }
      out[i] = T(parts[0], parts[1]);
    } else if constexpr (std::is_same_v<T, bool>) {
      out[i] = word(i) != 0;
    } else {
      const uint64_t bits = word(i);
      std::memcpy(static_cast<void*>(&out[i]), &bits, sizeof(T));
    }
  }
}

// Content of a string tensor: all lengths, then all bytes.
Status FillStrings(std::string_view content, Tensor* out) {
  const Status malformed = InvalidArgument("TensorProto: malformed content of strings");
  const char* at = content.data();
  const char* end = at + content.size();
  std::vector<uint64_t> lengths(static_cast<size_t>(out->num_elements()));
  for (uint64_t& length : lengths) {
    if (!ReadVarint(&at, end, &length)) return malformed;
  }
  std::string* strings = out->mutable_data<std::string>();
  for (const uint64_t length : lengths) {
    if (length > static_cast<uint64_t>(end - at)) return malformed;
    *strings++ = std::string(at, static_cast<size_t>(length));
    at += length;
  }
  return at == end ? Status() : malformed;
}

Status FillTensor(const Values& values, bool has_content, std::string_view content, Tensor* out) {
  const int64_t n = out->num_elements();
  if (n == 0) return Status();
  if (out->dtype() == DType::kString && has_content) return FillStrings(content, out);
  if (out->dtype() == DType::kString) {
    std::string* strings = out->mutable_data<std::string>();
    for (int64_t i = 0; i < n && !values.strings.empty(); ++i) {
      strings[i] = values.strings[std::min(static_cast<size_t>(i), values.strings.size() - 1)];
    }
    return Status();
  }
  if (has_content) {
    SM_CHECK_ARG(content.size() == out->num_bytes(), "TensorProto: found ", content.size(),
                 " bytes of content, expected ", out->num_bytes());
    if (!content.empty()) std::memcpy(out->raw_mutable_data(), content.data(), content.size());
    SM_CHECK_ARG(
        out->dtype() != DType::kBool ||
            std::all_of(content.begin(), content.end(), [](char c) { return c == 0 || c == 1; }),
        "TensorProto: found bytes other than 0 and 1 for dtype bool");
    return Status();
  }
  return VisitDType<kNumbers | kQuantized | Only(DType::kBool)>(
      out->dtype(), [&](auto tag) -> Status {
        using T = typename decltype(tag)::type;
        Fill(values.words, n, out->mutable_data<T>());
        return Status();
      });
}

size_t FixedBytes(uint32_t field) {
  switch (field) {
    case kFloatVal:
    case kComplex64Val:
      return 4;
    case kDoubleVal:
    case kComplex128Val:
      return 8;
    default:
      return 0;
  }
}

}  // namespace

StatusOr<Tensor> ParseTensorProto(std::string_view bytes, std::shared_ptr<MemoryBudget> budget) {
  const Status malformed = InvalidArgument("Could not parse the bytes as a TensorProto");
  DType dtype = DType::kInvalid;
  std::vector<int64_t> dims;
  std::string_view content;
  bool has_content = false;
  // The values' field is known once the dtype is: dtype and shape in a first pass.
  WireReader header(bytes);
  while (header.Next()) {
    if (header.field() == kDType && header.is_varint()) {
      if (header.number() > INT32_MAX || !IsKnownDType(static_cast<int>(header.number()))) {
        return malformed;
      }
      dtype = static_cast<DType>(header.number());
    } else if (header.field() == kShape && header.is_bytes()) {
      if (!ParseShape(header.bytes(), &dims)) return malformed;
    } else if (header.field() == kContent && header.is_bytes()) {
      content = header.bytes();
      has_content = !content.empty();
    }
  }
  if (!header.ok() || dtype == DType::kInvalid) return malformed;
  SM_CHECK_ARG(IsPlainData(dtype) || dtype == DType::kString, "TensorProto: found dtype ", dtype,
               ", expected plain elements or strings");
  Values values;
  const uint32_t field = ValueField(dtype);
  WireReader body(bytes);
  while (body.Next()) {
    if (body.field() == kStringVal && body.is_bytes()) values.strings.emplace_back(body.bytes());
    if (body.field() == field && !AppendWords(body, FixedBytes(field), &values.words)) {
      return malformed;
    }
  }
  SM_ASSIGN_OR_RETURN(const Shape shape, Shape::Make(dims));
  SM_ASSIGN_OR_RETURN(Tensor out, Tensor::Allocate(dtype, shape, std::move(budget)));
  SM_RETURN_IF_ERROR(FillTensor(values, has_content, content, &out));
  return out;
}

StatusOr<std::string> SerializeTensorProto(const Tensor& tensor) {
  if (!IsPlainData(tensor.dtype()) && tensor.dtype() != DType::kString) {
    return Unimplemented("serializing a tensor of dtype ", tensor.dtype());
  }
  std::string out, shape;
  AppendVarintField(kDType, static_cast<uint64_t>(tensor.dtype()), &out);
  for (const int64_t dim : tensor.shape()) {
    std::string entry;
    if (dim != 0) AppendVarintField(1, static_cast<uint64_t>(dim), &entry);
    AppendBytesField(2, entry, &shape);
  }
  AppendBytesField(kShape, shape, &out);
  if (tensor.dtype() == DType::kString) {
    for (const std::string& s : tensor.values<std::string>()) {
      AppendBytesField(kStringVal, s, &out);
    }
  } else if (tensor.num_elements() > 0) {
    AppendBytesField(kContent, {static_cast<const char*>(tensor.raw_data()), tensor.num_bytes()},
                     &out);
  }
  return out;
}

}  // namespace savedmodel
