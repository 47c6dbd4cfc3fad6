#include "src/cli/npy.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

namespace savedmodel::cli {
namespace {

struct Code {
  const char* npy;
  DType dtype;
};
constexpr Code kCodes[] = {
    {"f4", DType::kFloat},     {"f8", DType::kDouble}, {"f2", DType::kHalf},
    {"V2", DType::kBFloat16},  {"i1", DType::kInt8},   {"i2", DType::kInt16},
    {"i4", DType::kInt32},     {"i8", DType::kInt64},  {"u1", DType::kUInt8},
    {"u2", DType::kUInt16},    {"u4", DType::kUInt32}, {"u8", DType::kUInt64},
    {"c8", DType::kComplex64}, {"b1", DType::kBool},   {"c16", DType::kComplex128},
    {"i1", DType::kQInt8},     {"u1", DType::kQUInt8}, {"i4", DType::kQInt32},
    {"i2", DType::kQInt16},    {"u2", DType::kQUInt16}};

Status Bad(const std::string& path, const std::string& what) {
  return Status(StatusCode::kInvalidArgument, path + ": " + what);
}

struct Header {
  std::string type;  // "f4", without byte order
  bool fortran = false;
  std::vector<int64_t> dims;
};

// The text after "'key':" in the header's dict.
std::string Field(const std::string& header, const std::string& key) {
  const size_t at = header.find("'" + key + "'");
  const size_t colon = at == std::string::npos ? at : header.find(':', at);
  return colon == std::string::npos ? "" : header.substr(colon + 1);
}

StatusOr<Header> ParseHeader(const std::string& path, const std::string& text) {
  Header h;
  const std::string descr = Field(text, "descr");
  const size_t open = descr.find('\''), close = descr.find('\'', open + 1);
  if (open == std::string::npos || close == std::string::npos || close < open + 3) {
    return Bad(path, "found no dtype in the header; structured arrays are not supported");
  }
  if (descr[open + 1] == '>') return Bad(path, "found big-endian data, expected little-endian");
  const bool has_order = std::strchr("<|=", descr[open + 1]) != nullptr;
  h.type = descr.substr(open + 1 + has_order, close - open - 1 - has_order);
  const std::string order = Field(text, "fortran_order");
  h.fortran = order.find("True") < order.find(',');
  std::string shape = Field(text, "shape");
  shape = shape.substr(0, shape.find(')'));
  for (char& c : shape) {
    if (c == '(' || c == ',') c = ' ';
  }
  std::istringstream in(shape);
  for (int64_t d; in >> d;) h.dims.push_back(d);
  return h;
}

void AppendUtf8(uint32_t c, std::string* out) {
  if (c < 0x80) {
    *out += static_cast<char>(c);
  } else if (c < 0x800) {
    *out += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  } else if (c < 0x10000) {
    *out += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
             static_cast<char>(0x80 | (c & 63))};
  } else {
    *out += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
             static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
  }
}

// Element `bytes` of type 'S' or 'U', without the padding.
std::string StringElement(char kind, const std::string& bytes) {
  if (kind == 'S') return bytes.substr(0, bytes.find_last_not_of('\0') + 1);
  std::string out;
  for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
    uint32_t c;
    std::memcpy(&c, bytes.data() + i, 4);
    if (c == 0) break;
    AppendUtf8(c, &out);
  }
  return out;
}

// Where element `i` of C order lies in Fortran order.
int64_t FortranIndex(int64_t i, const std::vector<int64_t>& dims) {
  int64_t stride = 1, out = 0;
  std::vector<int64_t> strides(dims.size());
  for (size_t d = 0; d < dims.size(); ++d) {
    strides[d] = stride;
    stride *= dims[d];
  }
  for (size_t d = dims.size(); d-- > 0; i /= dims[d]) out += i % dims[d] * strides[d];
  return out;
}

StatusOr<Tensor> Elements(const std::string& path, const Header& h, const std::string& data) {
  auto shape = Shape::Make(h.dims);
  if (!shape.ok()) return shape.status().At(path);
  if (!shape->fully_known()) return Bad(path, "found a negative dimension");
  const char kind = h.type[0];
  const bool text = kind == 'S' || kind == 'U';
  const auto* code = std::find_if(std::begin(kCodes), std::end(kCodes),
                                  [&](const Code& c) { return h.type == c.npy; });
  if (!text && code == std::end(kCodes)) {
    return Bad(path, "found dtype '" + h.type + "'; expected numbers, bool, 'S' or 'U'");
  }
  const uint64_t size = text
                            ? std::strtoull(h.type.c_str() + 1, nullptr, 10) * (kind == 'U' ? 4 : 1)
                            : DTypeSize(code->dtype);
  const auto n = static_cast<uint64_t>(shape->num_elements());
  if (size > 0 && n > data.size() / size) {
    return Bad(path, "found " + std::to_string(data.size()) + " bytes of data, too few for shape " +
                         shape->ToString());
  }
  auto tensor = Tensor::Allocate(text ? DType::kString : code->dtype, *shape);
  if (!tensor.ok()) return tensor.status();
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t from = h.fortran ? FortranIndex(static_cast<int64_t>(i), h.dims) : i;
    if (text) {
      static_cast<std::string*>(tensor->raw_mutable_data())[i] =
          StringElement(kind, data.substr(from * size, size));
    } else {
      std::memcpy(static_cast<char*>(tensor->raw_mutable_data()) + i * size,
                  data.data() + from * size, size);
    }
  }
  return tensor;
}

}  // namespace

StatusOr<Tensor> ReadNpy(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Status(StatusCode::kNotFound, path + ": cannot be read");
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (bytes.size() < 12 || bytes.compare(0, 6, "\x93NUMPY") != 0) {
    return Bad(path, "found no .npy header; save the array with numpy.save");
  }
  const bool wide = bytes[6] >= 2;
  uint32_t length = 0;
  std::memcpy(&length, bytes.data() + 8, wide ? 4 : 2);
  const size_t start = wide ? 12 : 10;
  if (length > bytes.size() - start) return Bad(path, "the file ends within its header");
  auto header = ParseHeader(path, bytes.substr(start, length));
  if (!header.ok()) return header.status();
  return Elements(path, *header, bytes.substr(start + length));
}

Status WriteNpy(const std::string& path, const Tensor& tensor) {
  std::string type, data;
  if (tensor.dtype() == DType::kString) {
    size_t width = 1;
    for (const std::string& s : tensor.values<std::string>()) width = std::max(width, s.size());
    for (std::string s : tensor.values<std::string>()) {
      s.resize(width, '\0');
      data += s;
    }
    type = "|S" + std::to_string(width);
  } else {
    const auto* code = std::find_if(std::begin(kCodes), std::end(kCodes),
                                    [&](const Code& c) { return c.dtype == tensor.dtype(); });
    if (code == std::end(kCodes)) {
      return Bad(path, std::string("dtype ") + DTypeName(tensor.dtype()) + " has no .npy form");
    }
    type = (DTypeSize(code->dtype) == 1 ? "|" : "<") + std::string(code->npy);
    data.assign(static_cast<const char*>(tensor.raw_data()), tensor.num_bytes());
  }
  std::string dims;
  for (const int64_t d : tensor.shape()) dims += std::to_string(d) + ",";
  std::string header =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + dims + "), }";
  header.resize((header.size() + 11 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  std::ofstream out(path, std::ios::binary);
  const auto length = static_cast<uint16_t>(header.size());
  out.write("\x93NUMPY\x01\x00", 8).write(reinterpret_cast<const char*>(&length), 2);
  out << header << data;
  out.close();
  return out ? Status() : Status(StatusCode::kUnavailable, path + ": cannot be written");
}

}  // namespace savedmodel::cli
