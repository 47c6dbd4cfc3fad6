// Unicode: encodings, code points, scripts, full case mappings. All uses of ICU are here.
#include "src/kernels/string/unicode.h"

#include <unicode/ucnv.h>
#include <unicode/uscript.h>
#include <unicode/ustring.h>

#include <memory>
#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/string/string_ops.h"

namespace savedmodel {

std::string Utf8Case(const std::string& s, bool upper) {
  // Like TensorFlow's, the text ends at the first NUL.
  const int32_t length = static_cast<int32_t>(std::string_view(s.c_str()).size());
  UErrorCode error = U_ZERO_ERROR;
  std::vector<UChar> wide(static_cast<size_t>(length) + 1);
  int32_t wide_length = 0;
  u_strFromUTF8WithSub(wide.data(), static_cast<int32_t>(wide.size()), &wide_length, s.data(),
                       length, 0xFFFD, nullptr, &error);
  // No mapping is longer than three units for one.
  std::vector<UChar> mapped(3 * static_cast<size_t>(wide_length) + 1);
  const auto map = upper ? u_strToUpper : u_strToLower;
  const int32_t mapped_length =
      map(mapped.data(), static_cast<int32_t>(mapped.size()), wide.data(), wide_length, "", &error);
  std::string out(3 * static_cast<size_t>(mapped_length), '\0');
  int32_t out_length = 0;
  u_strToUTF8WithSub(out.data(), static_cast<int32_t>(out.size()), &out_length, mapped.data(),
                     mapped_length, 0xFFFD, nullptr, &error);
  out.resize(U_FAILURE(error) ? 0 : static_cast<size_t>(out_length));
  return out;
}

namespace {

constexpr int64_t kMaxCodePoint = 0x10FFFF;

// What to do with malformed input; the attributes all Unicode ops share.
struct ErrorPolicy {
  bool strict = false, ignore = false, replace_control_characters = false;
  int32_t replacement = 0;
};

StatusOr<ErrorPolicy> ParseErrorPolicy(const Attrs& attrs) {
  const int64_t replacement = attrs.Int("replacement_char");
  SM_CHECK_ARG(replacement >= 0 && replacement <= kMaxCodePoint, "replacement_char: found ",
               replacement, ", expected a Unicode code point");
  ErrorPolicy policy;
  policy.strict = attrs.String("errors") == "strict";
  policy.ignore = attrs.String("errors") == "ignore";
  policy.replace_control_characters = attrs.Bool("replace_control_characters");
  policy.replacement = static_cast<int32_t>(replacement);
  return policy;
}

void FlagMalformed(const void* context, UConverterToUnicodeArgs* args, const char* units,
                   int32_t length, UConverterCallbackReason reason, UErrorCode* error) {
  if (reason == UCNV_UNASSIGNED || reason == UCNV_ILLEGAL || reason == UCNV_IRREGULAR) {
    *static_cast<bool*>(const_cast<void*>(context)) = true;
  }
  UCNV_TO_U_CALLBACK_SUBSTITUTE(nullptr, args, units, length, reason, error);
}

// Bytes of one encoding to code points. Not thread-safe.
class Decoder {
 public:
  static StatusOr<std::unique_ptr<Decoder>> Open(const std::string& encoding) {
    UErrorCode error = U_ZERO_ERROR;
    // An empty name would mean the machine's default encoding.
    UConverter* converter = encoding.empty() ? nullptr : ucnv_open(encoding.c_str(), &error);
    if (converter == nullptr || U_FAILURE(error)) {
      return InvalidArgument("Could not create converter for input encoding: ", encoding);
    }
    return std::unique_ptr<Decoder>(new Decoder(converter));
  }
  Decoder(const Decoder&) = delete;
  ~Decoder() { ucnv_close(converter_); }

  // Calls `emit(code_point, bytes, malformed)` for each character of `s`.
  template <class Emit>
  void Decode(const std::string& s, Emit emit) {
    const char* at = s.data();
    const char* end = at + s.size();
    UErrorCode error = U_ZERO_ERROR;
    ucnv_resetToUnicode(converter_);
    while (at < end) {
      const char* before = at;
      malformed_ = false;
      const UChar32 c = ucnv_getNextUChar(converter_, &at, end, &error);
      if (U_FAILURE(error)) at = end;
      emit(c, at - before, malformed_);
    }
  }

 private:
  explicit Decoder(UConverter* converter) : converter_(converter) {
    UErrorCode error = U_ZERO_ERROR;
    ucnv_setToUCallBack(converter_, FlagMalformed, &malformed_, nullptr, nullptr, &error);
  }

  UConverter* converter_;
  bool malformed_ = false;
};

enum class Utf : uint8_t { k8, k16BigEndian, k32BigEndian };

Utf OutputEncoding(const Attrs& attrs) {
  const std::string& name = attrs.String("output_encoding");
  return name == "UTF-8" ? Utf::k8 : name == "UTF-16-BE" ? Utf::k16BigEndian : Utf::k32BigEndian;
}

void AppendBigEndian(uint32_t value, int bytes, std::string* out) {
  while (bytes-- > 0) *out += static_cast<char>(value >> (8 * bytes) & 0xff);
}

// `c` is a code point; surrogates become U+FFFD in UTF-8.
void AppendCodePoint(int32_t c, Utf encoding, std::string* out) {
  const uint32_t u = static_cast<uint32_t>(c);
  if (encoding == Utf::k32BigEndian) {
    AppendBigEndian(u, 4, out);
  } else if (encoding == Utf::k16BigEndian) {
    if (u <= 0xFFFF) {
      AppendBigEndian(u, 2, out);
    } else {
      AppendBigEndian(U16_LEAD(u), 2, out);
      AppendBigEndian(U16_TRAIL(u), 2, out);
    }
  } else {
    char bytes[U8_MAX_LENGTH];
    int32_t n = 0;
    const uint32_t scalar = U_IS_SURROGATE(u) ? 0xFFFD : u;
    U8_APPEND_UNSAFE(bytes, n, scalar);
    out->append(bytes, static_cast<size_t>(n));
  }
}

// ------------------------------------------------------------------------------------ transcode

StatusOr<KernelPtr> BuildTranscode(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ErrorPolicy policy, ParseErrorPolicy(build.attrs()));
  const std::string& input_encoding = build.attrs().String("input_encoding");
  SM_RETURN_IF_ERROR(Decoder::Open(input_encoding).status());
  return MakeKernel(
      [policy, input_encoding, encoding = OutputEncoding(build.attrs())](OpContext& ctx) -> Status {
        SM_ASSIGN_OR_RETURN(const std::unique_ptr<Decoder> decoder, Decoder::Open(input_encoding));
        for (int64_t i = 0; i < ctx.input(0).num_elements(); ++i) {
          std::string text;
          bool any_error = false;
          decoder->Decode(ctx.in<std::string>(0)[i], [&](int32_t c, int64_t, bool malformed) {
            if (malformed || (policy.replace_control_characters && c <= 0x1F)) {
              any_error = true;
              if (policy.ignore) return;
              c = policy.replacement;
            }
            AppendCodePoint(c, encoding, &text);
          });
          SM_CHECK_ARG(!(policy.strict && any_error), "Invalid formatting on input string ", i);
          ctx.out<std::string>(0)[i] = std::move(text);
        }
        return Status();
      });
}

// --------------------------------------------------------------------------------------- decode

StatusOr<Tensor> SplitsTensor(OpContext& ctx, DType dtype, const std::vector<int64_t>& splits) {
  SM_ASSIGN_OR_RETURN(Tensor out, ctx.AllocateTemp(dtype, {static_cast<int64_t>(splits.size())}));
  if (int32_t* narrow = out.mutable_data<int32_t>(); narrow != nullptr) {
    SM_CHECK_ARG(splits.back() <= INT32_MAX, "found ", splits.back(),
                 " values, more than int32 splits can count");
    std::copy(splits.begin(), splits.end(), narrow);
  } else {
    std::copy(splits.begin(), splits.end(), out.mutable_data<int64_t>());
  }
  return out;
}

// UnicodeDecode, and with a third output of byte offsets UnicodeDecodeWithOffsets.
StatusOr<KernelPtr> BuildDecode(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ErrorPolicy policy, ParseErrorPolicy(build.attrs()));
  const std::string& input_encoding = build.attrs().String("input_encoding");
  SM_RETURN_IF_ERROR(Decoder::Open(input_encoding).status());
  return MakeKernel([policy, input_encoding](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const std::unique_ptr<Decoder> decoder, Decoder::Open(input_encoding));
    std::vector<int64_t> splits = {0};
    std::vector<int32_t> values;
    std::vector<int64_t> offsets;
    for (int64_t i = 0; i < ctx.input(0).num_elements(); ++i) {
      SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
      int64_t offset = 0;
      bool any_error = false;
      decoder->Decode(ctx.in<std::string>(0)[i], [&](int32_t c, int64_t bytes, bool malformed) {
        any_error |= malformed;
        const bool replace = malformed || (policy.replace_control_characters && c <= 0x1F);
        if (!(replace && policy.ignore)) {
          values.push_back(replace ? policy.replacement : c);
          offsets.push_back(offset);
        }
        offset += bytes;
      });
      SM_CHECK_ARG(!(policy.strict && any_error), "Invalid formatting on input string ", i);
      splits.push_back(static_cast<int64_t>(values.size()));
    }
    SM_ASSIGN_OR_RETURN(Tensor split_tensor, SplitsTensor(ctx, ctx.output_dtype(0), splits));
    ctx.set_output(0, std::move(split_tensor));
    const Shape shape = {static_cast<int64_t>(values.size())};
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, shape));
    std::copy(values.begin(), values.end(), ctx.out<int32_t>(1));
    if (ctx.num_outputs() > 2) {
      SM_RETURN_IF_ERROR(ctx.AllocateOutput(2, shape));
      std::copy(offsets.begin(), offsets.end(), ctx.out<int64_t>(2));
    }
    return Status();
  });
}

// --------------------------------------------------------------------------------------- encode

Status EncodeShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  if (!ctx.input(1).known_rank()) return Status();
  const int64_t splits = ctx.input(1).dim(0);
  SM_CHECK_ARG(splits != 0, "input_splits: found no elements, expected at least 1");
  ctx.set_output(0, Shape({splits < 0 ? -1 : splits - 1}));
  return Status();
}

StatusOr<KernelPtr> BuildEncode(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ErrorPolicy policy, ParseErrorPolicy(build.attrs()));
  return MakeKernel([policy, encoding = OutputEncoding(build.attrs())](OpContext& ctx) -> Status {
    const Span<const int32_t> values = ctx.input(0).values<int32_t>();
    const std::vector<int64_t> splits = ctx.IntsInput(1);
    SM_CHECK_ARG(splits.front() == 0, "First value in input_splits must be zero.");
    SM_CHECK_ARG(splits.back() == static_cast<int64_t>(values.size()),
                 "Last value in input_splits must be equal to length of input_tensor.");
    for (size_t i = 1; i < splits.size(); ++i) {
      SM_CHECK_ARG(splits[i - 1] <= splits[i],
                   "Values in input_splits must be equal or in ascending order.");
    }
    for (size_t i = 1; i < splits.size(); ++i) {
      std::string text;
      for (int64_t k = splits[i - 1]; k < splits[i]; ++k) {
        int32_t c = values[static_cast<size_t>(k)];
        if (c < 0 || c > kMaxCodePoint || U_IS_SURROGATE(c)) {
          SM_CHECK_ARG(!policy.strict, "Code point is out of range for Unicode: ", c);
          if (policy.ignore) continue;
          c = policy.replacement;
        }
        AppendCodePoint(c, encoding, &text);
      }
      ctx.out<std::string>(0)[i - 1] = std::move(text);
    }
    return Status();
  });
}

Status Script(OpContext& ctx) {
  const int32_t* in = ctx.in<int32_t>(0);
  int32_t* out = ctx.out<int32_t>(0);
  for (int64_t i = 0; i < ctx.input(0).num_elements(); ++i) {
    UErrorCode error = U_ZERO_ERROR;
    const UScriptCode script = uscript_getScript(in[i], &error);
    out[i] = U_FAILURE(error) ? -1 : static_cast<int32_t>(script);
  }
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "UnicodeDecode(input: string) -> (row_splits: Tsplits, char_values: int32); "
                  "input_encoding: string; errors: {'strict','replace','ignore'} = 'replace'; "
                  "replacement_char: int = 65533; replace_control_characters: bool = false; "
                  "Tsplits: {int32,int64} = int64",
     .shape = shape::Unknown,
     .build = BuildDecode},
    {.signature = "UnicodeDecodeWithOffsets(input: string) -> (row_splits: Tsplits, "
                  "char_values: int32, char_to_byte_starts: int64); input_encoding: string; "
                  "errors: {'strict','replace','ignore'} = 'replace'; "
                  "replacement_char: int = 65533; replace_control_characters: bool = false; "
                  "Tsplits: {int32,int64} = int64",
     .shape = shape::Unknown,
     .build = BuildDecode},
    {.signature = "UnicodeEncode(input_values: int32, input_splits: Tsplits) -> (output: string); "
                  "errors: {'ignore','replace','strict'} = 'replace'; "
                  "output_encoding: {'UTF-8','UTF-16-BE','UTF-32-BE'}; "
                  "replacement_char: int = 65533; Tsplits: {int32,int64} = int64",
     .shape = EncodeShape,
     .build = BuildEncode},
    {.signature = "UnicodeScript(input: int32) -> (output: int32)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<Script>,
     .in_place = InPlace::kInput0},
    {.signature = "UnicodeTranscode(input: string) -> (output: string); input_encoding: string; "
                  "output_encoding: {'UTF-8','UTF-16-BE','UTF-32-BE'}; "
                  "errors: {'strict','replace','ignore'} = 'replace'; "
                  "replacement_char: int = 65533; replace_control_characters: bool = false",
     .shape = shape::SameAsInput0,
     .build = BuildTranscode},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> UnicodeOps() { return kOps; }

}  // namespace savedmodel
