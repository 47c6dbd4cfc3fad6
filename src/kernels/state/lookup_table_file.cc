// Tables from text files: one entry a line.
#include <algorithm>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/file_system.h"
#include "src/base/status_macros.h"
#include "src/kernels/state/lookup_table.h"

namespace savedmodel {
namespace {

constexpr int64_t kLineNumber = -1;
constexpr int64_t kWholeLine = -2;

// What a key or value is made from.
struct Column {
  int64_t index = 0;
  DType dtype = DType::kInvalid;

  Status Check(const char* what) const {
    SM_CHECK_ARG(index != kLineNumber || dtype == DType::kInt64, "line numbers as ", what,
                 " are int64, the table has ", dtype);
    SM_CHECK_ARG(index != kWholeLine || dtype == DType::kString, "whole lines as ", what,
                 " are strings, the table has ", dtype);
    return Status();
  }
};

template <class T>
bool ParseNumber(const std::string& text, T* value) {
  const char* begin = text.data();
  const char* end = begin + text.size();
  while (begin < end && *begin == ' ') ++begin;
  while (begin < end && end[-1] == ' ') --end;
  if (begin < end && *begin == '+') ++begin;
  const auto [stop, error] = std::from_chars(begin, end, *value);
  return error == std::errc() && stop == end && begin < end;
}

// Sets element `i` of `t` from a line and its number.
Status SetElement(const Column& column, const std::string& line,
                  const std::vector<std::string>& fields, int64_t number, Tensor& t, int64_t i) {
  void* data = t.raw_mutable_data();
  if (column.index == kLineNumber) {
    static_cast<int64_t*>(data)[i] = number;
    return Status();
  }
  const std::string& text = column.index == kWholeLine ? line : fields[column.index];
  bool ok = false;
  switch (column.dtype) {
    case DType::kString:
      static_cast<std::string*>(data)[i] = text;
      ok = true;
      break;
    case DType::kInt32:
      ok = ParseNumber(text, static_cast<int32_t*>(data) + i);
      break;
    case DType::kInt64:
      ok = ParseNumber(text, static_cast<int64_t*>(data) + i);
      break;
    case DType::kFloat:
      ok = ParseNumber(text, static_cast<float*>(data) + i);
      break;
    case DType::kDouble:
      ok = ParseNumber(text, static_cast<double*>(data) + i);
      break;
    default:
      return InvalidArgument("a table of ", column.dtype, " cannot be read from text");
  }
  SM_CHECK_ARG(ok, "'", text, "' is no valid ", column.dtype);
  return Status();
}

// Lines without their ends; carriage returns are dropped, as TensorFlow does.
std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string line(text.substr(0, end));
    line.erase(std::remove(line.begin(), line.end(), '\r'), line.end());
    lines.push_back(std::move(line));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::vector<std::string> Split(const std::string& line, char delimiter) {
  std::vector<std::string> fields;
  for (size_t begin = 0;;) {
    const size_t end = std::min(line.find(delimiter, begin), line.size());
    fields.push_back(line.substr(begin, end - begin));
    if (end == line.size()) return fields;
    begin = end + 1;
  }
}

}  // namespace

Status InitializeFromTextFile(OpContext& ctx, LookupTable& table, const Attrs& attrs) {
  const Tensor& filename = ctx.input(1);
  SM_CHECK_ARG(filename.num_elements() == 1, "the file name has shape ", filename.shape(),
               ", expected a scalar");
  const Column key{attrs.Int("key_index"), table.spec().key_dtype};
  const Column value{attrs.Int("value_index"), table.spec().value_dtype};
  SM_RETURN_IF_ERROR(key.Check("keys"));
  SM_RETURN_IF_ERROR(value.Check("values"));
  const std::string& path = *filename.data<std::string>();
  if (ctx.run().files == nullptr) {
    return Status(StatusCode::kPermissionDenied,
                  StrCat("'", path, "' cannot be read: the graph is no part of a model directory"));
  }
  SM_ASSIGN_OR_RETURN(const auto file, ctx.run().files->Read(path));
  const std::vector<std::string> lines = Lines(file->bytes());
  const int64_t vocab_size = attrs.Int("vocab_size");
  const int64_t n = vocab_size < 0 ? static_cast<int64_t>(lines.size()) : vocab_size;
  SM_CHECK_ARG(n <= static_cast<int64_t>(lines.size()), "'", path, "' has ", lines.size(),
               " lines, expected ", n, " as vocab_size says");
  const std::string& delimiter = attrs.String("delimiter");
  SM_CHECK_ARG(delimiter.size() == 1, "found delimiter '", delimiter, "', expected one character");
  SM_ASSIGN_OR_RETURN(Tensor keys, ctx.AllocateTemp(key.dtype, Shape({n})));
  SM_ASSIGN_OR_RETURN(Tensor values, ctx.AllocateTemp(value.dtype, Shape({n})));
  const int64_t columns = std::max(key.index, value.index) + 1;
  std::vector<std::string> fields;
  for (int64_t i = 0; i < n; ++i) {
    if (columns > 0) {
      fields = Split(lines[i], delimiter[0]);
      SM_CHECK_ARG(static_cast<int64_t>(fields.size()) >= columns, "line ", i + 1, " of '", path,
                   "' has ", fields.size(), " columns, expected at least ", columns);
    }
    const int64_t number = i + attrs.Int("offset");
    SM_RETURN_IF_ERROR(SetElement(key, lines[i], fields, number, keys, i));
    SM_RETURN_IF_ERROR(SetElement(value, lines[i], fields, number, values, i));
  }
  return table.Initialize(keys, values);
}

}  // namespace savedmodel
