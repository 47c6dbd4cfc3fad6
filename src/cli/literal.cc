#include "src/cli/literal.h"

#include <cctype>
#include <cmath>
#include <complex>
#include <cstdlib>
#include <variant>
#include <vector>

namespace savedmodel::cli {
namespace {

// A number keeps its text, so that integers of 64 bits stay exact.
struct Leaf {
  bool is_string = false;
  std::string text;
};

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Status Parse() {
    if (ParseFill()) return End();
    std::vector<size_t> path;  // how many items each open list has
    bool closed = false;       // an item has just ended
    do {
      Skip();
      if (at_ >= text_.size()) return Bad("the text ends within a list");
      const char c = text_[at_];
      if (!closed && (c == '[' || c == '(')) {
        ++at_;
        if (path.size() >= Shape::kMaxRank) return Bad("lists nest too deep");
        path.push_back(0);
      } else if (c == ']' || c == ')') {
        if (path.empty()) return Bad("a bracket too many");
        ++at_;
        if (Status s = Close(path.size() - 1, path.back() + closed); !s.ok()) return s;
        path.pop_back();
        closed = true;
      } else if (c == ',' && closed && !path.empty()) {
        ++at_;
        ++path.back();
        closed = false;
      } else if (!closed) {
        if (Status s = ParseLeaf(path.size()); !s.ok()) return s;
        closed = true;
      } else {
        return Bad("expected ',' or a closing bracket");
      }
    } while (!path.empty());
    return End();
  }

  StatusOr<Shape> shape() const { return Shape::Make(dims_); }
  const std::vector<Leaf>& leaves() const { return leaves_; }
  bool filled() const { return filled_; }

 private:
  Status Bad(const std::string& what) const {
    return Status(StatusCode::kInvalidArgument, "at character " + std::to_string(at_ + 1) +
                                                    " of '" + text_.substr(0, 60) + "': " + what);
  }
  void Skip() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  Status End() {
    Skip();
    return at_ == text_.size() ? Status() : Bad("expected the end");
  }

  // zeros((2, 3)) and ones((2, 3)).
  bool ParseFill() {
    size_t at = text_.find_first_not_of(" ");
    if (at == std::string::npos) return false;
    if (text_.compare(at, 3, "np.") == 0) at += 3;
    const bool ones = text_.compare(at, 5, "ones(") == 0;
    if (!ones && text_.compare(at, 6, "zeros(") != 0) return false;
    at_ = text_.find('(', at) + 1;
    const size_t close = text_.rfind(')');
    std::string inner = text_.substr(at_, close - at_);
    for (char& c : inner) {
      if (std::strchr("(),[]", c) != nullptr) c = ' ';
    }
    const char* p = inner.c_str();
    for (char* end;; p = end) {
      const long long d = std::strtoll(p, &end, 10);
      if (end == p) break;
      dims_.push_back(d);
    }
    at_ = close + 1;
    leaves_ = {{false, ones ? "1" : "0"}};
    filled_ = true;
    return true;
  }

  // A list at `depth` ended with `count` items: all lists of a depth are equally long.
  Status Close(size_t depth, size_t count) {
    if (dims_.size() <= depth) dims_.resize(depth + 1, -1);
    if (dims_[depth] < 0) dims_[depth] = static_cast<int64_t>(count);
    if (dims_[depth] != static_cast<int64_t>(count)) return Bad("lists of different lengths");
    return Status();
  }

  Status ParseLeaf(size_t depth) {
    if (leaf_depth_ < 0) leaf_depth_ = static_cast<int>(depth);
    if (leaf_depth_ != static_cast<int>(depth)) return Bad("values at different depths");
    size_t start = at_;
    if (text_[at_] == 'b' && at_ + 1 < text_.size()) ++at_;
    if (text_[at_] == '\'' || text_[at_] == '"') return ParseString();
    at_ = start;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) ||
                                  std::strchr("+-._", text_[at_]) != nullptr)) {
      ++at_;
    }
    if (at_ == start) return Bad("expected a value");
    leaves_.push_back({false, text_.substr(start, at_ - start)});
    return Status();
  }

  Status ParseString() {
    const char quote = text_[at_++];
    std::string out;
    for (; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] != '\\' || at_ + 1 >= text_.size()) {
        out += text_[at_];
        continue;
      }
      const char c = text_[++at_];
      if (c == 'x' && at_ + 2 < text_.size()) {
        out += static_cast<char>(std::strtol(text_.substr(at_ + 1, 2).c_str(), nullptr, 16));
        at_ += 2;
      } else {
        out += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == '0' ? '\0' : c;
      }
    }
    if (at_ >= text_.size()) return Bad("the string does not end");
    ++at_;
    leaves_.push_back({true, std::move(out)});
    return Status();
  }

  const std::string& text_;
  size_t at_ = 0;
  int leaf_depth_ = -1;
  bool filled_ = false;
  std::vector<int64_t> dims_;
  std::vector<Leaf> leaves_;
};

Status NotA(DType dtype, const std::string& text) {
  return Status(StatusCode::kInvalidArgument,
                "found '" + text + "', expected a value of dtype " + DTypeNumpyName(dtype));
}

template <class T>
bool Convert(const std::string& text, T* out) {
  char* end = nullptr;
  if constexpr (std::is_same_v<T, bool>) {
    *out = text == "True" || text == "true" || text == "1";
    return *out || text == "False" || text == "false" || text == "0";
  } else if constexpr (std::is_integral_v<T> && std::is_unsigned_v<T>) {
    const unsigned long long v = std::strtoull(text.c_str(), &end, 0);
    *out = static_cast<T>(v);
    return *end == '\0' && *out == v && text[0] != '-';
  } else if constexpr (std::is_integral_v<T>) {
    const long long v = std::strtoll(text.c_str(), &end, 0);
    *out = static_cast<T>(v);
    return *end == '\0' && *out == v;
  } else {
    const double v = std::strtod(text.c_str(), &end);
    if constexpr (std::is_same_v<T, half> || std::is_same_v<T, bfloat16>) {
      *out = T(static_cast<float>(v));
    } else {
      *out = T(v);
    }
    return *end == '\0';
  }
}

template <class T>
StatusOr<Tensor> Make(const Parser& p, DType dtype, const Shape& shape) {
  auto tensor = Tensor::Allocate(dtype, shape);
  if (!tensor.ok()) return tensor;
  T* out = static_cast<T*>(tensor->raw_mutable_data());
  for (int64_t i = 0; i < shape.num_elements(); ++i) {
    const Leaf& leaf = p.leaves()[p.filled() ? 0 : static_cast<size_t>(i)];
    if constexpr (std::is_same_v<T, std::string>) {
      if (!leaf.is_string) return NotA(dtype, leaf.text);
      out[i] = leaf.text;
    } else {
      if (leaf.is_string || !Convert(leaf.text, &out[i])) return NotA(dtype, leaf.text);
    }
  }
  return tensor;
}

}  // namespace

StatusOr<Tensor> ParseLiteral(const std::string& text, DType dtype) {
  Parser p(text);
  if (Status s = p.Parse(); !s.ok()) return s;
  auto shape = p.shape();
  if (!shape.ok()) return shape.status();
  switch (dtype) {
#define CASE(d, T) \
  case DType::d:   \
    return Make<T>(p, dtype, *shape)
    CASE(kFloat, float);
    CASE(kDouble, double);
    CASE(kHalf, half);
    CASE(kBFloat16, bfloat16);
    CASE(kInt8, int8_t);
    CASE(kInt16, int16_t);
    CASE(kInt32, int32_t);
    CASE(kInt64, int64_t);
    CASE(kUInt8, uint8_t);
    CASE(kUInt16, uint16_t);
    CASE(kUInt32, uint32_t);
    CASE(kUInt64, uint64_t);
    CASE(kBool, bool);
    CASE(kString, std::string);
    CASE(kComplex64, std::complex<float>);
    CASE(kComplex128, std::complex<double>);
#undef CASE
    default:
      return NotA(dtype, text);
  }
}

}  // namespace savedmodel::cli
