// Strings to several strings: StringSplit, StringSplitV2, StringNGrams.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/string/each_string.h"
#include "src/kernels/string/string_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

using Pieces = std::vector<std::string_view>;

// At any of the bytes of `delimiters`; between all bytes when there are none.
void SplitAtAny(std::string_view s, const std::string& delimiters, bool skip_empty, Pieces* out) {
  if (delimiters.empty()) {
    for (size_t i = 0; i < s.size(); ++i) out->push_back(s.substr(i, 1));
    return;
  }
  if (s.empty()) return;
  while (true) {
    const size_t at = std::min(s.find_first_of(delimiters), s.size());
    if (at > 0 || !skip_empty) out->push_back(s.substr(0, at));
    if (at == s.size()) return;
    s.remove_prefix(at + 1);
  }
}

void DropLeadingSpace(std::string_view* s) {
  while (!s->empty() && IsAsciiSpace(s->front())) s->remove_prefix(1);
}

// As Python's str.split(separator, limit); a negative limit is none.
void SplitLikePython(std::string_view s, const std::string& separator, int64_t limit, Pieces* out) {
  if (limit == 0) {
    out->push_back(s);
    return;
  }
  const bool at_space = separator.empty();
  if (at_space) DropLeadingSpace(&s);
  for (int64_t splits = 0; !(at_space && s.empty());) {
    const size_t at =
        at_space
            ? std::find_if(s.begin(), s.end(), [](char c) { return IsAsciiSpace(c); }) - s.begin()
            : s.find(separator);
    if (at == std::string_view::npos) {
      out->push_back(s);
      return;
    }
    out->push_back(s.substr(0, at));
    s.remove_prefix(at + separator.size());
    if (at_space) DropLeadingSpace(&s);
    if (++splits == limit) {
      out->push_back(s);
      return;
    }
  }
}

// Outputs a sparse matrix with a row of pieces for each string.
template <class Split>
Status SplitRows(OpContext& ctx, Split split) {
  const Span<const std::string> in = ctx.input(0).values<std::string>();
  const std::string& separator = *ctx.in<std::string>(1);
  Pieces pieces;
  std::vector<size_t> ends;
  size_t widest = 0;
  for (const std::string& s : in) {
    const size_t before = pieces.size();
    split(s, separator, &pieces);
    widest = std::max(widest, pieces.size() - before);
    ends.push_back(pieces.size());
  }
  const int64_t n = static_cast<int64_t>(pieces.size());
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {n, 2}));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {n}));
  int64_t* indices = ctx.out<int64_t>(0);
  std::string* values = ctx.out<std::string>(1);
  for (size_t row = 0, k = 0; row < ends.size(); ++row) {
    for (const size_t first = k; k < ends[row]; ++k) {
      *indices++ = static_cast<int64_t>(row);
      *indices++ = static_cast<int64_t>(k - first);
      values[k].assign(pieces[k]);
    }
  }
  ctx.out<int64_t>(2)[0] = static_cast<int64_t>(in.size());
  ctx.out<int64_t>(2)[1] = static_cast<int64_t>(widest);
  return Status();
}

StatusOr<KernelPtr> BuildSplit(BuildContext& build) {
  return MakeKernel([skip_empty = build.attrs().Bool("skip_empty")](OpContext& ctx) {
    return SplitRows(ctx, [&](const std::string& s, const std::string& delimiters, Pieces* out) {
      SplitAtAny(s, delimiters, skip_empty, out);
    });
  });
}

StatusOr<KernelPtr> BuildSplitV2(BuildContext& build) {
  return MakeKernel([limit = build.attrs().Int("maxsplit")](OpContext& ctx) {
    return SplitRows(ctx, [&](const std::string& s, const std::string& separator, Pieces* out) {
      SplitLikePython(s, separator, limit, out);
    });
  });
}

Status SplitShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  ctx.set_output(0, Shape({-1, 2}));
  ctx.set_output(1, Shape({-1}));
  ctx.set_output(2, Shape({2}));
  return Status();
}

// --------------------------------------------------------------------------------- StringNGrams

struct NGramSpec {
  std::string separator, left_pad, right_pad;
  std::vector<int64_t> widths;
  int64_t pad_width = 0;  // negative: as wide as makes every token appear in every position
  bool preserve_short = false;

  int64_t PadWidth(int64_t width) const {
    return std::min(pad_width < 0 ? width - 1 : pad_width, width - 1);
  }
  int64_t Count(int64_t tokens, int64_t width) const {
    return std::max<int64_t>(0, tokens + 2 * PadWidth(width) - width + 1);
  }
};

// Attributes beyond this would only serve to make giant padding.
constexpr int64_t kMaxNGramWidth = 1 << 16;

StatusOr<NGramSpec> ParseNGramSpec(const Attrs& attrs) {
  NGramSpec spec;
  spec.separator = attrs.String("separator");
  spec.left_pad = attrs.String("left_pad");
  spec.right_pad = attrs.String("right_pad");
  spec.widths = attrs.Ints("ngram_widths");
  spec.pad_width = attrs.Int("pad_width");
  spec.preserve_short = attrs.Bool("preserve_short_sequences");
  for (const int64_t width : spec.widths) {
    SM_CHECK_ARG(width >= 1 && width <= kMaxNGramWidth, "ngram_widths: found ", width,
                 ", expected 1 to ", kMaxNGramWidth);
  }
  SM_CHECK_ARG(spec.pad_width <= kMaxNGramWidth, "pad_width: found ", spec.pad_width,
               ", expected at most ", kMaxNGramWidth);
  return spec;
}

// The n-gram of `width` that starts `padding` tokens before token `index` of `tokens`.
std::string NGram(const NGramSpec& spec, const std::string* tokens, int64_t count, int64_t index,
                  int64_t width) {
  std::string out;
  const int64_t first = index - spec.PadWidth(width);
  for (int64_t i = first; i < first + width; ++i) {
    if (i > first) out += spec.separator;
    out += i < 0 ? spec.left_pad : i < count ? tokens[i] : spec.right_pad;
  }
  return out;
}

Status CheckSplits(const std::vector<int64_t>& splits, int64_t size) {
  SM_CHECK_ARG(splits.front() == 0, "First split value must be 0, got ", splits.front());
  for (size_t i = 1; i < splits.size(); ++i) {
    SM_CHECK_ARG(splits[i] >= splits[i - 1] && splits[i] <= size, "Invalid split value ", splits[i],
                 ", must be in [", splits[i - 1], ", ", size, "]");
  }
  SM_CHECK_ARG(splits.back() == size, "Last split value must be data size. Expected ", size,
               ", got ", splits.back());
  return Status();
}

// Widths of the n-grams of a row of `tokens` tokens, each with how many there are.
std::vector<std::pair<int64_t, int64_t>> RowPlan(const NGramSpec& spec, int64_t tokens) {
  std::vector<std::pair<int64_t, int64_t>> plan;
  int64_t total = 0;
  for (const int64_t width : spec.widths) {
    plan.emplace_back(width, spec.Count(tokens, width));
    total += plan.back().second;
  }
  if (spec.preserve_short && total == 0 && tokens > 0) {
    plan.emplace_back(tokens + 2 * std::max<int64_t>(spec.pad_width, 0), 1);
  }
  return plan;
}

Status NGrams(OpContext& ctx, const NGramSpec& spec) {
  const Tensor& data = ctx.input(0);
  const std::vector<int64_t> splits = ctx.IntsInput(1);
  if (!splits.empty()) SM_RETURN_IF_ERROR(CheckSplits(splits, data.num_elements()));
  std::vector<int64_t> out_splits(splits.size(), 0);
  for (size_t i = 1; i < splits.size(); ++i) {
    out_splits[i] = out_splits[i - 1];
    if (data.num_elements() == 0) continue;
    SM_CHECK_ARG(!spec.preserve_short || spec.pad_width >= 0 || !spec.widths.empty() ||
                     splits[i] == splits[i - 1],
                 "Pad width should be >= 0 when preserve_short_sequences is true and ngram_widths "
                 "are not provided, got ",
                 spec.pad_width);
    for (const auto& [width, count] : RowPlan(spec, splits[i] - splits[i - 1])) {
      out_splits[i] += count;
    }
  }
  const int64_t total = out_splits.empty() ? 0 : out_splits.back();
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {total}));
  std::string* out = ctx.out<std::string>(0);
  for (size_t i = 1; i < splits.size() && data.num_elements() > 0; ++i) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    const int64_t tokens = splits[i] - splits[i - 1];
    for (const auto& [width, count] : RowPlan(spec, tokens)) {
      for (int64_t k = 0; k < count; ++k) {
        *out++ = NGram(spec, data.data<std::string>() + splits[i - 1], tokens, k, width);
      }
    }
  }
  return VisitDType<kInt32Or64>(ctx.output_dtype(1), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    SM_CHECK_ARG(static_cast<T>(total) == total, "found ", total,
                 " n-grams, more than the splits can count");
    std::copy(out_splits.begin(), out_splits.end(), ctx.out<T>(1));
    return Status();
  });
}

StatusOr<KernelPtr> BuildNGrams(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(NGramSpec spec, ParseNGramSpec(build.attrs()));
  return MakeKernel([spec = std::move(spec)](OpContext& ctx) { return NGrams(ctx, spec); });
}

Status NGramsShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  ctx.set_output(0, Shape({-1}));
  ctx.set_output(1, ctx.input(1));
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "StringNGrams(data: string, data_splits: Tsplits) -> (ngrams: string, "
                  "ngrams_splits: Tsplits); separator: string; ngram_widths: list(int) >= 0; "
                  "left_pad: string; right_pad: string; pad_width: int; "
                  "preserve_short_sequences: bool; Tsplits: {int32,int64} = int64",
     .shape = NGramsShape,
     .build = BuildNGrams},
    {.signature = "StringSplit(input: string, delimiter: string) -> (indices: int64, "
                  "values: string, shape: int64); skip_empty: bool = true",
     .shape = SplitShape,
     .build = BuildSplit},
    {.signature = "StringSplitV2(input: string, sep: string) -> (indices: int64, values: string, "
                  "shape: int64); maxsplit: int = -1",
     .shape = SplitShape,
     .build = BuildSplitV2},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> StringSplitOps() { return kOps; }

}  // namespace savedmodel
