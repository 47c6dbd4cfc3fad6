// The one type switch: from a DType to a C++ element type.
#pragma once

#include <complex>
#include <cstdint>

#include "savedmodel/dtype.h"
#include "src/base/status_macros.h"

namespace savedmodel {

// A set of dtypes, as bits; what VisitDType instantiates its callable for.
using DTypeSet = uint64_t;

constexpr DTypeSet Only(DType d) { return DTypeSet{1} << static_cast<int>(d); }

inline constexpr DTypeSet kSmallFloats = Only(DType::kHalf) | Only(DType::kBFloat16);
inline constexpr DTypeSet kFloatDouble = Only(DType::kFloat) | Only(DType::kDouble);
inline constexpr DTypeSet kFloats = kFloatDouble | kSmallFloats;
inline constexpr DTypeSet kInt32Or64 = Only(DType::kInt32) | Only(DType::kInt64);
inline constexpr DTypeSet kSignedInts =
    Only(DType::kInt8) | Only(DType::kInt16) | Only(DType::kInt32) | Only(DType::kInt64);
inline constexpr DTypeSet kUnsignedInts =
    Only(DType::kUInt8) | Only(DType::kUInt16) | Only(DType::kUInt32) | Only(DType::kUInt64);
inline constexpr DTypeSet kInts = kSignedInts | kUnsignedInts;
inline constexpr DTypeSet kReals = kFloats | kInts;
inline constexpr DTypeSet kComplexes = Only(DType::kComplex64) | Only(DType::kComplex128);
inline constexpr DTypeSet kNumbers = kReals | kComplexes;
inline constexpr DTypeSet kQuantized = Only(DType::kQInt8) | Only(DType::kQUInt8) |
                                       Only(DType::kQInt16) | Only(DType::kQUInt16) |
                                       Only(DType::kQInt32);
inline constexpr DTypeSet kHandles = Only(DType::kResource) | Only(DType::kVariant);
inline constexpr DTypeSet kEverything =
    kNumbers | kQuantized | kHandles | Only(DType::kBool) | Only(DType::kString);

template <class T>
struct TypeTag {
  using type = T;
};

// Calls `fn(TypeTag<T>())` for the C++ type T of `dtype`, a Status-returning callable instantiated
// only for the types of `set`; quantised types come as the integers they are stored in.
// UNIMPLEMENTED, naming the dtype, outside `set`.
//   return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
//     using T = typename decltype(tag)::type; …
//   });
template <DTypeSet set, class F>
Status VisitDType(DType dtype, F&& fn) {
#define SM_VISIT(d, T)                                                  \
  case DType::d:                                                        \
    if constexpr ((set & Only(DType::d)) != 0) return fn(TypeTag<T>()); \
    break
  switch (dtype) {
    SM_VISIT(kFloat, float);
    SM_VISIT(kDouble, double);
    SM_VISIT(kHalf, half);
    SM_VISIT(kBFloat16, bfloat16);
    SM_VISIT(kInt8, int8_t);
    SM_VISIT(kInt16, int16_t);
    SM_VISIT(kInt32, int32_t);
    SM_VISIT(kInt64, int64_t);
    SM_VISIT(kUInt8, uint8_t);
    SM_VISIT(kUInt16, uint16_t);
    SM_VISIT(kUInt32, uint32_t);
    SM_VISIT(kUInt64, uint64_t);
    SM_VISIT(kBool, bool);
    SM_VISIT(kString, std::string);
    SM_VISIT(kComplex64, std::complex<float>);
    SM_VISIT(kComplex128, std::complex<double>);
    SM_VISIT(kQInt8, int8_t);
    SM_VISIT(kQUInt8, uint8_t);
    SM_VISIT(kQInt16, int16_t);
    SM_VISIT(kQUInt16, uint16_t);
    SM_VISIT(kQInt32, int32_t);
    SM_VISIT(kResource, ResourceRef);
    SM_VISIT(kVariant, VariantRef);
    default:
      break;
  }
#undef SM_VISIT
  return Unimplemented("no kernel for dtype ", dtype);
}

// A fixed-size unsigned integer of each element size: for ops that only move plain elements, one
// instantiation per size instead of one per dtype. Strings and handles keep their own type.
template <class F>
Status VisitByElementSize(DType dtype, F&& fn) {
  switch (dtype) {
    case DType::kString:
      return fn(TypeTag<std::string>());
    case DType::kResource:
      return fn(TypeTag<ResourceRef>());
    case DType::kVariant:
      return fn(TypeTag<VariantRef>());
    default:
      break;
  }
  switch (DTypeSize(dtype)) {
    case 1:
      return fn(TypeTag<uint8_t>());
    case 2:
      return fn(TypeTag<uint16_t>());
    case 4:
      return fn(TypeTag<uint32_t>());
    case 8:
      return fn(TypeTag<uint64_t>());
    case 16:
      return fn(TypeTag<std::complex<double>>());
    default:
      return Unimplemented("no kernel for dtype ", dtype);
  }
}

}  // namespace savedmodel
