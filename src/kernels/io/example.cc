#include "src/kernels/io/example.h"

#include <algorithm>

#include "src/base/status_macros.h"
#include "src/kernels/io/wire.h"

namespace savedmodel {
namespace {

bool AppendFloats(std::string_view packed, std::vector<float>* out) {
  if (packed.size() % sizeof(float) != 0) return false;
  const size_t before = out->size();
  out->resize(before + packed.size() / sizeof(float));
  if (!packed.empty()) std::memcpy(out->data() + before, packed.data(), packed.size());
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

void CopyAll(const std::vector<std::vector<ColumnData>>& parts, size_t column, Tensor* out) {
  void* to = out->raw_mutable_data();
  for (const auto& part : parts) {
    const FeatureValues& values = part[column].values;
    to = values.CopyTo(out->dtype(), 0, values.size(out->dtype()), to);
  }
}

}  // namespace

bool FeatureValues::Append(DType dtype, std::string_view list) {
  // All in one short field, as writers pack numbers and one string.
  const char* at = list.data();
  const char* const end = at + list.size();
  std::string_view bytes;
  if (ReadShortBytes(1, &at, end, &bytes) && at == end) {
    if (dtype == DType::kFloat) return AppendFloats(bytes, &floats_);
    if (dtype == DType::kInt64) return AppendInts(bytes, &ints_);
    strings_.push_back(bytes);
    return true;
  }
  WireReader reader(list);
  while (reader.Next()) {
    if (reader.field() != 1) continue;
    if (dtype == DType::kString) {
      if (!reader.is_bytes()) return false;
      strings_.push_back(reader.bytes());
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

void FeatureValues::Clear() {
  floats_.clear();
  ints_.clear();
  strings_.clear();
}

void* FeatureValues::CopyTo(DType dtype, int64_t from, int64_t count, void* to) const {
  const auto copy = [&](const auto& values, auto* elements) -> void* {
    return std::copy_n(values.begin() + from, count, elements);
  };
  if (dtype == DType::kFloat) return copy(floats_, static_cast<float*>(to));
  if (dtype == DType::kInt64) return copy(ints_, static_cast<int64_t*>(to));
  return copy(strings_, static_cast<std::string*>(to));
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

namespace {

// Heads are a few bytes long, for which a call of memcmp takes longer than comparing.
[[gnu::always_inline]] inline bool StartsWith(std::string_view bytes, std::string_view head) {
  const size_t n = head.size();
  if (bytes.size() < n) return false;
  const char *a = bytes.data(), *b = head.data();
  const auto same = [&](auto word, size_t at) {
    auto other = word;
    std::memcpy(&word, a + at, sizeof(word));
    std::memcpy(&other, b + at, sizeof(other));
    return word == other;
  };
  if (n < 4) return std::memcmp(a, b, n) == 0;
  if (n < 8) return same(uint32_t{}, 0) && same(uint32_t{}, n - 4);
  for (size_t i = 0; i + 8 < n; i += 8) {
    if (!same(uint64_t{}, i)) return false;
  }
  return same(uint64_t{}, n - 8);
}

// The value of an entry of a map that consists of `head`, all before the value's length, and a
// value.
bool ReadValue(std::string_view head, std::string_view entry, std::string_view* value) {
  if (!StartsWith(entry, head)) return false;
  const char* at = entry.data() + head.size();
  const char* const end = entry.data() + entry.size();
  uint64_t size = 0;
  if (!ReadVarint(&at, end, &size) || size != static_cast<uint64_t>(end - at)) return false;
  *value = std::string_view(at, static_cast<size_t>(size));
  return true;
}

// An entry of a map: its key and its value, which may be missing.
bool ReadEntry(std::string_view entry, std::string_view* key, std::string_view* value) {
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

void KeyIndex::Add(const FeatureColumn& column) {
  Head head;
  const auto [it, added] = slots_.emplace(column.key, heads_.size());
  if (!added) {
    if (it->second != kNone) heads_[it->second].is_unique = false;
    it->second = kNone;
    head.is_unique = false;
  }
  AppendBytesField(1, column.key, &head.entry);
  AppendVarint(2 << 3 | WireReader::kBytes, &head.entry);
  if (!column.head.empty()) {
    head.num_bytes = static_cast<size_t>(column.stride) * sizeof(float);
    const size_t size = column.head.size() + head.num_bytes;
    std::string entry = head.entry;
    AppendVarint(size, &entry);
    AppendVarint(1 << 3 | WireReader::kBytes, &head.packed);
    AppendVarint(entry.size() + size, &head.packed);
    head.packed += entry + column.head;
  }
  heads_.push_back(std::move(head));
}

// Inlined: most entries are taken by it.
[[gnu::always_inline]] inline size_t KeyIndex::TakePacked(std::string_view map, const Head& head,
                                                          FoundValue* found) {
  const size_t size = head.packed.size() + head.num_bytes;
  if (head.packed.empty() || map.size() < size || !StartsWith(map, head.packed)) return 0;
  *found = {std::string_view(map.data() + head.packed.size(), head.num_bytes), true};
  return size;
}

bool KeyIndex::Find(std::string_view map, std::vector<FoundValue>* found, Order* order) const {
  if (order->empty()) {
    order->resize(heads_.size() + 1, kNone);
    size_t last = heads_.size();
    for (size_t slot = 0; slot < heads_.size(); last = slot++) {
      if (heads_[slot].is_unique) (*order)[last] = slot;
    }
  }
  WireReader entries(map);
  for (size_t last = heads_.size();;) {
    const std::string_view rest = entries.rest();
    const size_t guess = (*order)[last];
    if (guess != kNone) {
      const size_t size = TakePacked(rest, heads_[guess], &(*found)[guess]);
      if (size > 0) {
        entries.Skip(size);
        last = guess;
        continue;
      }
    }
    if (!entries.Next()) return entries.ok();
    if (entries.field() != 1 || !entries.is_bytes()) continue;
    std::string_view value;
    if (guess != kNone && ReadValue(heads_[guess].entry, entries.bytes(), &value)) {
      (*found)[guess] = {value, false};
      last = guess;
      continue;
    }
    std::string_view key;
    if (!ReadEntry(entries.bytes(), &key, &value)) return false;
    const auto it = slots_.find(key);
    if (it == slots_.end() || it->second == kNone) continue;
    (*order)[last] = it->second;
    last = it->second;
    if (TakePacked(rest, heads_[last], &(*found)[last]) == 0) (*found)[last] = {value, false};
  }
}

namespace {

// All that comes before the values in a Feature of `count` packed floats.
std::string PackedHead(int64_t count) {
  const uint64_t size = static_cast<uint64_t>(count) * sizeof(float);
  std::string list;
  AppendVarint(1 << 3 | WireReader::kBytes, &list);
  AppendVarint(size, &list);
  std::string head;
  AppendVarint(2 << 3 | WireReader::kBytes, &head);
  AppendVarint(list.size() + size, &head);
  return head + list;
}

}  // namespace

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
    if (column.dtype == DType::kFloat && column.stride > 0) column.head = PackedHead(column.stride);
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

Status PlaceDense(OpContext& ctx, int output, const FeatureColumn& column, int64_t examples,
                  bool batched) {
  SM_RETURN_IF_ERROR(
      ctx.AllocateOutput(output, batched ? column.shape.WithInserted(0, examples) : column.shape));
  SM_CHECK_ARG(ctx.output(output).dtype() == column.dtype, "feature ", column.key,
               ": found a default of type ", column.dtype, ", expected ",
               ctx.output(output).dtype());
  return Status();
}

Status AppendUnpacked(const FeatureColumn& column, std::string_view feature, Where where,
                      ColumnData* data) {
  const bool dense = column.form == FeatureColumn::Form::kDense;
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
  } else if (dense) {
    SM_CHECK_ARG(column.default_value.num_elements() > 0 || column.stride == 0, where(),
                 ", Feature: ", column.key, " (data type: ", column.dtype,
                 ") is required but could not be found.");
    data->values.Append(column.default_value);
  }
  const int64_t count = data->values.size(column.dtype) - before;
  if (dense) {
    SM_CHECK_ARG(count == column.stride, where(), ", Key: ", column.key, ". Number of ",
                 column.dtype, " values != expected. Values size: ", count,
                 " but output shape: ", column.shape);
    data->row = data->values.CopyTo(column.dtype, 0, count, data->row);
    data->values.Clear();
    return Status();
  }
  if (column.form == FeatureColumn::Form::kPadded) {
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
  CopyAll(parts, column, &ctx.output(values_output));
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

Status EmitPadded(OpContext& ctx, int output, const FeatureColumn& spec,
                  std::vector<std::vector<ColumnData>>& parts, size_t column, bool batched) {
  const int64_t widest = WidestOf(parts, column);
  Shape shape = spec.shape.WithDim(0, spec.stride == 0 ? 0 : widest / spec.stride);
  if (batched) shape = shape.WithInserted(0, NumExamples(parts, column));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, shape));
  FeatureValues padding;
  padding.Append(spec.default_value);
  void* to = ctx.output(output).raw_mutable_data();
  for (const auto& part : parts) {
    int64_t from = 0;
    for (const int64_t count : part[column].counts) {
      to = part[column].values.CopyTo(spec.dtype, from, count, to);
      from += count;
      for (int64_t k = count; k < widest; ++k) to = padding.CopyTo(spec.dtype, 0, 1, to);
    }
  }
  return Status();
}

Status EmitRagged(OpContext& ctx, int values_output, int splits_output, DType dtype,
                  std::vector<std::vector<ColumnData>>& parts, size_t column, bool batched) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(values_output, {Total(parts, column, dtype)}));
  CopyAll(parts, column, &ctx.output(values_output));
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
