// Regular expressions, in the syntax and with the matching of RE2.
#include <re2/re2.h>

#include <bitset>
#include <mutex>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/string/string_ops.h"

namespace savedmodel {
namespace {

// Whether a pattern is one class of characters, as "[^a-z]".
bool IsClass(const std::string& pattern) {
  if (pattern.size() < 3 || pattern[0] != '[') return false;
  size_t i = pattern[1] == '^' ? 2 : 1;
  if (pattern[i] == ']') ++i;  // stands for itself
  for (; i + 1 < pattern.size() && pattern[i] != ']'; ++i) {
    if (pattern[i] == '\\') ++i;
  }
  return i + 1 == pattern.size() && pattern[i] == ']';
}

struct Regex {
  explicit Regex(const std::string& pattern, const RE2::Options& options)
      : expression(pattern, options) {
    if (!expression.ok() || !IsClass(pattern)) return;
    is_class = true;
    for (size_t c = 0; c < characters.size(); ++c) {
      const char text = static_cast<char>(c);
      characters[c] = RE2::FullMatch(re2::StringPiece(&text, 1), expression);
    }
  }

  RE2 expression;
  bool is_class = false;
  std::bitset<128> characters;  // of ASCII, that a class has
};

StatusOr<std::shared_ptr<const Regex>> Compile(const std::string& pattern) {
  RE2::Options options;
  options.set_log_errors(false);
  auto regex = std::make_shared<const Regex>(pattern, options);
  if (!regex->expression.ok()) {
    return InvalidArgument("Invalid pattern: ", pattern, ", error: ", regex->expression.error());
  }
  return regex;
}

// The expression compiled last: a pattern that is an input hardly ever changes between runs.
class RegexCache {
 public:
  StatusOr<std::shared_ptr<const Regex>> Get(const std::string& pattern) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (last_ != nullptr && last_->expression.pattern() == pattern) return last_;
    }
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const Regex> regex, Compile(pattern));
    std::lock_guard<std::mutex> lock(mutex_);
    last_ = regex;
    return regex;
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<const Regex> last_;
};

void FullMatch(OpContext& ctx, const Regex& regex) {
  const std::string* in = ctx.in<std::string>(0);
  bool* out = ctx.out<bool>(0);
  ctx.ParallelFor(ctx.input(0).num_elements(), 300, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = RE2::FullMatch(in[i], regex.expression);
  });
}

// `text`, of ASCII, with each character of the class, or the first, replaced.
std::string ReplaceCharacters(const std::string& text, const std::bitset<128>& characters,
                              const std::string& rewrite, bool all) {
  std::string result;
  result.reserve(text.size());
  bool replaces = true;
  for (const char c : text) {
    if (replaces && characters[static_cast<size_t>(c)]) {
      result += rewrite;
      replaces = all;
    } else {
      result += c;
    }
  }
  return result;
}

bool IsAscii(const std::string& text) {
  char bits = 0;
  for (const char c : text) bits |= c;
  return static_cast<signed char>(bits) >= 0;
}

void Replace(OpContext& ctx, const Regex& regex, const std::string& rewrite, bool all) {
  const std::string* in = ctx.in<std::string>(0);
  std::string* out = ctx.out<std::string>(0);
  // Much quicker than to look for one match after the other.
  const bool by_character = regex.is_class && rewrite.find('\\') == std::string::npos;
  ctx.ParallelFor(ctx.input(0).num_elements(), 500, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (by_character && IsAscii(in[i])) {
        out[i] = ReplaceCharacters(in[i], regex.characters, rewrite, all);
        continue;
      }
      std::string text = in[i];
      if (all) {
        RE2::GlobalReplace(&text, regex.expression, rewrite);
      } else {
        RE2::Replace(&text, regex.expression, rewrite);
      }
      out[i] = std::move(text);
    }
  });
}

// A pattern that does not compile is an error of the run: a node that never runs may hold one.
StatusOr<KernelPtr> BuildStaticFullMatch(BuildContext& build) {
  return MakeKernel([regex = Compile(build.attrs().String("pattern"))](OpContext& ctx) -> Status {
    SM_RETURN_IF_ERROR(regex.status());
    FullMatch(ctx, **regex);
    return Status();
  });
}

StatusOr<KernelPtr> BuildStaticReplace(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  return MakeKernel([regex = Compile(attrs.String("pattern")), rewrite = attrs.String("rewrite"),
                     all = attrs.Bool("replace_global")](OpContext& ctx) -> Status {
    SM_RETURN_IF_ERROR(regex.status());
    Replace(ctx, **regex, rewrite, all);
    return Status();
  });
}

StatusOr<KernelPtr> BuildFullMatch(BuildContext&) {
  return MakeKernel([cache = std::make_shared<RegexCache>()](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const std::shared_ptr<const Regex> regex,
                        cache->Get(*ctx.in<std::string>(1)));
    FullMatch(ctx, *regex);
    return Status();
  });
}

StatusOr<KernelPtr> BuildReplace(BuildContext& build) {
  return MakeKernel([cache = std::make_shared<RegexCache>(),
                     all = build.attrs().Bool("replace_global")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const std::shared_ptr<const Regex> regex,
                        cache->Get(*ctx.in<std::string>(1)));
    Replace(ctx, *regex, *ctx.in<std::string>(2), all);
    return Status();
  });
}

// Everything but the text is a scalar.
Status RegexShape(ShapeContext& ctx) {
  for (int i = 1; i < ctx.num_inputs(); ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  return shape::SameAsInput0(ctx);
}

constexpr OpDef kOps[] = {
    {.signature = "RegexFullMatch(input: string, pattern: string) -> (output: bool)",
     .shape = RegexShape,
     .build = BuildFullMatch},
    {.signature = "RegexReplace(input: string, pattern: string, rewrite: string) -> "
                  "(output: string); replace_global: bool = true",
     .shape = RegexShape,
     .build = BuildReplace},
    {.signature = "StaticRegexFullMatch(input: string) -> (output: bool); pattern: string",
     .shape = RegexShape,
     .build = BuildStaticFullMatch},
    {.signature = "StaticRegexReplace(input: string) -> (output: string); pattern: string; "
                  "rewrite: string; replace_global: bool = true",
     .shape = RegexShape,
     .build = BuildStaticReplace},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> StringRegexOps() { return kOps; }

}  // namespace savedmodel
