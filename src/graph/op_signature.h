// The signature text of an op, parsed.
//
// Grammar (whitespace is free):
//   signature := Name "(" [arg {"," arg}] ")" "->" "(" [arg {"," arg}] ")" {";" attr}
//   arg       := name ":" type
//   type      := dtype | type_attr | list_attr | "Ref(" type ")" | number_attr "*" type
//   attr      := name ":" kind [">=" minimum] ["=" default]
//   kind      := "int" | "float" | "bool" | "string" | "type" | "shape" | "tensor" | "func"
//              | "{" dtype {"," dtype} "}" | "{" 'text' {"," 'text'} "}" | "list(" kind ")"
//   default   := number | true | false | 'text' | dtype | shape | "[" [default {"," default}] "]"
//   shape     := "[" [dim {"," dim}] "]" | "?"        dim := number | "?"
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// One input or output argument; it stands for one tensor or a list of them.
struct ArgSpec {
  std::string name;
  DType type = DType::kInvalid;  // fixed dtype, or kInvalid when type_attr / type_list_attr says it
  std::string type_attr;         // `type` attribute that holds the dtype
  std::string number_attr;       // `int` attribute that holds the number of tensors
  std::string type_list_attr;    // `list(type)` attribute that holds the dtypes of the list
  bool is_ref = false;
};

enum class AttrKind : uint8_t { kInt, kFloat, kBool, kString, kType, kShape, kTensor, kFunc };

struct AttrSpec {
  std::string name;
  AttrKind kind = AttrKind::kInt;
  bool is_list = false;
  std::vector<DType> allowed_types;
  std::vector<std::string> allowed_strings;
  bool has_minimum = false;
  int64_t minimum = 0;  // of an int, or of a list's length
  bool has_default = false;
  AttrValue default_value;
};

struct OpSignature {
  std::string name;
  std::vector<ArgSpec> inputs;
  std::vector<ArgSpec> outputs;
  std::vector<AttrSpec> attrs;

  const AttrSpec* FindAttr(std::string_view name) const;
};

// INTERNAL, naming the place, when the text does not follow the grammar.
StatusOr<OpSignature> ParseOpSignature(std::string_view text);

// Adds defaults for attributes that are missing and checks kind, allowed values and minimum of all
// declared ones. INVALID_ARGUMENT names the attribute.
Status CompleteAttrs(const OpSignature& signature, Attrs* attrs);

// Number of tensors that `arg` stands for, under complete attributes.
StatusOr<int> ArgLength(const ArgSpec& arg, const Attrs& attrs);

// The dtypes of all tensors of `args` in order; `is_ref` (may be null) tells which are references.
StatusOr<std::vector<DType>> ArgTypes(const std::vector<ArgSpec>& args, const Attrs& attrs,
                                      std::vector<bool>* is_ref = nullptr);

// True for signatures that could stand in a table: compile-time check of the rows.
constexpr bool LooksLikeSignature(std::string_view s) {
  int depth = 0, parens = 0;
  size_t arrow = std::string_view::npos;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '(') ++depth;
    if (s[i] == ')') {
      if (--depth < 0) return false;
      if (depth == 0) ++parens;
    }
    if (i + 1 < s.size() && s[i] == '-' && s[i + 1] == '>' && arrow == std::string_view::npos)
      arrow = i;
  }
  return depth == 0 && parens >= 2 && arrow != std::string_view::npos && s[0] != '(';
}

constexpr std::string_view SignatureName(std::string_view s) { return s.substr(0, s.find('(')); }

// Rows of a family: well-formed, sorted by name, without duplicates, each with shape and build.
template <size_t n>
constexpr bool RowsAreSound(const OpDef (&rows)[n]) {
  for (size_t i = 0; i < n; ++i) {
    if (!LooksLikeSignature(rows[i].signature)) return false;
    if (rows[i].shape == nullptr || rows[i].build == nullptr) return false;
    if (i > 0 && !(SignatureName(rows[i - 1].signature) < SignatureName(rows[i].signature))) {
      return false;
    }
  }
  return true;
}

// A row with its signature parsed.
struct RegisteredOp {
  const OpDef* def = nullptr;
  OpSignature signature;
};

// The ops that a model can use: the library's own and the host's. Immutable after construction, but
// for signatures, which are parsed when first asked for; thread-safe.
class OpRegistry {
 public:
  // Families are searched in order: a custom op put first hides a built-in op of its name.
  explicit OpRegistry(Span<const Span<const OpDef>> families);

  // The op, or nullptr when there is no such row (or its signature is ill-formed).
  const RegisteredOp* Find(std::string_view name) const;
  // All names, sorted.
  std::vector<std::string_view> Names() const;

 private:
  struct Entry {
    const OpDef* def;
    mutable std::once_flag once;
    mutable std::unique_ptr<RegisteredOp> op;
  };
  std::unordered_map<std::string_view, std::unique_ptr<Entry>> entries_;
};

}  // namespace savedmodel
