#include "tests/replay/compare.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <sstream>
#include <vector>

namespace savedmodel::replay {
namespace {

using Complex = std::complex<double>;

template <class T>
std::vector<Complex> Widened(const Tensor& t) {
  std::vector<Complex> out;
  out.reserve(static_cast<size_t>(t.num_elements()));
  for (const T& v : t.values<T>()) {
    if constexpr (std::is_same_v<T, half> || std::is_same_v<T, bfloat16>) {
      out.emplace_back(static_cast<float>(v));
    } else {
      out.emplace_back(v);
    }
  }
  return out;
}

struct FloatDefaults {
  bool is_float = false;
  double rtol = 0, atol = 0;
};

FloatDefaults DefaultsOf(DType d) {
  switch (d) {
    case DType::kFloat:
    case DType::kComplex64:
      return {true, 1e-5, 1e-6};
    case DType::kDouble:
    case DType::kComplex128:
      return {true, 1e-9, 1e-12};
    case DType::kHalf:
      return {true, 2e-3, 1e-3};
    case DType::kBFloat16:
      return {true, 1.6e-2, 1e-2};
    default:
      return {};
  }
}

std::vector<Complex> FloatElements(const Tensor& t) {
  switch (t.dtype()) {
    case DType::kFloat:
      return Widened<float>(t);
    case DType::kDouble:
      return Widened<double>(t);
    case DType::kHalf:
      return Widened<half>(t);
    case DType::kBFloat16:
      return Widened<bfloat16>(t);
    case DType::kComplex64:
      return Widened<std::complex<float>>(t);
    case DType::kComplex128:
      return Widened<std::complex<double>>(t);
    default:
      return {};
  }
}

bool IsComplex(DType d) { return d == DType::kComplex64 || d == DType::kComplex128; }
bool IsNan(const Complex& c) { return std::isnan(c.real()) || std::isnan(c.imag()); }

std::string Text(const Complex& c, bool complex) {
  std::ostringstream out;
  out.precision(9);
  out << c.real();
  if (complex) out << (c.imag() < 0 ? "" : "+") << c.imag() << "j";
  return out.str();
}

// "[1,0,2]" for flat index `i` of `shape`.
std::string IndexText(const Shape& shape, int64_t i) {
  std::vector<int64_t> index(static_cast<size_t>(shape.rank()));
  for (int d = shape.rank() - 1; d >= 0; --d) {
    index[static_cast<size_t>(d)] = i % std::max<int64_t>(shape[d], 1);
    i /= std::max<int64_t>(shape[d], 1);
  }
  std::string out = "[";
  for (size_t d = 0; d < index.size(); ++d) out += (d ? "," : "") + std::to_string(index[d]);
  return out + "]";
}

std::string Report(const Tensor& want, int64_t first, int64_t count, const std::string& got_text,
                   const std::string& want_text, bool sorted) {
  return (sorted ? "in order, " : "") + std::to_string(count) + " of " +
         std::to_string(want.num_elements()) + " values differ, first at " +
         (sorted ? std::to_string(first) : IndexText(want.shape(), first)) + ": got " + got_text +
         ", want " + want_text;
}

std::string FloatDifference(const Tensor& want, const Tensor& got, const Tolerance& tolerance,
                            Check check) {
  const FloatDefaults defaults = DefaultsOf(want.dtype());
  const double rtol = tolerance.rtol < 0 ? defaults.rtol : tolerance.rtol;
  const double atol = tolerance.atol < 0 ? defaults.atol : tolerance.atol;
  std::vector<Complex> w = FloatElements(want), g = FloatElements(got);
  if (check == Check::kAbsValues) {
    for (auto* list : {&w, &g}) {
      for (Complex& c : *list) c = IsNan(c) ? c : Complex(std::abs(c));
    }
  }
  if (check == Check::kSortedValues) {
    const auto less = [](const Complex& a, const Complex& b) {
      if (IsNan(a) || IsNan(b)) return !IsNan(a) && IsNan(b);
      return a.real() != b.real() ? a.real() < b.real() : a.imag() < b.imag();
    };
    std::sort(w.begin(), w.end(), less);
    std::sort(g.begin(), g.end(), less);
  }
  int64_t first = -1, count = 0;
  double worst = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    if (w[i] == g[i] || (IsNan(w[i]) && IsNan(g[i]))) continue;
    const double d = std::abs(g[i] - w[i]);
    if (d <= atol + rtol * std::abs(w[i]) && std::isfinite(std::abs(w[i]))) continue;
    if (first < 0) first = static_cast<int64_t>(i);
    ++count;
    if (!(d <= worst)) worst = d;
  }
  if (count == 0) return "";
  std::ostringstream tail;
  tail << " (largest difference " << worst << "; rtol " << rtol << ", atol " << atol << ")";
  const bool complex = IsComplex(want.dtype());
  const auto at = static_cast<size_t>(first);
  return Report(want, first, count, Text(g[at], complex), Text(w[at], complex),
                check == Check::kSortedValues) +
         tail.str();
}

// Elements of a type without tolerance, as comparable text-free keys: strings, or raw bytes.
std::vector<std::string> ExactElements(const Tensor& t) {
  if (t.dtype() == DType::kString) return t.ToVector<std::string>();
  const size_t size = DTypeSize(t.dtype());
  std::vector<std::string> out;
  const char* p = static_cast<const char*>(t.raw_data());
  for (int64_t i = 0; i < t.num_elements(); ++i) out.emplace_back(p + i * size, size);
  return out;
}

std::string ExactText(const Tensor& like, const std::string& element) {
  if (like.dtype() == DType::kString) {
    return "'" + (element.size() > 60 ? element.substr(0, 60) + "…" : element) + "'";
  }
  auto t = Tensor::Borrow(like.dtype(), Shape(), element.data(), element.size());
  return t.ok() ? t->ToString() : "?";
}

std::string ExactDifference(const Tensor& want, const Tensor& got, Check check) {
  std::vector<std::string> w = ExactElements(want), g = ExactElements(got);
  const bool sorted = check == Check::kSortedValues;
  if (sorted) {
    std::sort(w.begin(), w.end());
    std::sort(g.begin(), g.end());
  }
  int64_t first = -1, count = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    if (w[i] == g[i]) continue;
    if (first < 0) first = static_cast<int64_t>(i);
    ++count;
  }
  if (count == 0) return "";
  const auto at = static_cast<size_t>(first);
  return Report(want, first, count, ExactText(got, g[at]), ExactText(want, w[at]), sorted);
}

}  // namespace

std::string Difference(const Tensor& want, const Tensor& got, const Tolerance& tolerance,
                       Check check) {
  if (!got.has_value()) return "no value, want " + want.TypeString();
  if (want.dtype() != got.dtype()) {
    return std::string("dtype ") + DTypeName(got.dtype()) + ", want " + DTypeName(want.dtype());
  }
  if (want.shape() != got.shape()) {
    return "shape " + got.shape().ToString() + ", want " + want.shape().ToString();
  }
  if (check == Check::kShapeOnly) return "";
  if (DefaultsOf(want.dtype()).is_float) return FloatDifference(want, got, tolerance, check);
  if (want.dtype() == DType::kResource || want.dtype() == DType::kVariant) return "";
  return ExactDifference(want, got, check);
}

bool MeanAndDeviation(const Tensor& t, double* mean, double* deviation) {
  std::vector<Complex> v = FloatElements(t);
  if (v.empty() && t.dtype() == DType::kInt32) v = Widened<int32_t>(t);
  if (v.empty() && t.dtype() == DType::kInt64) v = Widened<int64_t>(t);
  if (v.empty() && t.dtype() == DType::kUInt8) v = Widened<uint8_t>(t);
  if (v.empty() && t.dtype() == DType::kBool) v = Widened<bool>(t);
  if (v.empty() || IsComplex(t.dtype())) return false;
  double sum = 0, squares = 0;
  for (const Complex& c : v) sum += c.real();
  *mean = sum / static_cast<double>(v.size());
  for (const Complex& c : v) squares += (c.real() - *mean) * (c.real() - *mean);
  *deviation = std::sqrt(squares / static_cast<double>(v.size()));
  return true;
}

}  // namespace savedmodel::replay
