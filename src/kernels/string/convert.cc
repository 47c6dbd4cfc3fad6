// Numbers to and from strings: StringToNumber, AsString, StringFormat.
#include <charconv>
#include <cmath>
#include <complex>
#include <cstdio>
#include <iterator>
#include <type_traits>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/string/number.h"
#include "src/kernels/string/string_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

constexpr DTypeSet kParsed =
    kFloatDouble | kInt32Or64 | Only(DType::kUInt32) | Only(DType::kUInt64);

Status StringToNumber(OpContext& ctx) {
  const Span<const std::string> in = ctx.input(0).values<std::string>();
  return VisitDType<kParsed>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = ctx.out<T>(0);
    for (size_t i = 0; i < in.size(); ++i) {
      SM_CHECK_ARG(ParseNumber(in[i], &out[i]),
                   "StringToNumberOp could not correctly convert string: ", in[i]);
    }
    return Status();
  });
}

// ------------------------------------------------------------------------------------- AsString

// A printf format without its conversion letter.
struct AsStringFormat {
  std::string flags;  // "%", fill, width and precision
  char float_letter = 'f';
  bool is_plain = false;  // without fill and width
  int precision = 6;
};

// Wider fields would be a way to fill memory from a small graph.
constexpr int64_t kMaxField = 1 << 16;

StatusOr<AsStringFormat> ParseFormat(const Attrs& attrs) {
  const bool scientific = attrs.Bool("scientific"), shortest = attrs.Bool("shortest");
  const int64_t precision = attrs.Int("precision"), width = attrs.Int("width");
  const std::string& fill = attrs.String("fill");
  const DType dtype = attrs.Type("T");
  const bool is_float = ((kFloats | kComplexes) & Only(dtype)) != 0;
  SM_CHECK_ARG(fill.size() <= 1, "fill: found '", fill, "', expected at most one character");
  SM_CHECK_ARG(fill.find_first_not_of(" +-0#") == std::string::npos, "fill: found '", fill,
               "', expected one of ' ', '+', '-', '0', '#'");
  SM_CHECK_ARG(!(scientific && shortest), "Cannot select both scientific and shortest notation");
  SM_CHECK_ARG(is_float || dtype == DType::kString || !(scientific || shortest),
               "scientific and shortest format not supported for datatype ", dtype);
  SM_CHECK_ARG(is_float || dtype == DType::kString || precision < 0,
               "precision not supported for datatype ", dtype);
  SM_CHECK_ARG(width <= kMaxField && precision <= kMaxField, "found width ", width,
               " and precision ", precision, ", expected at most ", kMaxField);
  AsStringFormat format;
  format.flags = "%" + fill;
  if (width > -1) format.flags += std::to_string(width);
  if (precision > -1) format.flags += "." + std::to_string(precision);
  format.float_letter = shortest ? 'g' : scientific ? 'e' : 'f';
  format.is_plain = fill.empty() && width <= 0;
  if (precision > -1) format.precision = static_cast<int>(precision);
  return format;
}

template <class... Args>
std::string Printf(const std::string& format, Args... args) {
  char buffer[64];
  const int length = std::snprintf(buffer, sizeof(buffer), format.c_str(), args...);
  if (length < 0) return {};
  if (static_cast<size_t>(length) < sizeof(buffer)) return std::string(buffer, length);
  std::string out(static_cast<size_t>(length) + 1, '\0');
  std::snprintf(out.data(), out.size(), format.c_str(), args...);
  out.pop_back();
  return out;
}

// A plain number. Empty when the text is too long for a buffer.
template <class T, class... Format>
std::string PlainText(T value, Format... format) {
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value, format...);
  return result.ec == std::errc() ? std::string(buffer, result.ptr) : std::string();
}

// What %f prints, for values and precisions whose product with a power of ten is exact; else empty.
std::string FixedText(float value, int precision) {
  constexpr int kMostDigits = 12;
  constexpr double kLimit = 9e18;
  if (precision == 0 || precision > kMostDigits) return {};
  double scale = 1;
  for (int i = 0; i < precision; ++i) scale *= 10;
  const double scaled = std::abs(static_cast<double>(value)) * scale;
  if (!(scaled < kLimit)) return {};
  char digits[kMostDigits + 24];
  char* const begin = digits + kMostDigits;  // of the number, before it room for zeros
  char* const end = std::to_chars(begin, std::end(digits), std::llrint(scaled)).ptr;
  char* const point = end - precision;
  char* first = begin;
  while (first >= point) *--first = '0';
  std::string text;
  if (std::signbit(value)) text += '-';
  text.append(first, point);
  text += '.';
  return text.append(point, end);
}

std::string FormatDouble(const AsStringFormat& format, double value) {
  if (format.is_plain) {
    const std::chars_format notation = format.float_letter == 'g'   ? std::chars_format::general
                                       : format.float_letter == 'e' ? std::chars_format::scientific
                                                                    : std::chars_format::fixed;
    std::string text = PlainText(value, notation, format.precision);
    if (!text.empty()) return text;
  }
  return Printf(format.flags + format.float_letter, value);
}

// Pads text as printf's %s does; embedded NULs stay.
std::string PadString(const std::string& s, size_t width, bool left) {
  if (s.size() >= width) return s;
  const std::string padding(width - s.size(), ' ');
  return left ? s + padding : padding + s;
}

template <class T>
std::string FormatElement(const AsStringFormat& format, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_same_v<T, std::complex<float>> ||
                       std::is_same_v<T, std::complex<double>>) {
    const std::string one = format.flags + format.float_letter;
    return Printf("(" + one + "," + one + ")", static_cast<double>(value.real()),
                  static_cast<double>(value.imag()));
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    if (format.is_plain) return PlainText(static_cast<int64_t>(value));
    return Printf(format.flags + "lld", static_cast<long long>(value));
  } else if constexpr (std::is_integral_v<T>) {
    if (format.is_plain) return PlainText(static_cast<uint64_t>(value));
    return Printf(format.flags + "llu", static_cast<unsigned long long>(value));
  } else {
    const float x = static_cast<float>(value);
    if (format.is_plain && format.float_letter == 'f') {
      std::string text = FixedText(x, format.precision);
      if (!text.empty()) return text;
    }
    return FormatDouble(format, static_cast<double>(x));
  }
}

template <>
std::string FormatElement<double>(const AsStringFormat& format, const double& value) {
  return FormatDouble(format, value);
}

StatusOr<KernelPtr> BuildAsString(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  SM_ASSIGN_OR_RETURN(AsStringFormat format, ParseFormat(attrs));
  const size_t width = static_cast<size_t>(std::max<int64_t>(attrs.Int("width"), 0));
  const bool left = attrs.String("fill") == "-";
  return MakeKernel([format, width, left](OpContext& ctx) -> Status {
    const int64_t n = ctx.input(0).num_elements();
    std::string* out = ctx.out<std::string>(0);
    if (const std::string* in = ctx.in<std::string>(0); in != nullptr) {
      for (int64_t i = 0; i < n; ++i) out[i] = PadString(in[i], width, left);
      return Status();
    }
    return VisitDType<kNumbers | Only(DType::kBool)>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* in = ctx.in<T>(0);
      ctx.ParallelFor(n, 500, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) out[i] = FormatElement<T>(format, in[i]);
      });
      return Status();
    });
  });
}

// --------------------------------------------------------------------------------- StringFormat

std::string EscapeText(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
    const unsigned char u = static_cast<unsigned char>(c);
    if (const char* at = std::char_traits<char>::find("\n\r\t\"'\\", 6, c); at != nullptr) {
      static constexpr char kLetters[] = "nrt\"'\\";
      static constexpr char kEscaped[] = "\n\r\t\"'\\";
      out += '\\';
      for (int i = 0; i < 6; ++i) {
        if (kEscaped[i] == c) out += kLetters[i];
      }
    } else if (u < 0x20 || u == 0x7f) {
      out += Printf("\\%03o", static_cast<unsigned>(u));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string ElementText(const Tensor& t, int64_t i) {
  if (const std::string* s = t.data<std::string>(); s != nullptr) return EscapeText(s[i]);
  std::string text = "?";
  (void)VisitDType<kReals | kQuantized | Only(DType::kBool)>(t.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T value = t.data<T>()[i];
    if constexpr (std::is_same_v<T, double>) {
      text = PrintNumber(value);
    } else if constexpr (std::is_integral_v<T>) {
      text = std::to_string(+value);
    } else {
      text = PrintNumber(static_cast<float>(value));
    }
    return Status();
  });
  return text;
}

// Prints a tensor like numpy: `ends` elements at both ends of each dimension, all when negative.
class Summary {
 public:
  Summary(const Tensor& tensor, int64_t ends)
      : tensor_(tensor),
        ends_(ends < 0 ? tensor.num_elements() : std::min(ends, tensor.num_elements())) {}

  std::string Print() {
    // Quirks of no elements at all, which TensorFlow's users see.
    if (ends_ == 0 && tensor_.dtype() == DType::kBool) return "";
    if (ends_ == 0 && tensor_.shape().rank() == 0) return "...";
    if (ends_ == 0 && IsComplex() && tensor_.num_elements() > 0) return "[...]";
    Dimension(0, 0);
    return std::move(out_);
  }

 private:
  bool IsComplex() const { return (kComplexes & Only(tensor_.dtype())) != 0; }

  void Dimension(int dim, int64_t index) {
    const Shape& shape = tensor_.shape();
    if (dim == shape.rank()) {
      out_ += ElementText(tensor_, index);
      return;
    }
    const int64_t count = shape[dim];
    const int64_t step = shape.Product(dim + 1, shape.rank());
    out_ += '[';
    for (int64_t i = 0; i < std::min(ends_, count); ++i) {
      if (i > 0) Separate(dim);
      Dimension(dim + 1, index + step * i);
    }
    if (ends_ < count - ends_) {
      Separate(dim);
      out_ += "...";
    }
    for (int64_t i = std::max(ends_, count - ends_); i < count; ++i) {
      Separate(dim);
      Dimension(dim + 1, index + step * i);
    }
    out_ += ']';
  }

  void Separate(int dim) {
    const int inner = tensor_.shape().rank() - 1 - dim;
    if (inner == 0) {
      out_ += ' ';
    } else {
      out_.append(static_cast<size_t>(inner), '\n').append(static_cast<size_t>(dim) + 1, ' ');
    }
  }

  const Tensor& tensor_;
  const int64_t ends_;
  std::string out_;
};

StatusOr<KernelPtr> BuildStringFormat(BuildContext& build) {
  const std::string& text = build.attrs().String("template");
  const std::string& placeholder = build.attrs().String("placeholder");
  SM_CHECK_ARG(!placeholder.empty(), "placeholder: found '', expected some text");
  std::vector<std::string> pieces;
  size_t from = 0;
  for (size_t at; (at = text.find(placeholder, from)) != std::string::npos;
       from = at + placeholder.size()) {
    pieces.push_back(text.substr(from, at - from));
  }
  pieces.push_back(text.substr(from));
  SM_CHECK_ARG(static_cast<int>(pieces.size()) == build.num_inputs() + 1, "template: found ",
               pieces.size() - 1, " placeholders, expected one for each of ", build.num_inputs(),
               " inputs");
  return MakeKernel([pieces, ends = build.attrs().Int("summarize")](OpContext& ctx) -> Status {
    std::string out = pieces[0];
    for (int i = 0; i < ctx.num_inputs(); ++i) {
      out += Summary(ctx.input(i), ends).Print();
      out += pieces[static_cast<size_t>(i) + 1];
    }
    ctx.out<std::string>(0)[0] = std::move(out);
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "AsString(input: T) -> (output: string); T: {float,double,int32,uint8,int16,int8,"
                  "int64,bfloat16,uint16,half,uint32,uint64,complex64,complex128,bool,variant,"
                  "string}; precision: int = -1; scientific: bool = false; "
                  "shortest: bool = false; width: int = -1; fill: string = ''",
     .shape = shape::SameAsInput0,
     .build = BuildAsString},
    {.signature = "StringFormat(inputs: T) -> (output: string); T: list(type) >= 0; "
                  "template: string = '%s'; placeholder: string = '%s'; summarize: int = 3",
     .shape = shape::Scalar,
     .build = BuildStringFormat},
    {.signature = "StringToNumber(string_tensor: string) -> (output: out_type); "
                  "out_type: {float,double,int32,int64,uint32,uint64} = float",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<StringToNumber>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> StringConvertOps() { return kOps; }

}  // namespace savedmodel
