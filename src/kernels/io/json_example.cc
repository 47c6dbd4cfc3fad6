// DecodeJSONExample: tf.Example in JSON to its serialized form.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/io/wire.h"
#include "src/kernels/string/base64.h"
#include "src/kernels/string/number.h"

namespace savedmodel {
namespace {

// Reads JSON text from front to back. Objects and arrays are walked by callbacks that read the
// member or element, so that depth is that of what is expected.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  Status Object(FunctionRef<Status(const std::string& key)> member) {
    SM_RETURN_IF_ERROR(Expect('{'));
    if (Take('}')) return Status();
    do {
      SM_ASSIGN_OR_RETURN(const std::string key, String());
      SM_RETURN_IF_ERROR(Expect(':'));
      SM_RETURN_IF_ERROR(member(key));
    } while (Take(','));
    return Expect('}');
  }

  Status Array(FunctionRef<Status()> element) {
    SM_RETURN_IF_ERROR(Expect('['));
    if (Take(']')) return Status();
    do {
      SM_RETURN_IF_ERROR(element());
    } while (Take(','));
    return Expect(']');
  }

  bool TakeNull() {
    SkipSpace();
    if (text_.substr(at_, 4) != "null") return false;
    at_ += 4;
    return true;
  }

  StatusOr<std::string> String() {
    SM_RETURN_IF_ERROR(Expect('"'));
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] != '\\') {
        out += text_[at_++];
      } else {
        SM_RETURN_IF_ERROR(Escape(&out));
      }
    }
    if (at_ == text_.size()) return Fail("'\"'");
    ++at_;
    return out;
  }

  // The text of a number, which may stand in quotes.
  StatusOr<std::string> Number() {
    SkipSpace();
    if (at_ < text_.size() && text_[at_] == '"') return String();
    const size_t end = std::min(text_.find_first_not_of("+-.0123456789eE", at_), text_.size());
    if (end == at_) return Fail("a number");
    std::string out(text_.substr(at_, end - at_));
    at_ = end;
    return out;
  }

  Status End() {
    SkipSpace();
    return at_ == text_.size() ? Status() : Fail("the end");
  }

  Status Fail(std::string_view expected) const {
    return InvalidArgument("Error while parsing JSON: at offset ", at_, ", expected ", expected);
  }

 private:
  void SkipSpace() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  bool Take(char c) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Status Expect(char c) { return Take(c) ? Status() : Fail(std::string{'\'', c, '\''}); }

  bool Hex4(uint32_t* out) {
    if (text_.size() - at_ < 4) return false;
    *out = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_++];
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') {
        *out = *out << 4 | static_cast<uint32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        *out = *out << 4 | static_cast<uint32_t>(lower - 'a' + 10);
      } else {
        return false;
      }
    }
    return true;
  }

  Status Escape(std::string* out) {
    ++at_;
    static constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = at_ < text_.size() ? text_[at_++] : '\0';
    if (const size_t i = kLetters.find(letter); i != std::string_view::npos) {
      *out += kMeanings[i];
      return Status();
    }
    uint32_t c = 0;
    if (letter != 'u' || !Hex4(&c)) return Fail("an escape sequence");
    if (c >= 0xD800 && c < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      uint32_t low = 0;
      if (!Hex4(&low) || low < 0xDC00 || low > 0xDFFF) return Fail("a low surrogate");
      c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    if (c >= 0xD800 && c < 0xE000) return Fail("a pair of surrogates");
    AppendUtf8(c, out);
    return Status();
  }

  static void AppendUtf8(uint32_t c, std::string* out) {
    if (c < 0x80) {
      *out += static_cast<char>(c);
      return;
    }
    const int trails = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static constexpr unsigned char kLeads[] = {0, 0xC0, 0xE0, 0xF0};
    *out += static_cast<char>(kLeads[trails] | c >> (6 * trails));
    for (int i = trails - 1; i >= 0; --i) *out += static_cast<char>(0x80 | (c >> (6 * i) & 0x3F));
  }

  std::string_view text_;
  size_t at_ = 0;
};

enum class ListKind : uint32_t { kBytes = 1, kFloat = 2, kInt64 = 3 };  // their field numbers

Status AppendFloat(JsonReader& json, std::string* out) {
  SM_ASSIGN_OR_RETURN(const std::string text, json.Number());
  float value = 0;
  if (!ParseNumber(text, &value)) return json.Fail("a number, NaN, Infinity or -Infinity");
  const bool named = text.find_first_of("nN") != std::string::npos;  // NaN, Infinity
  if (std::isinf(value) && !named) return json.Fail("a number that a float can hold");
  AppendVarint(1 << 3 | WireReader::kFixed32, out);
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
  return Status();
}

Status AppendInt(JsonReader& json, std::string* out) {
  SM_ASSIGN_OR_RETURN(const std::string text, json.Number());
  int64_t value = 0;
  if (!ParseNumber(text, &value)) {
    // 1e3 and 2.0 are integers too.
    double real = 0;
    if (!ParseNumber(text, &real) || real != std::floor(real) || std::abs(real) > 9.2e18) {
      return json.Fail("an integer of 64 bits");
    }
    value = static_cast<int64_t>(real);
  }
  AppendVarintField(1, static_cast<uint64_t>(value), out);
  return Status();
}

Status AppendBytes(JsonReader& json, std::string* out) {
  SM_ASSIGN_OR_RETURN(std::string text, json.String());
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  SM_ASSIGN_OR_RETURN(const std::string bytes, FromBase64(text));
  AppendBytesField(1, bytes, out);
  return Status();
}

// A BytesList, FloatList or Int64List.
StatusOr<std::string> ReadList(JsonReader& json, ListKind kind) {
  std::string out;
  SM_RETURN_IF_ERROR(json.Object([&](const std::string& key) -> Status {
    if (key != "value") return json.Fail("the field 'value'");
    if (json.TakeNull()) return Status();
    return json.Array([&] {
      return kind == ListKind::kBytes   ? AppendBytes(json, &out)
             : kind == ListKind::kFloat ? AppendFloat(json, &out)
                                        : AppendInt(json, &out);
    });
  }));
  return out;
}

StatusOr<std::string> ReadFeature(JsonReader& json) {
  static constexpr struct {
    std::string_view camel, snake;
    ListKind kind;
  } kLists[] = {{"bytesList", "bytes_list", ListKind::kBytes},
                {"floatList", "float_list", ListKind::kFloat},
                {"int64List", "int64_list", ListKind::kInt64}};
  std::string out;
  SM_RETURN_IF_ERROR(json.Object([&](const std::string& key) -> Status {
    for (const auto& list : kLists) {
      if (key != list.camel && key != list.snake) continue;
      if (json.TakeNull()) return Status();
      if (!out.empty()) return json.Fail("one list per feature");
      SM_ASSIGN_OR_RETURN(const std::string bytes, ReadList(json, list.kind));
      AppendBytesField(static_cast<uint32_t>(list.kind), bytes, &out);
      return Status();
    }
    return json.Fail("bytesList, floatList or int64List");
  }));
  return out;
}

StatusOr<std::string> ReadFeatures(JsonReader& json) {
  std::string out;
  SM_RETURN_IF_ERROR(json.Object([&](const std::string& key) -> Status {
    if (key != "feature") return json.Fail("the field 'feature'");
    if (json.TakeNull()) return Status();
    return json.Object([&](const std::string& name) -> Status {
      SM_ASSIGN_OR_RETURN(const std::string feature, ReadFeature(json));
      std::string entry;
      AppendBytesField(1, name, &entry);
      AppendBytesField(2, feature, &entry);
      AppendBytesField(1, entry, &out);
      return Status();
    });
  }));
  return out;
}

StatusOr<std::string> ExampleFromJson(const std::string& text) {
  JsonReader json(text);
  std::string out;
  SM_RETURN_IF_ERROR(json.Object([&](const std::string& key) -> Status {
    if (key != "features") return json.Fail("the field 'features'");
    if (json.TakeNull()) return Status();
    SM_ASSIGN_OR_RETURN(const std::string features, ReadFeatures(json));
    AppendBytesField(1, features, &out);
    return Status();
  }));
  SM_RETURN_IF_ERROR(json.End());
  return out;
}

Status DecodeJsonExample(OpContext& ctx) {
  for (int64_t i = 0; i < ctx.input(0).num_elements(); ++i) {
    SM_ASSIGN_OR_RETURN(ctx.out<std::string>(0)[i], ExampleFromJson(ctx.in<std::string>(0)[i]));
  }
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "DecodeJSONExample(json_examples: string) -> (binary_examples: string)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<DecodeJsonExample>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> JsonExampleOps() { return kOps; }

}  // namespace savedmodel
