// Writes sorted tables and bundles for tests: what readers must accept, and a base to damage.
#pragma once

#include <snappy.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "src/base/crc32c.h"

namespace savedmodel {

inline void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

inline void AppendFixed32(uint32_t value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), 4);
}

struct TableBuilder {
  bool compress = false;
  size_t entries_per_block = 3;

  static std::string Block(const std::vector<std::pair<std::string, std::string>>& entries) {
    std::string block, last;
    for (const auto& [key, value] : entries) {
      size_t shared = 0;
      while (shared < last.size() && shared < key.size() && last[shared] == key[shared]) ++shared;
      AppendVarint(shared, &block);
      AppendVarint(key.size() - shared, &block);
      AppendVarint(value.size(), &block);
      block += key.substr(shared) + value;
      last = key;
    }
    AppendFixed32(0, &block);
    AppendFixed32(1, &block);
    return block;
  }

  // Appends a block with its trailer and returns its handle.
  std::string Store(std::string block, std::string* file) const {
    std::string stored = block;
    if (compress) snappy::Compress(block.data(), block.size(), &stored);
    std::string handle;
    AppendVarint(file->size(), &handle);
    AppendVarint(stored.size(), &handle);
    stored.push_back(compress ? 1 : 0);
    const uint32_t crc = MaskCrc32c(Crc32c(stored));
    *file += stored;
    AppendFixed32(crc, file);
    return handle;
  }

  std::string Build(const std::map<std::string, std::string>& entries) const {
    std::string file;
    std::vector<std::pair<std::string, std::string>> block, index;
    const auto flush = [&] {
      if (block.empty()) return;
      index.emplace_back(block.back().first, Store(Block(block), &file));
      block.clear();
    };
    for (const auto& entry : entries) {
      block.push_back(entry);
      if (block.size() == entries_per_block) flush();
    }
    flush();
    const std::string meta = Store(Block({}), &file);
    std::string footer = meta + Store(Block(index), &file);
    footer.resize(40, '\0');
    const uint64_t magic = 0xdb4775248b80fb57u;
    footer.append(reinterpret_cast<const char*>(&magic), 8);
    return file + footer;
  }
};

}  // namespace savedmodel
