/// Element types, with TensorFlow's numbers and names.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "savedmodel/export.h"
#include "savedmodel/float16.h"

namespace savedmodel {

/// Element type of a tensor. The numbers are those of TensorFlow's `DataType` proto.
enum class DType : uint8_t {
  kInvalid = 0,
  kFloat = 1,
  kDouble = 2,
  kInt32 = 3,
  kUInt8 = 4,
  kInt16 = 5,
  kInt8 = 6,
  kString = 7,
  kComplex64 = 8,
  kInt64 = 9,
  kBool = 10,
  kQInt8 = 11,
  kQUInt8 = 12,
  kQInt32 = 13,
  kBFloat16 = 14,
  kQInt16 = 15,
  kQUInt16 = 16,
  kUInt16 = 17,
  kComplex128 = 18,
  kHalf = 19,
  kResource = 20,
  kVariant = 21,
  kUInt32 = 22,
  kUInt64 = 23,
  kFloat8E5M2 = 24,
  kFloat8E4M3FN = 25,
  kInt4 = 29,
  kUInt4 = 30,
};

/// Bytes of one element in memory. 0 for kInvalid; strings, resources and variants count the
/// in-memory object, not what it points to. 4-bit types take a byte each.
SAVEDMODEL_EXPORT size_t DTypeSize(DType dtype);
/// TensorFlow's name, for example "float", "int32", "string"; "invalid" for kInvalid.
SAVEDMODEL_EXPORT const char* DTypeName(DType dtype);
/// numpy's name, for example "float32"; TensorFlow's Python API prints these.
SAVEDMODEL_EXPORT const char* DTypeNumpyName(DType dtype);
/// The dtype with TensorFlow's name or numpy's name `name`; kInvalid when there is none.
SAVEDMODEL_EXPORT DType DTypeFromName(const std::string& name);
/// True for a number that names a DType (other than kInvalid).
SAVEDMODEL_EXPORT bool IsKnownDType(int number);

/// True for types whose elements are plain bytes: all but string, resource and variant.
constexpr bool IsPlainData(DType d) {
  return d != DType::kString && d != DType::kResource && d != DType::kVariant &&
         d != DType::kInvalid;
}

class Resource;      // resource.h: a variable, table or other mutable object
class VariantValue;  // resource.h: the content of one variant element
/// Element type of a resource tensor: a shared handle.
using ResourceRef = std::shared_ptr<Resource>;
/// Element type of a variant tensor. Null is TensorFlow's empty variant.
using VariantRef = std::shared_ptr<VariantValue>;

/// The DType that a C++ element type stands for: `DTypeOf<float>::value == DType::kFloat`.
/// Quantised and 4-bit types share C++ types with plain integers and have no entry of their own.
template <class T>
struct DTypeOf;
#define SAVEDMODEL_DTYPE_OF(cpp, d)          \
  template <>                                \
  struct DTypeOf<cpp> {                      \
    static constexpr DType value = DType::d; \
  }
SAVEDMODEL_DTYPE_OF(float, kFloat);
SAVEDMODEL_DTYPE_OF(double, kDouble);
SAVEDMODEL_DTYPE_OF(int32_t, kInt32);
SAVEDMODEL_DTYPE_OF(uint8_t, kUInt8);
SAVEDMODEL_DTYPE_OF(int16_t, kInt16);
SAVEDMODEL_DTYPE_OF(int8_t, kInt8);
SAVEDMODEL_DTYPE_OF(std::string, kString);
SAVEDMODEL_DTYPE_OF(std::complex<float>, kComplex64);
SAVEDMODEL_DTYPE_OF(int64_t, kInt64);
SAVEDMODEL_DTYPE_OF(bool, kBool);
SAVEDMODEL_DTYPE_OF(bfloat16, kBFloat16);
SAVEDMODEL_DTYPE_OF(uint16_t, kUInt16);
SAVEDMODEL_DTYPE_OF(std::complex<double>, kComplex128);
SAVEDMODEL_DTYPE_OF(half, kHalf);
SAVEDMODEL_DTYPE_OF(ResourceRef, kResource);
SAVEDMODEL_DTYPE_OF(VariantRef, kVariant);
SAVEDMODEL_DTYPE_OF(uint32_t, kUInt32);
SAVEDMODEL_DTYPE_OF(uint64_t, kUInt64);
#undef SAVEDMODEL_DTYPE_OF

/// True where elements of `d` are stored as C++ type T: T's own dtype, and for integers also the
/// quantised and 4-bit types of the same width (kQInt8 as int8_t, kQInt32 as int32_t, …).
template <class T>
constexpr bool IsStoredAs(DType d) {
  if (d == DTypeOf<T>::value) return true;
  if constexpr (std::is_same_v<T, int8_t>) return d == DType::kQInt8 || d == DType::kInt4;
  if constexpr (std::is_same_v<T, uint8_t>) {
    return d == DType::kQUInt8 || d == DType::kUInt4 || d == DType::kFloat8E5M2 ||
           d == DType::kFloat8E4M3FN;
  }
  if constexpr (std::is_same_v<T, int16_t>) return d == DType::kQInt16;
  if constexpr (std::is_same_v<T, uint16_t>) return d == DType::kQUInt16;
  if constexpr (std::is_same_v<T, int32_t>) return d == DType::kQInt32;
  return false;
}

}  // namespace savedmodel
