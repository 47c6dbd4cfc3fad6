// Strings to strings, one by one: case, stripping, substrings, lengths, base64.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/string/base64.h"
#include "src/kernels/string/each_string.h"
#include "src/kernels/string/string_ops.h"
#include "src/kernels/string/unicode.h"

namespace savedmodel {
namespace {

template <bool upper>
StatusOr<KernelPtr> BuildCase(BuildContext& build) {
  const std::string& encoding = build.attrs().String("encoding");
  SM_CHECK_ARG(encoding.empty() || encoding == "utf-8", "encoding: found '", encoding,
               "', expected 'utf-8' or '' (bytes)");
  if (!encoding.empty()) {
    return MakeKernel([](OpContext& ctx) -> Status {
      EachString<std::string>(ctx, 500, [](const std::string& s) { return Utf8Case(s, upper); });
      return Status();
    });
  }
  return MakeKernel([](OpContext& ctx) -> Status {
    EachString<std::string>(ctx, 60, [](std::string s) {
      for (char& c : s) {
        const bool other = static_cast<unsigned char>(c - (upper ? 'a' : 'A')) < 26;
        c = static_cast<char>(c ^ (other << 5));
      }
      return s;
    });
    return Status();
  });
}

Status Strip(OpContext& ctx) {
  EachString<std::string>(ctx, 60,
                          [](const std::string& s) { return std::string(StripAsciiSpace(s)); });
  return Status();
}

StatusOr<KernelPtr> BuildLength(BuildContext& build) {
  return MakeKernel([utf8 = build.attrs().String("unit") == "UTF8_CHAR"](OpContext& ctx) -> Status {
    EachString<int32_t>(ctx, 20, [&](const std::string& s) {
      return static_cast<int32_t>(utf8 ? s.size() - std::count_if(s.begin(), s.end(), IsUtf8Trail)
                                       : s.size());
    });
    return Status();
  });
}

// -------------------------------------------------------------------------------------- Substr

struct Range {
  bool valid = false;
  size_t begin = 0, length = 0;
};

// A negative length reaches to the end, as does one that is too long.
Range ByteRange(const std::string& s, int64_t position, int64_t length) {
  const int64_t size = static_cast<int64_t>(s.size());
  if (position < 0) position += size;
  if (position < 0 || position > size) return {};
  const int64_t rest = size - position;
  return {true, static_cast<size_t>(position),
          static_cast<size_t>(length < 0 ? rest : std::min(length, rest))};
}

// Moves `at` over up to `count` characters; returns how many there were.
int64_t StepForward(const std::string& s, int64_t count, size_t* at) {
  int64_t steps = 0;
  for (; steps < count && *at < s.size(); ++steps) {
    do {
      ++*at;
    } while (*at < s.size() && IsUtf8Trail(s[*at]));
  }
  return steps;
}

Range Utf8Range(const std::string& s, int64_t position, int64_t length) {
  size_t begin = 0;
  if (position >= 0) {
    if (StepForward(s, position, &begin) < position) return {};
    length = std::max<int64_t>(length, 0);
  } else {
    if (length < 0) return {};
    begin = s.size();
    for (int64_t steps = 0; steps > position; --steps) {
      if (begin == 0) return {};
      do {
        --begin;
      } while (begin > 0 && IsUtf8Trail(s[begin]));
    }
  }
  size_t end = begin;
  StepForward(s, length, &end);
  return {true, begin, end - begin};
}

Status SubstrShape(ShapeContext& ctx) {
  const Shape& text = ctx.input(0);
  const Shape& position = ctx.input(1);
  SM_CHECK_ARG(position.CompatibleWith(ctx.input(2)), "pos and len: found shapes ", position,
               " and ", ctx.input(2), ", expected equal shapes");
  if (!text.known_rank() || !position.known_rank()) return Status();
  if (position.rank() == 0) {
    ctx.set_output(0, text);
    return Status();
  }
  SM_ASSIGN_OR_RETURN(Shape out, shape::BroadcastShapes(text, position));
  if (out.rank() > 2 && text != position && text.fully_known() && position.fully_known()) {
    return Unimplemented("broadcasting strings ", text, " and positions ", position,
                         ": more than 2 dimensions");
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

// Per dimension of `out` the step in elements of a tensor of `shape`; 0 where it is broadcast.
std::vector<int64_t> BroadcastSteps(const Shape& shape, const Shape& out) {
  std::vector<int64_t> steps(static_cast<size_t>(out.rank()), 0);
  int64_t step = 1;
  for (int i = shape.rank() - 1, o = out.rank() - 1; i >= 0; --i, --o) {
    if (shape[i] != 1) steps[static_cast<size_t>(o)] = step;
    step *= shape[i];
  }
  return steps;
}

int64_t SourceIndex(int64_t index, const Shape& out, const std::vector<int64_t>& steps) {
  int64_t source = 0;
  for (int d = out.rank() - 1; d >= 0; --d) {
    source += index % out[d] * steps[static_cast<size_t>(d)];
    index /= out[d];
  }
  return source;
}

StatusOr<KernelPtr> BuildSubstr(BuildContext& build) {
  return MakeKernel([utf8 = build.attrs().String("unit") == "UTF8_CHAR"](OpContext& ctx) -> Status {
    const std::vector<int64_t> positions = ctx.IntsInput(1), lengths = ctx.IntsInput(2);
    const Shape& out_shape = ctx.output(0).shape();
    const std::vector<int64_t> text_steps = BroadcastSteps(ctx.input(0).shape(), out_shape);
    const std::vector<int64_t> position_steps = BroadcastSteps(ctx.input(1).shape(), out_shape);
    const std::string* in = ctx.in<std::string>(0);
    std::string* out = ctx.out<std::string>(0);
    for (int64_t i = 0; i < out_shape.num_elements(); ++i) {
      const std::string& s = in[SourceIndex(i, out_shape, text_steps)];
      const size_t p = static_cast<size_t>(SourceIndex(i, out_shape, position_steps));
      const Range range =
          utf8 ? Utf8Range(s, positions[p], lengths[p]) : ByteRange(s, positions[p], lengths[p]);
      SM_CHECK_ARG(range.valid, "pos ", positions[p], " out of range for string at index ", i);
      out[i] = s.substr(range.begin, range.length);
    }
    return Status();
  });
}

// -------------------------------------------------------------------------------------- base64

StatusOr<KernelPtr> BuildEncodeBase64(BuildContext& build) {
  return MakeKernel([pad = build.attrs().Bool("pad")](OpContext& ctx) -> Status {
    EachString<std::string>(ctx, 200, [&](const std::string& s) { return ToBase64(s, pad); });
    return Status();
  });
}

Status DecodeBase64(OpContext& ctx) {
  for (int64_t i = 0; i < ctx.input(0).num_elements(); ++i) {
    SM_ASSIGN_OR_RETURN(ctx.out<std::string>(0)[i], FromBase64(ctx.in<std::string>(0)[i]));
  }
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "DecodeBase64(input: string) -> (output: string)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<DecodeBase64>},
    {.signature = "EncodeBase64(input: string) -> (output: string); pad: bool = false",
     .shape = shape::SameAsInput0,
     .build = BuildEncodeBase64},
    {.signature = "StringLength(input: string) -> (output: int32); "
                  "unit: {'BYTE','UTF8_CHAR'} = 'BYTE'",
     .shape = shape::SameAsInput0,
     .build = BuildLength},
    {.signature = "StringLower(input: string) -> (output: string); encoding: string = ''",
     .shape = shape::SameAsInput0,
     .build = BuildCase<false>},
    {.signature = "StringStrip(input: string) -> (output: string)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<Strip>},
    {.signature = "StringUpper(input: string) -> (output: string); encoding: string = ''",
     .shape = shape::SameAsInput0,
     .build = BuildCase<true>},
    {.signature = "Substr(input: string, pos: T, len: T) -> (output: string); T: {int32,int64}; "
                  "unit: {'BYTE','UTF8_CHAR'} = 'BYTE'",
     .shape = SubstrShape,
     .build = BuildSubstr},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> StringTextOps() { return kOps; }

}  // namespace savedmodel
