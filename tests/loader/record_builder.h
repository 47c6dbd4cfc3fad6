// Makes Riegeli/records files for tests, without compression and without hashes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/loader/table_builder.h"

namespace savedmodel {

class RecordBuilder {
 public:
  RecordBuilder() { AddChunk('s', "", 0, 0); }

  // Adds a chunk of `records`, and returns the position of the first.
  uint64_t Add(const std::vector<std::string>& records) {
    std::string sizes, values;
    for (const std::string& record : records) {
      AppendVarint(record.size(), &sizes);
      values += record;
    }
    std::string data(1, '\0');
    AppendVarint(sizes.size(), &data);
    return AddChunk('r', data + sizes + values, records.size(), values.size());
  }

  const std::string& bytes() const { return out_; }

 private:
  static constexpr size_t kBlock = 1 << 16, kBlockHeader = 24;

  static void AppendNumber(uint64_t value, int bytes, std::string* out) {
    out->append(reinterpret_cast<const char*>(&value), bytes);
  }

  uint64_t AddChunk(char type, const std::string& data, uint64_t num_records, uint64_t decoded) {
    const uint64_t begin = out_.size();
    std::string content(8, '\0');  // hash of the header
    AppendNumber(data.size(), 8, &content);
    content.append(8, '\0');  // hash of the data
    content.push_back(type);
    AppendNumber(num_records, 7, &content);
    AppendNumber(decoded, 8, &content);
    content += data;
    for (char c : content) {
      if (out_.size() % kBlock == 0) out_.append(kBlockHeader, '\0');
      out_.push_back(c);
    }
    // As many bytes as records, and no end in a block header or right behind one.
    while (out_.size() < begin + num_records ||
           (out_.size() % kBlock > 0 && out_.size() % kBlock <= kBlockHeader)) {
      out_.push_back('\0');
    }
    return begin;
  }

  std::string out_;
};

}  // namespace savedmodel
