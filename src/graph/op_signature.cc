#include "src/graph/op_signature.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Status Fail(std::string_view expected) const {
    return Internal("op signature \"", text_, "\": at offset ", position_, " expected ", expected);
  }
  void SkipSpace() {
    while (position_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[position_]))) {
      ++position_;
    }
  }
  bool AtEnd() {
    SkipSpace();
    return position_ == text_.size();
  }
  bool Peek(char c) {
    SkipSpace();
    return position_ < text_.size() && text_[position_] == c;
  }
  bool Take(std::string_view token) {
    SkipSpace();
    if (text_.substr(position_, token.size()) != token) return false;
    position_ += token.size();
    return true;
  }
  std::string TakeName() {
    SkipSpace();
    const size_t from = position_;
    while (position_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[position_])) || text_[position_] == '_' ||
            text_[position_] == '>')) {
      if (text_[position_] == '>' && text_.substr(position_, 2) == ">=") break;
      ++position_;
    }
    return std::string(text_.substr(from, position_ - from));
  }
  std::string TakeNumber() {
    SkipSpace();
    const size_t from = position_;
    while (position_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[position_])) ||
            std::string_view("+-.").find(text_[position_]) != std::string_view::npos)) {
      ++position_;
    }
    return std::string(text_.substr(from, position_ - from));
  }
  bool TakeQuoted(std::string* out) {
    if (!Take("'")) return false;
    out->clear();
    while (position_ < text_.size() && text_[position_] != '\'') {
      if (text_[position_] == '\\' && position_ + 1 < text_.size()) {
        const char c = text_[++position_];
        out->push_back(c == 'n' ? '\n' : c == 't' ? '\t' : c);
      } else {
        out->push_back(text_[position_]);
      }
      ++position_;
    }
    return Take("'");
  }

 private:
  std::string_view text_;
  size_t position_ = 0;
};

// Arguments name attributes that come later in the text, so types stay names until all is read.
struct RawArg {
  ArgSpec spec;
  std::string type;
};

Status ParseArgs(Parser& p, std::vector<RawArg>* args) {
  if (!p.Take("(")) return p.Fail("'('");
  while (!p.Take(")")) {
    if (!args->empty() && !p.Take(",")) return p.Fail("',' or ')'");
    RawArg arg;
    arg.spec.name = p.TakeName();
    if (arg.spec.name.empty() || !p.Take(":")) return p.Fail("an argument 'name: type'");
    arg.spec.is_ref = p.Take("Ref(");
    arg.type = p.TakeName();
    if (p.Take("*")) {
      arg.spec.number_attr = arg.type;
      arg.spec.is_ref = p.Take("Ref(");
      arg.type = p.TakeName();
    }
    if (arg.type.empty()) return p.Fail("a type");
    if (arg.spec.is_ref && !p.Take(")")) return p.Fail("')' after a Ref type");
    args->push_back(std::move(arg));
  }
  return Status();
}

Status ParseKind(Parser& p, AttrSpec* attr) {
  if (p.Take("{")) {
    attr->kind = p.Peek('\'') ? AttrKind::kString : AttrKind::kType;
    do {
      std::string text;
      if (attr->kind == AttrKind::kString) {
        if (!p.TakeQuoted(&text)) return p.Fail("a quoted value");
        attr->allowed_strings.push_back(text);
      } else {
        const DType d = DTypeFromName(p.TakeName());
        // dtypes that this library does not store are no valid choice here either
        if (d != DType::kInvalid) attr->allowed_types.push_back(d);
      }
    } while (p.Take(","));
    return p.Take("}") ? Status() : p.Fail("'}'");
  }
  static constexpr std::pair<std::string_view, AttrKind> kKinds[] = {
      {"int", AttrKind::kInt},       {"float", AttrKind::kFloat}, {"bool", AttrKind::kBool},
      {"string", AttrKind::kString}, {"type", AttrKind::kType},   {"shape", AttrKind::kShape},
      {"tensor", AttrKind::kTensor}, {"func", AttrKind::kFunc}};
  const std::string name = p.TakeName();
  for (const auto& [text, kind] : kKinds) {
    if (text == name) {
      attr->kind = kind;
      return Status();
    }
  }
  return p.Fail("a kind of attribute");
}

Status ParseInt(Parser& p, int64_t* value) {
  const std::string text = p.TakeNumber();
  const auto r = std::from_chars(text.data(), text.data() + text.size(), *value);
  return r.ec == std::errc() && r.ptr == text.data() + text.size() && !text.empty()
             ? Status()
             : p.Fail("an integer");
}

Status ParseFloat(Parser& p, float* value) {
  const std::string text = p.TakeNumber();
  const auto r = std::from_chars(text.data(), text.data() + text.size(), *value);
  return r.ec == std::errc() && !text.empty() ? Status() : p.Fail("a number");
}

Status ParseShape(Parser& p, Shape* value) {
  if (p.Take("?")) {
    *value = Shape::Unknown();
    return Status();
  }
  if (!p.Take("[")) return p.Fail("a shape");
  std::vector<int64_t> dims;
  while (!p.Take("]")) {
    if (!dims.empty() && !p.Take(",")) return p.Fail("',' or ']'");
    int64_t d = -1;
    if (!p.Take("?")) SM_RETURN_IF_ERROR(ParseInt(p, &d));
    dims.push_back(d);
  }
  *value = Shape(dims);
  return Status();
}

Status ParseOne(Parser& p, AttrKind kind, AttrValue* value) {
  switch (kind) {
    case AttrKind::kInt: {
      int64_t v = 0;
      SM_RETURN_IF_ERROR(ParseInt(p, &v));
      *value = v;
      return Status();
    }
    case AttrKind::kFloat: {
      float v = 0;
      SM_RETURN_IF_ERROR(ParseFloat(p, &v));
      *value = v;
      return Status();
    }
    case AttrKind::kBool: {
      if (p.Take("true")) {
        *value = true;
      } else if (p.Take("false")) {
        *value = false;
      } else {
        return p.Fail("true or false");
      }
      return Status();
    }
    case AttrKind::kString: {
      std::string v;
      if (!p.TakeQuoted(&v)) return p.Fail("a quoted string");
      *value = std::move(v);
      return Status();
    }
    case AttrKind::kType: {
      const DType v = DTypeFromName(p.TakeName());
      if (v == DType::kInvalid) return p.Fail("a dtype");
      *value = v;
      return Status();
    }
    case AttrKind::kShape: {
      Shape v;
      SM_RETURN_IF_ERROR(ParseShape(p, &v));
      *value = std::move(v);
      return Status();
    }
    default:
      return p.Fail("no default for this kind of attribute");
  }
}

template <class T>
Status ParseList(Parser& p, AttrKind kind, AttrValue* value) {
  std::vector<T> list;
  while (!p.Take("]")) {
    if (!list.empty() && !p.Take(",")) return p.Fail("',' or ']'");
    AttrValue one;
    SM_RETURN_IF_ERROR(ParseOne(p, kind, &one));
    list.push_back(std::get<T>(std::move(one)));
  }
  *value = std::move(list);
  return Status();
}

Status ParseDefault(Parser& p, const AttrSpec& attr, AttrValue* value) {
  if (!attr.is_list) return ParseOne(p, attr.kind, value);
  if (!p.Take("[")) return p.Fail("a list");
  switch (attr.kind) {
    case AttrKind::kInt:
      return ParseList<int64_t>(p, attr.kind, value);
    case AttrKind::kFloat:
      return ParseList<float>(p, attr.kind, value);
    case AttrKind::kBool:
      return ParseList<bool>(p, attr.kind, value);
    case AttrKind::kString:
      return ParseList<std::string>(p, attr.kind, value);
    case AttrKind::kType:
      return ParseList<DType>(p, attr.kind, value);
    case AttrKind::kShape:
      return ParseList<Shape>(p, attr.kind, value);
    case AttrKind::kTensor:
      *value = std::vector<Tensor>();
      break;
    case AttrKind::kFunc:
      *value = std::vector<FuncAttr>();
      break;
  }
  return p.Take("]") ? Status() : p.Fail("an empty list");
}

Status ParseAttr(Parser& p, OpSignature* signature) {
  AttrSpec attr;
  attr.name = p.TakeName();
  if (attr.name.empty() || !p.Take(":")) return p.Fail("an attribute 'name: kind'");
  attr.is_list = p.Take("list(");
  SM_RETURN_IF_ERROR(ParseKind(p, &attr));
  if (attr.is_list && !p.Take(")")) return p.Fail("')' after list(");
  if (p.Take(">=")) {
    attr.has_minimum = true;
    SM_RETURN_IF_ERROR(ParseInt(p, &attr.minimum));
  }
  if (p.Take("=")) {
    attr.has_default = true;
    SM_RETURN_IF_ERROR(ParseDefault(p, attr, &attr.default_value));
  }
  signature->attrs.push_back(std::move(attr));
  return Status();
}

Status ResolveArgs(const Parser& p, const OpSignature& signature, std::vector<RawArg>& raw,
                   std::vector<ArgSpec>* args) {
  for (RawArg& arg : raw) {
    if (const AttrSpec* attr = signature.FindAttr(arg.type)) {
      if (attr->kind != AttrKind::kType) return p.Fail("argument types named by type attributes");
      (attr->is_list ? arg.spec.type_list_attr : arg.spec.type_attr) = arg.type;
    } else {
      arg.spec.type = DTypeFromName(arg.type);
      if (arg.spec.type == DType::kInvalid) return p.Fail(StrCat("a dtype, not ", arg.type));
    }
    args->push_back(std::move(arg.spec));
  }
  return Status();
}

template <class T>
bool Holds(const AttrValue& value) {
  return std::holds_alternative<T>(value);
}

bool HasKind(const AttrSpec& attr, const AttrValue& v) {
  switch (attr.kind) {
    case AttrKind::kInt:
      return attr.is_list ? Holds<std::vector<int64_t>>(v) : Holds<int64_t>(v);
    case AttrKind::kFloat:
      return attr.is_list ? Holds<std::vector<float>>(v) : Holds<float>(v);
    case AttrKind::kBool:
      return attr.is_list ? Holds<std::vector<bool>>(v) : Holds<bool>(v);
    case AttrKind::kString:
      return attr.is_list ? Holds<std::vector<std::string>>(v) : Holds<std::string>(v);
    case AttrKind::kType:
      return attr.is_list ? Holds<std::vector<DType>>(v) : Holds<DType>(v);
    case AttrKind::kShape:
      return attr.is_list ? Holds<std::vector<Shape>>(v) : Holds<Shape>(v);
    case AttrKind::kTensor:
      return attr.is_list ? Holds<std::vector<Tensor>>(v) : Holds<Tensor>(v);
    case AttrKind::kFunc:
      return attr.is_list ? Holds<std::vector<FuncAttr>>(v) : Holds<FuncAttr>(v);
  }
  return false;
}

// An empty list in a NodeDef does not say of what it is a list.
AttrValue EmptyList(AttrKind kind) {
  switch (kind) {
    case AttrKind::kInt:
      return std::vector<int64_t>();
    case AttrKind::kFloat:
      return std::vector<float>();
    case AttrKind::kBool:
      return std::vector<bool>();
    case AttrKind::kString:
      return std::vector<std::string>();
    case AttrKind::kType:
      return std::vector<DType>();
    case AttrKind::kShape:
      return std::vector<Shape>();
    case AttrKind::kTensor:
      return std::vector<Tensor>();
    case AttrKind::kFunc:
      return std::vector<FuncAttr>();
  }
  return {};
}

template <class T>
bool AllAllowed(const std::vector<T>& allowed, const AttrValue& value) {
  const auto ok = [&](const T& v) {
    return std::find(allowed.begin(), allowed.end(), v) != allowed.end();
  };
  if (const auto* one = std::get_if<T>(&value)) return ok(*one);
  const auto& list = std::get<std::vector<T>>(value);
  return std::all_of(list.begin(), list.end(), ok);
}

int64_t ListLength(const AttrValue& value) {
  return std::visit(
      [](const auto& v) -> int64_t {
        using V = std::decay_t<decltype(v)>;
        if constexpr (requires(V & list) { list.pop_back(); } && !std::is_same_v<V, std::string>) {
          return static_cast<int64_t>(v.size());
        } else {
          return 0;
        }
      },
      value);
}

Status CheckAttr(const AttrSpec& spec, const AttrValue& value) {
  if (!HasKind(spec, value)) {
    return InvalidArgument("attribute '", spec.name,
                           "' has a value of another kind than the op declares");
  }
  if (!spec.allowed_types.empty() && !AllAllowed(spec.allowed_types, value)) {
    const DType* one = std::get_if<DType>(&value);
    return InvalidArgument("attribute '", spec.name, "': found ",
                           one != nullptr ? DTypeName(*one) : "a list", ", expected one of {",
                           StrJoin(spec.allowed_types, ", "), "}");
  }
  if (!spec.allowed_strings.empty() && !AllAllowed(spec.allowed_strings, value)) {
    const std::string* one = std::get_if<std::string>(&value);
    return InvalidArgument("attribute '", spec.name, "': found '", one != nullptr ? *one : "a list",
                           "', expected one of {", StrJoin(spec.allowed_strings, ", "), "}");
  }
  if (spec.has_minimum) {
    const int64_t* one = std::get_if<int64_t>(&value);
    const int64_t n = one != nullptr ? *one : ListLength(value);
    if (n < spec.minimum) {
      return InvalidArgument("attribute '", spec.name, "': found ", one != nullptr ? "" : "length ",
                             n, ", expected at least ", spec.minimum);
    }
  }
  return Status();
}

}  // namespace

const AttrSpec* OpSignature::FindAttr(std::string_view name) const {
  for (const AttrSpec& attr : attrs) {
    if (attr.name == name) return &attr;
  }
  return nullptr;
}

StatusOr<OpSignature> ParseOpSignature(std::string_view text) {
  Parser p(text);
  OpSignature signature;
  signature.name = p.TakeName();
  if (signature.name.empty()) return p.Fail("the op's name");
  std::vector<RawArg> inputs, outputs;
  SM_RETURN_IF_ERROR(ParseArgs(p, &inputs));
  if (!p.Take("->")) return p.Fail("'->'");
  SM_RETURN_IF_ERROR(ParseArgs(p, &outputs));
  while (!p.AtEnd()) {
    if (!p.Take(";")) return p.Fail("';'");
    SM_RETURN_IF_ERROR(ParseAttr(p, &signature));
  }
  SM_RETURN_IF_ERROR(ResolveArgs(p, signature, inputs, &signature.inputs));
  SM_RETURN_IF_ERROR(ResolveArgs(p, signature, outputs, &signature.outputs));
  return signature;
}

Status CompleteAttrs(const OpSignature& signature, Attrs* attrs) {
  for (const AttrSpec& spec : signature.attrs) {
    const AttrValue* value = attrs->Find(spec.name);
    if (value == nullptr) {
      if (!spec.has_default) {
        return InvalidArgument("attribute '", spec.name, "' is missing and ", signature.name,
                               " has no default for it");
      }
      attrs->Set(spec.name, spec.default_value);
      continue;
    }
    if (spec.is_list && !HasKind(spec, *value) && ListLength(*value) == 0 &&
        (std::holds_alternative<std::monostate>(*value) ||
         std::holds_alternative<std::vector<int64_t>>(*value))) {
      attrs->Set(spec.name, EmptyList(spec.kind));
      value = attrs->Find(spec.name);
    }
    SM_RETURN_IF_ERROR(CheckAttr(spec, *value));
  }
  return Status();
}

StatusOr<int> ArgLength(const ArgSpec& arg, const Attrs& attrs) {
  if (!arg.type_list_attr.empty()) return static_cast<int>(attrs.Types(arg.type_list_attr).size());
  if (arg.number_attr.empty()) return 1;
  const int64_t n = attrs.Int(arg.number_attr);
  constexpr int64_t kMost = 1 << 20;
  if (n < 0 || n > kMost) {
    return InvalidArgument("attribute '", arg.number_attr, "': found ", n,
                           " tensors, expected between 0 and ", kMost);
  }
  return static_cast<int>(n);
}

StatusOr<std::vector<DType>> ArgTypes(const std::vector<ArgSpec>& args, const Attrs& attrs,
                                      std::vector<bool>* is_ref) {
  std::vector<DType> types;
  for (const ArgSpec& arg : args) {
    if (!arg.type_list_attr.empty()) {
      const std::vector<DType>& list = attrs.Types(arg.type_list_attr);
      types.insert(types.end(), list.begin(), list.end());
    } else {
      SM_ASSIGN_OR_RETURN(const int n, ArgLength(arg, attrs));
      types.insert(types.end(), n, arg.type_attr.empty() ? arg.type : attrs.Type(arg.type_attr));
    }
    if (is_ref != nullptr) is_ref->resize(types.size(), arg.is_ref);
  }
  return types;
}

OpRegistry::OpRegistry(Span<const Span<const OpDef>> families) {
  for (const Span<const OpDef>& family : families) {
    for (const OpDef& def : family) {
      auto entry = std::make_unique<Entry>();
      entry->def = &def;
      entries_.emplace(SignatureName(def.signature), std::move(entry));
    }
  }
}

const RegisteredOp* OpRegistry::Find(std::string_view name) const {
  auto it = entries_.find(name);
  if (it == entries_.end()) return nullptr;
  const Entry& entry = *it->second;
  std::call_once(entry.once, [&] {
    StatusOr<OpSignature> signature = ParseOpSignature(entry.def->signature);
    if (!signature.ok()) return;
    entry.op = std::make_unique<RegisteredOp>();
    entry.op->def = entry.def;
    entry.op->signature = std::move(signature).value();
  });
  return entry.op.get();
}

std::vector<std::string_view> OpRegistry::Names() const {
  std::vector<std::string_view> names;
  names.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace savedmodel
