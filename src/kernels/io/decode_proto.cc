// Fields of serialized messages as tensors, by a descriptor that the op brings along.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/io/wire.h"

namespace savedmodel {
namespace {

// The types of fields as FieldDescriptorProto numbers them.
enum FieldType : uint64_t {
  kDouble = 1,
  kFloat,
  kInt64,
  kUInt64,
  kInt32,
  kFixed64,
  kFixed32,
  kBool,
  kString,
  kGroup,
  kMessage,
  kBytes,
  kUInt32,
  kEnum,
  kSFixed32,
  kSFixed64,
  kSInt32,
  kSInt64
};

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

// One value: which member holds it follows from the field's type.
struct Value {
  int64_t integer = 0;
  double real = 0;
  std::string_view text;
};

Value FromNumber(uint64_t type, uint64_t raw) {
  Value value;
  const auto low = static_cast<uint32_t>(raw);
  switch (type) {
    case kDouble:
      std::memcpy(&value.real, &raw, sizeof raw);
      break;
    case kFloat: {
      float real = 0;
      std::memcpy(&real, &low, sizeof low);
      value.real = real;
      break;
    }
    case kInt32:
    case kSFixed32:
    case kEnum:
      value.integer = static_cast<int32_t>(low);
      break;
    case kUInt32:
    case kFixed32:
      value.integer = low;
      break;
    case kBool:
      value.integer = raw != 0;
      break;
    case kSInt32:
      value.integer = static_cast<int32_t>((low >> 1) ^ (~(low & 1) + 1));
      break;
    case kSInt64:
      value.integer = static_cast<int64_t>((raw >> 1) ^ (~(raw & 1) + 1));
      break;
    default:
      value.integer = static_cast<int64_t>(raw);
  }
  return value;
}

void Store(const Value& value, int64_t i, Tensor* t) {
  switch (t->dtype()) {
    case DType::kFloat:
      t->mutable_data<float>()[i] = static_cast<float>(value.real);
      break;
    case DType::kDouble:
      t->mutable_data<double>()[i] = value.real;
      break;
    case DType::kString:
      t->mutable_data<std::string>()[i] = std::string(value.text);
      break;
    default:
      std::memcpy(static_cast<char*>(t->raw_mutable_data()) + i * DTypeSize(t->dtype()),
                  &value.integer, DTypeSize(t->dtype()));
  }
}

// ------------------------------------------------------------------------------------ descriptors

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

struct Field {
  uint64_t number = 0, type = 0;
  bool is_repeated = false;
  bool has_default = false;
  std::string default_text, type_name;
  Value default_value;
};

// The number of the enum's value that is the default: the first, unless one is named.
int64_t EnumDefault(std::string_view set, const Field& field) {
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

void SetDefault(std::string_view set, Field* field) {
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

StatusOr<Field> FindField(std::string_view set, std::string_view message, const std::string& name) {
  WireReader fields(message);
  while (fields.Next()) {
    if (fields.field() != 2 || !fields.is_bytes() || BytesOf(fields.bytes(), 1) != name) continue;
    Field field;
    WireReader reader(fields.bytes());
    while (reader.Next()) {
      if (reader.field() == 3) field.number = reader.number();
      if (reader.field() == 4) field.is_repeated = reader.number() == 3;
      if (reader.field() == 5) field.type = reader.number();
      if (reader.field() == 6 && reader.is_bytes()) field.type_name = std::string(reader.bytes());
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

StatusOr<Field> FindLinkedField(const std::string& message, const std::string& name) {
  for (const LinkedField& f : kLinked) {
    if (f.message == message && f.name == name) {
      return Field{.number = f.number, .type = f.type, .is_repeated = f.is_repeated};
    }
  }
  return InvalidArgument("there is no descriptor of field ", name, " of message type ", message);
}

// --------------------------------------------------------------------------------------- decoding

Status AppendPacked(const Field& field, std::string_view packed, std::vector<Value>* values) {
  const WireReader::Type type = WireTypeOf(field.type);
  const size_t size = type == WireReader::kFixed64 ? 8 : 4;
  const char* at = packed.data();
  const char* const end = at + packed.size();
  while (at < end) {
    uint64_t number = 0;
    if (type == WireReader::kVarint) {
      if (!ReadVarint(&at, end, &number)) return DataLoss("a packed field is damaged");
    } else {
      if (static_cast<size_t>(end - at) < size) return DataLoss("a packed field is damaged");
      std::memcpy(&number, at, size);
      at += size;
    }
    values->push_back(FromNumber(field.type, number));
  }
  return Status();
}

// The values of each field in one message.
Status Collect(const std::vector<Field>& fields, std::string_view message,
               std::vector<std::vector<Value>>* values) {
  values->assign(fields.size(), {});
  WireReader reader(message);
  while (reader.Next()) {
    for (size_t i = 0; i < fields.size(); ++i) {
      const Field& field = fields[i];
      if (field.number != reader.field()) continue;
      std::vector<Value>& of_field = (*values)[i];
      const WireReader::Type type = WireTypeOf(field.type);
      if (reader.is_bytes() && type != WireReader::kBytes) {
        SM_RETURN_IF_ERROR(AppendPacked(field, reader.bytes(), &of_field));
      } else if (reader.type() == type) {
        Value value;
        if (reader.is_bytes()) value.text = reader.bytes();
        of_field.push_back(reader.is_bytes() ? value : FromNumber(field.type, reader.number()));
      }
      // The last value of a field that is not repeated counts.
      if (!field.is_repeated && of_field.size() > 1)
        of_field.erase(of_field.begin(), of_field.end() - 1);
    }
  }
  return reader.ok() ? Status() : DataLoss("a message cannot be read to its end");
}

Status Run(OpContext& ctx, const std::vector<Field>& fields) {
  const Shape& shape = ctx.input(0).shape();
  const int64_t n = shape.num_elements();
  SM_CHECK_ARG(n > 0, "bytes have shape ", shape, ", expected at least one message");
  SM_RETURN_IF_ERROR(
      ctx.AllocateOutput(0, shape.WithAppended(static_cast<int64_t>(fields.size()))));
  std::vector<std::vector<std::vector<Value>>> values(n);
  std::vector<size_t> most(fields.size(), 1);
  for (int64_t m = 0; m < n; ++m) {
    SM_RETURN_IF_ERROR(Collect(fields, ctx.in<std::string>(0)[m], &values[m]));
    for (size_t f = 0; f < fields.size(); ++f) {
      const size_t count = values[m][f].size();
      ctx.out<int32_t>(0)[m * fields.size() + f] = static_cast<int32_t>(count);
      most[f] = std::max(most[f], count);
    }
  }
  for (size_t f = 0; f < fields.size(); ++f) {
    const int output = static_cast<int>(f) + 1;
    Value missing = fields[f].default_value;
    missing.text = fields[f].default_text;
    SM_RETURN_IF_ERROR(
        ctx.AllocateOutput(output, shape.WithAppended(static_cast<int64_t>(most[f]))));
    for (int64_t m = 0; m < n; ++m) {
      for (size_t i = 0; i < most[f]; ++i) {
        const std::vector<Value>& found = values[m][f];
        Store(i < found.size() ? found[i] : missing, m * most[f] + i, &ctx.output(output));
      }
    }
  }
  return Status();
}

Status DecodeShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  ctx.set_output(0, in.WithAppended(ctx.num_outputs() - 1));
  for (int i = 1; i < ctx.num_outputs(); ++i) ctx.set_output(i, in.WithAppended(-1));
  return Status();
}

StatusOr<KernelPtr> Build(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  const std::string& source = attrs.String("descriptor_source");
  const std::string& type = attrs.String("message_type");
  const std::string& format = attrs.String("message_format");
  const auto& names = attrs.Get<std::vector<std::string>>("field_names");
  SM_CHECK_ARG(format == "binary" || format == "text", "message_format is ", format,
               ", expected binary or text");
  if (format == "text") return Unimplemented("messages as text");
  SM_CHECK_ARG(static_cast<int>(names.size()) == build.num_outputs() - 1, "found ", names.size(),
               " field_names and ", build.num_outputs() - 1, " output_types");
  constexpr std::string_view kInline = "bytes://";
  const bool local = source.empty() || source == "local://";
  SM_CHECK_ARG(local || source.compare(0, kInline.size(), kInline) == 0,
               "descriptor_source is a file, expected the descriptors themselves");
  const std::string_view set =
      local ? std::string_view() : std::string_view(source).substr(kInline.size());
  const std::string_view message = FindDescriptor(set, type, false);
  SM_CHECK_ARG(local || !message.empty(), "there is no descriptor of message type ", type);
  std::vector<Field> fields;
  for (size_t i = 0; i < names.size(); ++i) {
    SM_ASSIGN_OR_RETURN(
        Field field, local ? FindLinkedField(type, names[i]) : FindField(set, message, names[i]));
    const DType dtype = build.output_dtype(static_cast<int>(i) + 1);
    SM_CHECK_ARG(Fits(field.type, dtype), "field ", names[i], " cannot be of ", dtype);
    fields.push_back(std::move(field));
  }
  return MakeKernel([fields](OpContext& ctx) { return Run(ctx, fields); });
}

constexpr OpDef kOps[] = {
    {.signature = "DecodeProtoV2(bytes: string) -> (sizes: int32, values: output_types); "
                  "message_type: string; field_names: list(string); "
                  "output_types: list(type) >= 0; descriptor_source: string = 'local://'; "
                  "message_format: string = 'binary'; sanitize: bool = false",
     .shape = DecodeShape,
     .build = Build},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> DecodeProtoOps() { return kOps; }

}  // namespace savedmodel
