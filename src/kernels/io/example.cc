#include "src/kernels/io/example.h"

#include <algorithm>
#include <iterator>

#include "src/base/status_macros.h"
#include "src/kernels/io/wire.h"

namespace savedmodel {
namespace {

bool AppendFloats(std::string_view packed, std::vector<float>* out) {
  if (packed.size() % sizeof(float) != 0) return false;
  for (size_t i = 0; i < packed.size(); i += sizeof(float)) {
    float value;
    std::memcpy(&value, packed.data() + i, sizeof(value));
    out->push_back(value);
  }
  return true;
}

bool AppendInts(std::string_view packed, std::vector<int64_t>* out) {
  const char* at = packed.data();
  const char* end = at + packed.size();
  while (at < end) {
    uint64_t value = 0;
    if (!ReadVarint(&at, end, &value)) return false;
    out->push_back(static_cast<int64_t>(value));
  }
  return true;
}

int64_t Total(const std::vector<std::vector<ColumnData>>& parts, size_t column, DType dtype) {
  int64_t total = 0;
  for (const auto& part : parts) total += part[column].values.size(dtype);
  return total;
}

int64_t NumExamples(const std::vector<std::vector<ColumnData>>& parts, size_t column) {
  int64_t n = 0;
  for (const auto& part : parts) n += static_cast<int64_t>(part[column].counts.size());
  return n;
}

// Calls fn(example, count of its values) for each example.
template <class F>
void EachCount(const std::vector<std::vector<ColumnData>>& parts, size_t column, F&& fn) {
  int64_t example = 0;
  for (const auto& part : parts) {
    for (const int64_t count : part[column].counts) fn(example++, count);
  }
}

int64_t WidestOf(const std::vector<std::vector<ColumnData>>& parts, size_t column) {
  int64_t widest = 0;
  EachCount(parts, column, [&](int64_t, int64_t count) { widest = std::max(widest, count); });
  return widest;
}

void MoveAll(std::vector<std::vector<ColumnData>>& parts, size_t column, Tensor* out) {
  int64_t at = 0;
  for (auto& part : parts) {
    const int64_t n = part[column].values.size(out->dtype());
    part[column].values.MoveTo(out, at, 0, n);
    at += n;
  }
}

}  // namespace

bool FeatureValues::Append(DType dtype, std::string_view list) {
  if (dtype == DType::kFloat) {
    // All in one packed field, as writers do it.
    const char* at = list.data();
    const char* const end = at + list.size();
    std::string_view packed;
    if (ReadShortBytes(1, &at, end, &packed) && at == end) return AppendFloats(packed, &floats_);
  }
  WireReader reader(list);
  while (reader.Next()) {
    if (reader.field() != 1) continue;
    if (dtype == DType::kString) {
      if (!reader.is_bytes()) return false;
      strings_.emplace_back(reader.bytes());
    } else if (reader.is_bytes()) {
      if (!(dtype == DType::kFloat ? AppendFloats(reader.bytes(), &floats_)
                                   : AppendInts(reader.bytes(), &ints_))) {
        return false;
      }
    } else if (dtype == DType::kFloat && reader.type() == WireReader::kFixed32) {
      const uint32_t bits = static_cast<uint32_t>(reader.number());
      float value;
      std::memcpy(&value, &bits, sizeof(value));
      floats_.push_back(value);
    } else if (dtype == DType::kInt64 && reader.is_varint()) {
      ints_.push_back(static_cast<int64_t>(reader.number()));
    } else {
      return false;
    }
  }
  return reader.ok();
}

void FeatureValues::Reserve(DType dtype, int64_t count) {
  const size_t size = static_cast<size_t>(this->size(dtype) + count);
  if (dtype == DType::kFloat) floats_.reserve(size);
  if (dtype == DType::kInt64) ints_.reserve(size);
  if (dtype == DType::kString) strings_.reserve(size);
}

void FeatureValues::Append(const Tensor& tensor) {
  const auto append = [](auto span, auto* out) {
    out->insert(out->end(), span.begin(), span.end());
  };
  append(tensor.values<float>(), &floats_);
  append(tensor.values<int64_t>(), &ints_);
  append(tensor.values<std::string>(), &strings_);
}

void FeatureValues::MoveTo(Tensor* out, int64_t at, int64_t from, int64_t count) {
  const auto move = [&](auto& values) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    std::move(values.begin() + from, values.begin() + from + count,
              static_cast<T*>(out->raw_mutable_data()) + at);
  };
  if (out->dtype() == DType::kFloat) move(floats_);
  if (out->dtype() == DType::kInt64) move(ints_);
  if (out->dtype() == DType::kString) move(strings_);
}

bool ReadFeature(std::string_view feature, DType* dtype, std::string_view* list) {
  static constexpr DType kKinds[] = {DType::kString, DType::kFloat, DType::kInt64};
  *dtype = DType::kInvalid;
  const char* at = feature.data();
  const char* const end = at + feature.size();
  for (uint32_t field = 1; field <= 3; ++field) {
    if (!ReadShortBytes(field, &at, end, list) || at != end) continue;
    *dtype = kKinds[field - 1];
    return true;
  }
  WireReader reader(feature);
  while (reader.Next()) {
    if (reader.field() > 3 || !reader.is_bytes()) continue;
    *dtype = kKinds[reader.field() - 1];
    *list = reader.bytes();
  }
  return reader.ok();
}

size_t KeyIndex::SlotOf(std::string_view key, size_t entry, Order* order) const {
  if (entry >= order->size()) order->resize(entry + 1, kNone);
  size_t& slot = (*order)[entry];
  if (slot != kNone && keys_[slot] == key) return slot;
  const auto it = slots_.find(key);
  if (it == slots_.end() || it->second == kNone) return kNone;
  slot = it->second;
  return slot;
}

namespace {

// An entry of a map: its key and its value, which may be missing.
bool ReadEntry(std::string_view entry, std::string_view* key, std::string_view* value) {
  const char* at = entry.data();
  const char* const end = at + entry.size();
  if (ReadShortBytes(1, &at, end, key) && ReadShortBytes(2, &at, end, value) && at == end) {
    return true;
  }
  *key = {};
  *value = std::string_view("", 0);
  WireReader reader(entry);
  while (reader.Next()) {
    if (reader.field() == 1 && reader.is_bytes()) *key = reader.bytes();
    if (reader.field() == 2 && reader.is_bytes()) *value = reader.bytes();
  }
  return reader.ok();
}

}  // namespace

bool KeyIndex::Find(std::string_view map, std::vector<std::string_view>* found,
                    Order* order) const {
  WireReader entries(map);
  for (size_t index = 0; entries.Next(); ++index) {
    if (entries.field() != 1 || !entries.is_bytes()) continue;
    std::string_view key, value;
    if (!ReadEntry(entries.bytes(), &key, &value)) return false;
    if (const size_t slot = SlotOf(key, index, order); slot != kNone) (*found)[slot] = value;
  }
  return entries.ok();
}

StatusOr<FeatureColumn> DenseColumn(std::string key, const Shape& shape,
                                    const Tensor& default_value, bool batched) {
  FeatureColumn column;
  column.dtype = default_value.dtype();
  column.shape = shape;
  column.default_value = default_value;
  SM_CHECK_ARG(shape.known_rank(), "dense shape of feature ", key, ": found unknown rank");
  if (shape.fully_known()) {
    column.form = FeatureColumn::Form::kDense;
    column.stride = shape.num_elements();
    SM_CHECK_ARG(default_value.num_elements() == 0 || default_value.shape() == shape,
                 "default of feature ", key, ": found shape ", default_value.shape(),
                 ", not compatible with its dense shape ", shape);
  } else {
    SM_CHECK_ARG(shape.dim(0) == -1 && shape.WithRemoved(0).fully_known(),
                 "dense shape of feature ", key, ": found ", shape,
                 ", expected that only the first dimension is unknown");
    column.form = FeatureColumn::Form::kPadded;
    column.stride = shape.WithRemoved(0).num_elements();
    SM_CHECK_ARG(!batched || default_value.num_elements() == 1, "default of feature ", key,
                 " of variable length: found shape ", default_value.shape(),
                 ", expected a single element, the padding");
  }
  column.key = std::move(key);
  return column;
}

Status AppendFeature(const FeatureColumn& column, std::string_view feature, Where where,
                     ColumnData* data) {
  DType found = DType::kInvalid;
  std::string_view list;
  SM_CHECK_ARG(feature.data() == nullptr || ReadFeature(feature, &found, &list),
               "Could not parse example input, ", where(), ", feature ", column.key);
  const int64_t before = data->values.size(column.dtype);
  if (found != DType::kInvalid) {
    SM_CHECK_ARG(found == column.dtype, where(), ", Key: ", column.key,
                 ". Data types don't match. Data type: ", found,
                 " but expected type: ", column.dtype);
    SM_CHECK_ARG(data->values.Append(found, list), "Could not parse example input, ", where(),
                 ", feature ", column.key);
  } else if (column.form == FeatureColumn::Form::kDense) {
    SM_CHECK_ARG(column.default_value.num_elements() > 0 || column.stride == 0, where(),
                 ", Feature: ", column.key, " (data type: ", column.dtype,
                 ") is required but could not be found.");
    data->values.Append(column.default_value);
  }
  const int64_t count = data->values.size(column.dtype) - before;
  if (column.form == FeatureColumn::Form::kDense) {
    SM_CHECK_ARG(count == column.stride, where(), ", Key: ", column.key, ". Number of ",
                 column.dtype, " values != expected. Values size: ", count,
                 " but output shape: ", column.shape);
  } else if (column.form == FeatureColumn::Form::kPadded) {
    SM_CHECK_ARG(column.stride == 0 ? count == 0 : count % column.stride == 0, where(),
                 ", Key: ", column.key, ". Number of ", column.dtype,
                 " values is not a multiple of stride length. Saw ", count,
                 " values but output shape is: ", column.shape);
  }
  data->counts.push_back(count);
  return Status();
}

Status EmitSparse(OpContext& ctx, int indices_output, int values_output, int shape_output,
                  DType dtype, std::vector<std::vector<ColumnData>>& parts, size_t column,
                  bool batched) {
  const int64_t n = Total(parts, column, dtype);
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(indices_output, {n, batched ? 2 : 1}));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(values_output, {n}));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(shape_output, {batched ? 2 : 1}));
  MoveAll(parts, column, &ctx.output(values_output));
  int64_t* indices = ctx.out<int64_t>(indices_output);
  EachCount(parts, column, [&](int64_t row, int64_t count) {
    for (int64_t k = 0; k < count; ++k) {
      if (batched) *indices++ = row;
      *indices++ = k;
    }
  });
  int64_t* shape = ctx.out<int64_t>(shape_output);
  if (batched) *shape++ = NumExamples(parts, column);
  *shape = WidestOf(parts, column);
  return Status();
}

Status EmitDense(OpContext& ctx, int output, const FeatureColumn& spec,
                 std::vector<std::vector<ColumnData>>& parts, size_t column, bool batched) {
  const bool padded = spec.form == FeatureColumn::Form::kPadded;
  const int64_t widest = padded ? WidestOf(parts, column) : 0;
  Shape shape =
      padded ? spec.shape.WithDim(0, spec.stride == 0 ? 0 : widest / spec.stride) : spec.shape;
  if (batched) shape = shape.WithInserted(0, NumExamples(parts, column));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, shape));
  Tensor* out = &ctx.output(output);
  if (!padded || !batched) {
    MoveAll(parts, column, out);
    return Status();
  }
  FeatureValues padding;
  int64_t at = 0;
  for (auto& part : parts) {
    int64_t from = 0;
    for (const int64_t count : part[column].counts) {
      part[column].values.MoveTo(out, at, from, count);
      from += count;
      for (int64_t k = count; k < widest; ++k) {
        padding = FeatureValues();
        padding.Append(spec.default_value);
        padding.MoveTo(out, at + k, 0, 1);
      }
      at += widest;
    }
  }
  return Status();
}

Status EmitRagged(OpContext& ctx, int values_output, int splits_output, DType dtype,
                  std::vector<std::vector<ColumnData>>& parts, size_t column, bool batched) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(values_output, {Total(parts, column, dtype)}));
  MoveAll(parts, column, &ctx.output(values_output));
  // One example is a plain vector, without splits.
  if (!batched) return ctx.AllocateOutput(splits_output, {0});
  std::vector<int64_t> splits = {0};
  EachCount(parts, column,
            [&](int64_t, int64_t count) { splits.push_back(splits.back() + count); });
  return EmitSplits(ctx, splits_output, {static_cast<int64_t>(splits.size())}, splits);
}

Status EmitSplits(OpContext& ctx, int i, const Shape& shape, const std::vector<int64_t>& splits) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(i, shape));
  if (int32_t* narrow = ctx.out<int32_t>(i); narrow != nullptr) {
    SM_CHECK_ARG(splits.empty() || splits.back() <= INT32_MAX, "found ", splits.back(),
                 " values, more than int32 splits can count");
    std::copy(splits.begin(), splits.end(), narrow);
  } else {
    std::copy(splits.begin(), splits.end(), ctx.out<int64_t>(i));
  }
  return Status();
}

}  // namespace savedmodel
