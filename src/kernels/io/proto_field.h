// Fields of messages by descriptors that come at run time, for the ops that decode and encode them.
#pragma once

#include <string>
#include <string_view>

#include "savedmodel/op.h"
#include "src/kernels/io/wire.h"

namespace savedmodel {

// The types of fields as FieldDescriptorProto numbers them.
enum ProtoFieldType : uint64_t {
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

WireReader::Type WireTypeOf(uint64_t type);

// One value: which member holds it follows from the field's type.
struct ProtoValue {
  int64_t integer = 0;
  double real = 0;
  std::string_view text;
};

struct ProtoField {
  uint64_t number = 0, type = 0;
  bool is_repeated = false;
  bool is_packed = false;
  bool has_default = false;
  std::string default_text, type_name;
  ProtoValue default_value;
};

// Field `name` of the message that attributes message_type and descriptor_source say, whose values
// are elements of a tensor of `dtype`. INVALID_ARGUMENT where there is no such field.
StatusOr<ProtoField> FindProtoField(const Attrs& attrs, const std::string& name, DType dtype);

}  // namespace savedmodel
