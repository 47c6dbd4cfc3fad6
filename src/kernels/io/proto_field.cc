#include "src/kernels/io/proto_field.h"

#include <cstdlib>

#include "src/base/status_macros.h"

namespace savedmodel {

WireReader::Type WireTypeOf(uint64_t type) {
  switch (type) {
    case kDouble:
    case kFixed64:
    case kSFixed64:
      return WireReader::kFixed64;
    case kFloat:
    case kFixed32:
    case kSFixed32:
      return WireReader::kFixed32;
    case kString:
    case kMessage:
    case kBytes:
      return WireReader::kBytes;
    default:
      return WireReader::kVarint;
  }
}

namespace {

// Whether values of a field can be elements of a tensor of `dtype`.
bool Fits(uint64_t type, DType dtype) {
  switch (type) {
    case kDouble:
      return dtype == DType::kDouble;
    case kFloat:
      return dtype == DType::kFloat || dtype == DType::kDouble;
    case kInt64:
    case kSFixed64:
    case kSInt64:
      return dtype == DType::kInt64;
    case kUInt64:
    case kFixed64:
      return dtype == DType::kUInt64;
    case kInt32:
    case kSFixed32:
    case kSInt32:
      return dtype == DType::kInt32 || dtype == DType::kInt64;
    case kUInt32:
    case kFixed32:
      return dtype == DType::kUInt32 || dtype == DType::kUInt64;
    case kBool:
      return dtype == DType::kBool;
    case kEnum:
      return dtype == DType::kInt32;
    case kString:
    case kMessage:
    case kBytes:
      return dtype == DType::kString;
    default:
      return false;
  }
}

std::string_view BytesOf(std::string_view message, uint32_t field) {
  std::string_view found;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == field && reader.is_bytes()) found = reader.bytes();
  }
  return found;
}

// The descriptor of the message or enum that is called `name`, with its package, in a
// FileDescriptorSet; empty if there is none.
std::string_view FindDescriptor(std::string_view set, std::string_view name, bool is_enum) {
  WireReader files(set);
  while (files.Next()) {
    if (files.field() != 1 || !files.is_bytes()) continue;
    std::string_view scope = files.bytes(), rest = name;
    if (const std::string_view package = BytesOf(scope, 2); !package.empty()) {
      if (rest.substr(0, package.size() + 1) != std::string(package) + ".") continue;
      rest.remove_prefix(package.size() + 1);
    }
    for (bool in_file = true; !scope.empty(); in_file = false) {
      const uint32_t messages = in_file ? 4 : 3, enums = in_file ? 5 : 4;
      std::string_view inner;
      WireReader reader(scope);
      while (inner.empty() && reader.Next()) {
        if (!reader.is_bytes() || (reader.field() != messages && reader.field() != enums)) continue;
        const std::string_view own = BytesOf(reader.bytes(), 1);
        if (own.empty() || rest.substr(0, own.size()) != own) continue;
        if (rest.size() == own.size()) {
          if ((reader.field() == enums) == is_enum) return reader.bytes();
        } else if (rest[own.size()] == '.' && reader.field() == messages) {
          inner = reader.bytes();
          rest.remove_prefix(own.size() + 1);
        }
      }
      scope = inner;
    }
  }
  return {};
}

// Bytes as descriptors write them: backslashes before letters, quotes and three octal digits.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c >= '0' && c <= '7' && i + 2 < text.size()) {
      out += static_cast<char>((c - '0') * 64 + (text[i + 1] - '0') * 8 + (text[i + 2] - '0'));
      i += 2;
    } else {
      out += c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
    }
  }
  return out;
}

// The number of the enum's value that is the default: the first, unless one is named.
int64_t EnumDefault(std::string_view set, const ProtoField& field) {
  std::string_view name = field.type_name;
  if (!name.empty() && name[0] == '.') name.remove_prefix(1);
  WireReader values(FindDescriptor(set, name, true));
  while (values.Next()) {
    if (values.field() != 2 || !values.is_bytes()) continue;
    if (field.has_default && BytesOf(values.bytes(), 1) != field.default_text) continue;
    WireReader value(values.bytes());
    int64_t number = 0;
    while (value.Next()) {
      if (value.field() == 2) number = static_cast<int32_t>(value.number());
    }
    return number;
  }
  return 0;
}

void SetDefault(std::string_view set, ProtoField* field) {
  if (field->type == kEnum) field->default_value.integer = EnumDefault(set, *field);
  if (!field->has_default || field->type == kEnum) return;
  const char* text = field->default_text.c_str();
  switch (WireTypeOf(field->type)) {
    case WireReader::kBytes:
      if (field->type == kBytes) field->default_text = Unescape(field->default_text);
      break;
    default:
      field->default_value.real = std::strtod(text, nullptr);
      field->default_value.integer = field->type == kBool ? field->default_text == "true"
                                     : text[0] == '-'
                                         ? std::strtoll(text, nullptr, 10)
                                         : static_cast<int64_t>(std::strtoull(text, nullptr, 10));
  }
}

StatusOr<ProtoField> FindField(std::string_view set, std::string_view message,
                               const std::string& name) {
  WireReader fields(message);
  while (fields.Next()) {
    if (fields.field() != 2 || !fields.is_bytes() || BytesOf(fields.bytes(), 1) != name) continue;
    ProtoField field;
    WireReader reader(fields.bytes());
    while (reader.Next()) {
      if (reader.field() == 3) field.number = reader.number();
      if (reader.field() == 4) field.is_repeated = reader.number() == 3;
      if (reader.field() == 5) field.type = reader.number();
      if (reader.field() == 6 && reader.is_bytes()) field.type_name = std::string(reader.bytes());
      if (reader.field() == 8 && reader.is_bytes()) {
        WireReader options(reader.bytes());
        while (options.Next()) {
          if (options.field() == 2) field.is_packed = options.number() != 0;
        }
      }
      if (reader.field() == 7 && reader.is_bytes()) {
        field.has_default = true;
        field.default_text = std::string(reader.bytes());
      }
    }
    SetDefault(set, &field);
    return field;
  }
  return InvalidArgument("the message has no field ", name);
}

// What "local://" knows: the messages of tf.Example.
struct LinkedField {
  std::string_view message, name;
  uint64_t number, type;
  bool is_repeated;
};
constexpr LinkedField kLinked[] = {
    {"tensorflow.BytesList", "value", 1, kBytes, true},
    {"tensorflow.Example", "features", 1, kMessage, false},
    {"tensorflow.Feature", "bytes_list", 1, kMessage, false},
    {"tensorflow.Feature", "float_list", 2, kMessage, false},
    {"tensorflow.Feature", "int64_list", 3, kMessage, false},
    {"tensorflow.FeatureList", "feature", 1, kMessage, true},
    {"tensorflow.FeatureLists", "feature_list", 1, kMessage, true},
    {"tensorflow.FeatureLists.FeatureListEntry", "key", 1, kString, false},
    {"tensorflow.FeatureLists.FeatureListEntry", "value", 2, kMessage, false},
    {"tensorflow.Features", "feature", 1, kMessage, true},
    {"tensorflow.Features.FeatureEntry", "key", 1, kString, false},
    {"tensorflow.Features.FeatureEntry", "value", 2, kMessage, false},
    {"tensorflow.FloatList", "value", 1, kFloat, true},
    {"tensorflow.Int64List", "value", 1, kInt64, true},
    {"tensorflow.SequenceExample", "context", 1, kMessage, false},
    {"tensorflow.SequenceExample", "feature_lists", 2, kMessage, false},
};

StatusOr<ProtoField> FindLinkedField(const std::string& message, const std::string& name) {
  for (const LinkedField& f : kLinked) {
    if (f.message == message && f.name == name) {
      return ProtoField{.number = f.number,
                        .type = f.type,
                        .is_repeated = f.is_repeated,
                        .is_packed = f.is_repeated && f.type != kMessage && f.type != kBytes};
    }
  }
  return InvalidArgument("there is no descriptor of field ", name, " of message type ", message);
}

}  // namespace

StatusOr<ProtoField> FindProtoField(const Attrs& attrs, const std::string& name, DType dtype) {
  const std::string& source = attrs.String("descriptor_source");
  const std::string& type = attrs.String("message_type");
  constexpr std::string_view kInline = "bytes://";
  const bool local = source.empty() || source == "local://";
  SM_CHECK_ARG(local || source.compare(0, kInline.size(), kInline) == 0,
               "descriptor_source is a file, expected the descriptors themselves");
  const std::string_view set =
      local ? std::string_view() : std::string_view(source).substr(kInline.size());
  const std::string_view message = FindDescriptor(set, type, false);
  SM_CHECK_ARG(local || !message.empty(), "there is no descriptor of message type ", type);
  SM_ASSIGN_OR_RETURN(ProtoField field,
                      local ? FindLinkedField(type, name) : FindField(set, message, name));
  SM_CHECK_ARG(Fits(field.type, dtype), "field ", name, " cannot be of ", dtype);
  return field;
}

}  // namespace savedmodel
