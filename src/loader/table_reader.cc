#include "src/loader/table_reader.h"

#include <snappy.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "src/base/crc32c.h"
#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

constexpr uint64_t kMagic = 0xdb4775248b80fb57u;
constexpr size_t kFooterSize = 48;  // two block handles, padding, the magic number
constexpr size_t kTrailerSize = 5;  // compression and checksum behind each block
constexpr size_t kMaxUncompressed = size_t{64} << 20;
constexpr char kNoCompression = 0, kSnappy = 1;

uint32_t LoadUint32(const char* p) {
  uint32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

}  // namespace

bool TakeVarint(std::string_view* in, uint64_t* value) {
  *value = 0;
  for (size_t i = 0; i < in->size() && i < 10; ++i) {
    const uint64_t byte = static_cast<unsigned char>((*in)[i]);
    if (i == 9 && byte > 1) return false;
    *value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      in->remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

bool TableReader::TakeHandle(std::string_view* in, Handle* handle) const {
  if (!TakeVarint(in, &handle->offset) || !TakeVarint(in, &handle->size)) return false;
  const uint64_t file_size = file_->bytes().size();
  return handle->offset <= file_size && handle->size <= file_size - handle->offset &&
         file_size - handle->offset - handle->size >= kTrailerSize;
}

StatusOr<TableReader> TableReader::Open(std::shared_ptr<const FileContent> file, std::string name) {
  TableReader reader(std::move(file), std::move(name));
  SM_RETURN_IF_ERROR(reader.ReadIndex());
  return reader;
}

Status TableReader::ReadIndex() {
  const std::string_view bytes = file_->bytes();
  if (bytes.size() < kFooterSize) {
    return DataLoss(name_, ": found ", bytes.size(),
                    " bytes, expected a table, which has at least ", kFooterSize);
  }
  std::string_view footer = bytes.substr(bytes.size() - kFooterSize);
  const char* tail = footer.data() + kFooterSize - 8;
  const uint64_t magic = LoadUint32(tail) | static_cast<uint64_t>(LoadUint32(tail + 4)) << 32;
  if (magic != kMagic) {
    return DataLoss(name_,
                    ": does not end as a table does (bad magic number); it is cut off, or "
                    "no table");
  }
  Handle meta_index, index;
  if (!TakeHandle(&footer, &meta_index) || !TakeHandle(&footer, &index)) {
    return DataLoss(name_, ": the footer points outside of the file");
  }
  std::string storage;
  SM_ASSIGN_OR_RETURN(const std::string_view block, ReadBlock(index, &storage));
  return ForEachInBlock(block, [&](std::string_view key, std::string_view value) {
    IndexEntry entry;
    entry.last_key = std::string(key);
    if (!TakeHandle(&value, &entry.block)) {
      return DataLoss(name_, ": block ", index_.size(), " of the index lies outside of the file");
    }
    index_.push_back(std::move(entry));
    return Status();
  });
}

StatusOr<std::string_view> TableReader::ReadBlock(const Handle& handle,
                                                  std::string* storage) const {
  const std::string_view stored = file_->bytes().substr(handle.offset, handle.size + kTrailerSize);
  const std::string_view content = stored.substr(0, handle.size);
  const uint32_t masked = LoadUint32(stored.data() + handle.size + 1);
  if (!MatchesMaskedCrc32c(masked, Crc32c(stored.substr(0, handle.size + 1)))) {
    return DataLoss(name_, ": checksum of the block at offset ", handle.offset, " does not match");
  }
  const char compression = stored[handle.size];
  if (compression == kNoCompression) return content;
  if (compression != kSnappy) {
    return DataLoss(name_, ": the block at offset ", handle.offset, " has compression ",
                    static_cast<int>(compression), ", expected 0 (none) or 1 (snappy)");
  }
  size_t size = 0;
  if (!snappy::GetUncompressedLength(content.data(), content.size(), &size)) {
    return DataLoss(name_, ": the block at offset ", handle.offset, " is no snappy data");
  }
  if (size > kMaxUncompressed || size / 64 > content.size()) {
    return ResourceExhausted(name_, ": the block at offset ", handle.offset, " unpacks to ", size,
                             " bytes, expected at most ", kMaxUncompressed);
  }
  storage->resize(size);
  if (!snappy::RawUncompress(content.data(), content.size(), storage->data())) {
    return DataLoss(name_, ": the block at offset ", handle.offset, " is damaged snappy data");
  }
  return std::string_view(*storage);
}

// Entries share a prefix with the key before; the restart points behind them serve searching only.
Status TableReader::ForEachInBlock(std::string_view block, EntryFn fn) const {
  const auto damaged = [&](std::string_view what) {
    return DataLoss(name_, ": damaged block: ", what);
  };
  if (block.size() < 4) return damaged("no number of restart points");
  const uint64_t restarts = LoadUint32(block.data() + block.size() - 4);
  if (restarts > (block.size() - 4) / 4) return damaged("too many restart points");
  std::string_view entries = block.substr(0, block.size() - 4 * (restarts + 1));
  std::string key;
  bool first = true;
  while (!entries.empty()) {
    uint64_t shared, added, value_size;
    if (!TakeVarint(&entries, &shared) || !TakeVarint(&entries, &added) ||
        !TakeVarint(&entries, &value_size) || shared > key.size() || added > entries.size() ||
        value_size > entries.size() - added) {
      return damaged("an entry does not fit");
    }
    const std::string_view suffix = entries.substr(0, added);
    if (!first && !(std::string_view(key).substr(shared) < suffix)) {
      return damaged("keys do not ascend");
    }
    first = false;
    key.resize(shared);
    key.append(suffix);
    SM_RETURN_IF_ERROR(fn(key, entries.substr(added, value_size)));
    entries.remove_prefix(added + value_size);
  }
  return Status();
}

Status TableReader::ForEach(EntryFn fn) const {
  std::string storage, last;
  bool first = true;
  for (const IndexEntry& entry : index_) {
    SM_ASSIGN_OR_RETURN(const std::string_view block, ReadBlock(entry.block, &storage));
    SM_RETURN_IF_ERROR(ForEachInBlock(block, [&](std::string_view key, std::string_view value) {
      if (!first && !(std::string_view(last) < key)) {
        return DataLoss(name_, ": keys do not ascend from one block to the next");
      }
      first = false;
      last.assign(key);
      return fn(key, value);
    }));
  }
  return Status();
}

Status TableReader::Visit(std::string_view key, FunctionRef<Status(std::string_view)> fn) const {
  const auto it = std::lower_bound(
      index_.begin(), index_.end(), key,
      [](const IndexEntry& entry, std::string_view k) { return entry.last_key < k; });
  if (it == index_.end()) return NotFound(name_, ": no entry '", key, "'");
  std::string storage;
  SM_ASSIGN_OR_RETURN(const std::string_view block, ReadBlock(it->block, &storage));
  bool found = false;
  SM_RETURN_IF_ERROR(ForEachInBlock(block, [&](std::string_view k, std::string_view value) {
    if (k != key) return Status();
    found = true;
    return fn(value);
  }));
  return found ? Status() : NotFound(name_, ": no entry '", key, "'");
}

}  // namespace savedmodel
