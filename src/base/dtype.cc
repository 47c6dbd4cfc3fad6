#include "savedmodel/dtype.h"

namespace savedmodel {
namespace {

struct DTypeFacts {
  DType dtype;
  uint8_t size;
  const char* name;
  const char* numpy_name;
};

constexpr DTypeFacts kFacts[] = {
    {DType::kFloat, 4, "float", "float32"},
    {DType::kDouble, 8, "double", "float64"},
    {DType::kInt32, 4, "int32", "int32"},
    {DType::kUInt8, 1, "uint8", "uint8"},
    {DType::kInt16, 2, "int16", "int16"},
    {DType::kInt8, 1, "int8", "int8"},
    {DType::kString, sizeof(std::string), "string", "string"},
    {DType::kComplex64, 8, "complex64", "complex64"},
    {DType::kInt64, 8, "int64", "int64"},
    {DType::kBool, 1, "bool", "bool"},
    {DType::kQInt8, 1, "qint8", "qint8"},
    {DType::kQUInt8, 1, "quint8", "quint8"},
    {DType::kQInt32, 4, "qint32", "qint32"},
    {DType::kBFloat16, 2, "bfloat16", "bfloat16"},
    {DType::kQInt16, 2, "qint16", "qint16"},
    {DType::kQUInt16, 2, "quint16", "quint16"},
    {DType::kUInt16, 2, "uint16", "uint16"},
    {DType::kComplex128, 16, "complex128", "complex128"},
    {DType::kHalf, 2, "half", "float16"},
    {DType::kResource, sizeof(ResourceRef), "resource", "resource"},
    {DType::kVariant, sizeof(VariantRef), "variant", "variant"},
    {DType::kUInt32, 4, "uint32", "uint32"},
    {DType::kUInt64, 8, "uint64", "uint64"},
    {DType::kFloat8E5M2, 1, "float8_e5m2", "float8_e5m2"},
    {DType::kFloat8E4M3FN, 1, "float8_e4m3fn", "float8_e4m3fn"},
    {DType::kInt4, 1, "int4", "int4"},
    {DType::kUInt4, 1, "uint4", "uint4"},
};

constexpr int kTableSize = 31;

struct Table {
  DTypeFacts facts[kTableSize] = {};
};

constexpr Table MakeTable() {
  Table table;
  for (const DTypeFacts& f : kFacts) table.facts[static_cast<int>(f.dtype)] = f;
  return table;
}

constexpr Table kTable = MakeTable();

const DTypeFacts* Facts(DType dtype) {
  const int n = static_cast<int>(dtype);
  return n < kTableSize && kTable.facts[n].name != nullptr ? &kTable.facts[n] : nullptr;
}

}  // namespace

size_t DTypeSize(DType dtype) {
  const DTypeFacts* f = Facts(dtype);
  return f == nullptr ? 0 : f->size;
}

const char* DTypeName(DType dtype) {
  const DTypeFacts* f = Facts(dtype);
  return f == nullptr ? "invalid" : f->name;
}

const char* DTypeNumpyName(DType dtype) {
  const DTypeFacts* f = Facts(dtype);
  return f == nullptr ? "invalid" : f->numpy_name;
}

DType DTypeFromName(const std::string& name) {
  for (const DTypeFacts& f : kFacts) {
    if (name == f.name || name == f.numpy_name) return f.dtype;
  }
  return DType::kInvalid;
}

bool IsKnownDType(int number) {
  return number > 0 && number < kTableSize && kTable.facts[number].name != nullptr;
}

}  // namespace savedmodel
