#include "src/cli/json_output.h"

#include <cmath>
#include <cstdio>

namespace savedmodel::cli {
namespace {

Json Number(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v < 0 ? "-Infinity" : "Infinity";
  return v;
}

// Element `i`, whatever the dtype.
Json Element(const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::kFloat:
      return Number(t.data<float>()[i]);
    case DType::kDouble:
      return Number(t.data<double>()[i]);
    case DType::kHalf:
      return Number(static_cast<float>(t.data<half>()[i]));
    case DType::kBFloat16:
      return Number(static_cast<float>(t.data<bfloat16>()[i]));
    case DType::kComplex64: {
      const auto c = t.data<std::complex<float>>()[i];
      return Json::array({Number(c.real()), Number(c.imag())});
    }
    case DType::kComplex128: {
      const auto c = t.data<std::complex<double>>()[i];
      return Json::array({Number(c.real()), Number(c.imag())});
    }
    case DType::kBool:
      return t.data<bool>()[i];
    case DType::kString:
      return t.data<std::string>()[i];
    case DType::kInt64:
      return t.data<int64_t>()[i];
    case DType::kUInt64:
      return t.data<uint64_t>()[i];
    case DType::kUInt32:
      return t.data<uint32_t>()[i];
    default:
      break;
  }
  if (const int32_t* v = t.data<int32_t>()) return v[i];
  if (const int16_t* v = t.data<int16_t>()) return v[i];
  if (const uint16_t* v = t.data<uint16_t>()) return v[i];
  if (const int8_t* v = t.data<int8_t>()) return v[i];
  if (const uint8_t* v = t.data<uint8_t>()) return v[i];
  return nullptr;
}

}  // namespace

Json ToJson(const Tensor& t) {
  std::vector<Json> level;
  for (int64_t i = 0; i < t.num_elements(); ++i) level.push_back(Element(t, i));
  for (int d = t.shape().rank() - 1; d >= 0; --d) {  // lists of the innermost dimension first
    const auto length = static_cast<size_t>(t.shape()[d]);
    std::vector<Json> outer(static_cast<size_t>(t.shape().Product(0, d)), Json::array());
    for (size_t i = 0; i < outer.size(); ++i) {
      for (size_t k = 0; k < length; ++k) outer[i].push_back(std::move(level[i * length + k]));
    }
    level = std::move(outer);
  }
  return {{"dtype", DTypeNumpyName(t.dtype())},
          {"shape", ToJson(t.shape())},
          {"values", level.empty() ? Json::array() : level[0]}};
}

Json ToJson(const Shape& shape) {
  return shape.known_rank() ? Json(shape.ToVector()) : Json(nullptr);
}

Json ToJson(const TensorSpec& spec) {
  return {{"name", spec.name},
          {"tensor", spec.tensor_name},
          {"dtype", std::string(DTypeNumpyName(spec.dtype)) + (spec.is_ref ? "_ref" : "")},
          {"shape", ToJson(spec.shape)}};
}

void PrintJson(const Json& json) {
  std::puts(json.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

}  // namespace savedmodel::cli
