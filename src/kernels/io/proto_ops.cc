// Fields of serialized messages to and from tensors, by a descriptor that the op brings along.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/io/proto_field.h"

namespace savedmodel {
namespace {

ProtoValue FromNumber(uint64_t type, uint64_t raw) {
  ProtoValue value;
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

void Store(const ProtoValue& value, int64_t i, Tensor* t) {
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

// --------------------------------------------------------------------------------------- decoding

Status AppendPacked(const ProtoField& field, std::string_view packed,
                    std::vector<ProtoValue>* values) {
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
Status Collect(const std::vector<ProtoField>& fields, std::string_view message,
               std::vector<std::vector<ProtoValue>>* values) {
  values->assign(fields.size(), {});
  WireReader reader(message);
  while (reader.Next()) {
    for (size_t i = 0; i < fields.size(); ++i) {
      const ProtoField& field = fields[i];
      if (field.number != reader.field()) continue;
      std::vector<ProtoValue>& of_field = (*values)[i];
      const WireReader::Type type = WireTypeOf(field.type);
      if (reader.is_bytes() && type != WireReader::kBytes) {
        SM_RETURN_IF_ERROR(AppendPacked(field, reader.bytes(), &of_field));
      } else if (reader.type() == type) {
        ProtoValue value;
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

Status RunDecode(OpContext& ctx, const std::vector<ProtoField>& fields) {
  const Shape& shape = ctx.input(0).shape();
  const int64_t n = shape.num_elements();
  SM_CHECK_ARG(n > 0, "bytes have shape ", shape, ", expected at least one message");
  SM_RETURN_IF_ERROR(
      ctx.AllocateOutput(0, shape.WithAppended(static_cast<int64_t>(fields.size()))));
  std::vector<std::vector<std::vector<ProtoValue>>> values(n);
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
    ProtoValue missing = fields[f].default_value;
    missing.text = fields[f].default_text;
    SM_RETURN_IF_ERROR(
        ctx.AllocateOutput(output, shape.WithAppended(static_cast<int64_t>(most[f]))));
    for (int64_t m = 0; m < n; ++m) {
      for (size_t i = 0; i < most[f]; ++i) {
        const std::vector<ProtoValue>& found = values[m][f];
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

StatusOr<KernelPtr> BuildDecode(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  const std::string& format = attrs.String("message_format");
  const auto& names = attrs.Get<std::vector<std::string>>("field_names");
  SM_CHECK_ARG(format == "binary" || format == "text", "message_format is ", format,
               ", expected binary or text");
  if (format == "text") return Unimplemented("messages as text");
  SM_CHECK_ARG(static_cast<int>(names.size()) == build.num_outputs() - 1, "found ", names.size(),
               " field_names and ", build.num_outputs() - 1, " output_types");
  std::vector<ProtoField> fields;
  for (size_t i = 0; i < names.size(); ++i) {
    const DType dtype = build.output_dtype(static_cast<int>(i) + 1);
    SM_ASSIGN_OR_RETURN(ProtoField field, FindProtoField(attrs, names[i], dtype));
    fields.push_back(std::move(field));
  }
  return MakeKernel([fields](OpContext& ctx) { return RunDecode(ctx, fields); });
}

// --------------------------------------------------------------------------------------- encoding

// Element `i` of `t` as the bytes of one value, without its tag.
void AppendValue(uint64_t type, const Tensor& t, int64_t i, std::string* out) {
  if (t.dtype() == DType::kString) {
    const std::string& text = t.data<std::string>()[i];
    AppendVarint(text.size(), out);
    out->append(text);
    return;
  }
  uint64_t raw = 0;
  if (type == kFloat) {
    const float value =
        t.dtype() == DType::kFloat ? t.data<float>()[i] : static_cast<float>(t.data<double>()[i]);
    std::memcpy(&raw, &value, sizeof value);
  } else {
    const size_t size = DTypeSize(t.dtype());
    std::memcpy(&raw, static_cast<const char*>(t.raw_data()) + i * size, size);
  }
  const auto low = static_cast<uint32_t>(raw);
  switch (type) {
    case kInt32:
    case kEnum:
      raw = static_cast<uint64_t>(int64_t{static_cast<int32_t>(low)});
      break;
    case kUInt32:
      raw = low;
      break;
    case kSInt32:
      raw = low << 1 ^ (~(low >> 31) + 1);
      break;
    case kSInt64:
      raw = raw << 1 ^ (~(raw >> 63) + 1);
      break;
    default:
      break;
  }
  const WireReader::Type wire = WireTypeOf(type);
  if (wire == WireReader::kVarint) {
    AppendVarint(raw, out);
  } else {
    out->append(reinterpret_cast<const char*>(&raw), wire == WireReader::kFixed64 ? 8 : 4);
  }
}

void AppendField(const ProtoField& field, const Tensor& t, int64_t first, int64_t count,
                 std::string* out) {
  const bool packed = field.is_packed && t.dtype() != DType::kString;
  std::string values;
  for (int64_t i = first; i < first + count; ++i) {
    if (!packed) AppendVarint(field.number << 3 | WireTypeOf(field.type), out);
    AppendValue(field.type, t, i, packed ? &values : out);
  }
  if (packed) AppendBytesField(static_cast<uint32_t>(field.number), values, out);
}

// Input 0 holds the number of values of each field of each message, the others the values.
Status RunEncode(OpContext& ctx, const std::vector<ProtoField>& fields) {
  const Shape& messages = ctx.output(0).shape();
  const int64_t n = messages.num_elements(), count = static_cast<int64_t>(fields.size());
  SM_CHECK_ARG(ctx.input(0).shape() == messages.WithAppended(count), "sizes have shape ",
               ctx.input(0).shape(), ", expected ", messages.WithAppended(count));
  const int32_t* sizes = ctx.in<int32_t>(0);
  std::vector<size_t> order(fields.size());
  for (size_t f = 0; f < fields.size(); ++f) {
    const Shape& shape = ctx.input(static_cast<int>(f) + 1).shape();
    SM_CHECK_ARG(shape.rank() >= 2 && shape.WithRemoved(shape.rank() - 1) == messages,
                 "values have shape ", shape, ", expected some for each of the messages ",
                 messages);
    for (int64_t m = 0; m < n; ++m) {
      SM_CHECK_ARG(sizes[m * count + f] <= shape[shape.rank() - 1], "found size ",
                   sizes[m * count + f], " for values of shape ", shape);
    }
    order[f] = f;
  }
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return fields[a].number < fields[b].number; });
  for (int64_t m = 0; m < n; ++m) {
    std::string& out = ctx.out<std::string>(0)[m];
    out.clear();
    for (const size_t f : order) {
      const Tensor& values = ctx.input(static_cast<int>(f) + 1);
      const int64_t row = values.shape()[values.shape().rank() - 1], size = sizes[m * count + f];
      if (size > 0) AppendField(fields[f], values, m * row, size, &out);
    }
  }
  return Status();
}

Status EncodeShape(ShapeContext& ctx) {
  const Shape& values = ctx.input(1);
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(1, 2));
  if (values.known_rank()) ctx.set_output(0, values.WithRemoved(values.rank() - 1));
  return Status();
}

StatusOr<KernelPtr> BuildEncode(BuildContext& build) {
  const auto& names = build.attrs().Get<std::vector<std::string>>("field_names");
  SM_CHECK_ARG(static_cast<int>(names.size()) == build.num_inputs() - 1, "found ", names.size(),
               " field_names and ", build.num_inputs() - 1, " values");
  std::vector<ProtoField> fields;
  for (size_t i = 0; i < names.size(); ++i) {
    const DType dtype = build.input_dtype(static_cast<int>(i) + 1);
    SM_ASSIGN_OR_RETURN(ProtoField field, FindProtoField(build.attrs(), names[i], dtype));
    fields.push_back(std::move(field));
  }
  return MakeKernel([fields](OpContext& ctx) { return RunEncode(ctx, fields); });
}

constexpr OpDef kOps[] = {
    {.signature = "DecodeProtoV2(bytes: string) -> (sizes: int32, values: output_types); "
                  "message_type: string; field_names: list(string); "
                  "output_types: list(type) >= 0; descriptor_source: string = 'local://'; "
                  "message_format: string = 'binary'; sanitize: bool = false",
     .shape = DecodeShape,
     .build = BuildDecode},
    {.signature = "EncodeProto(sizes: int32, values: Tinput_types) -> (bytes: string); "
                  "field_names: list(string); message_type: string; "
                  "descriptor_source: string = 'local://'; Tinput_types: list(type) >= 1",
     .shape = EncodeShape,
     .build = BuildEncode},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ProtoOps() { return kOps; }

}  // namespace savedmodel
