#include "src/loader/record_file.h"

#include <brotli/decode.h>

#include <algorithm>
#include <cstring>

#include "src/base/status_macros.h"
#include "src/loader/table_reader.h"

namespace savedmodel {
namespace {

// The file is a sequence of chunks, interrupted by a header at each multiple of the block size.
constexpr uint64_t kBlockSize = 1 << 16;
constexpr uint64_t kBlockHeaderSize = 24;
constexpr uint64_t kUsableBlockSize = kBlockSize - kBlockHeaderSize;
constexpr uint64_t kChunkHeaderSize = 40;
constexpr uint64_t kLargestChunk = INT32_MAX;
// What takes more memory than kSmall may not be compressed further than this.
constexpr uint64_t kSmall = 64 << 20, kMostRatio = 1024;

// Bytes at the front of a file that are no block headers, among the first `position`.
uint64_t WithoutHeaders(uint64_t position) {
  const uint64_t headers = (position + kBlockSize - 1) / kBlockSize;
  return position - headers * kBlockHeaderSize;
}

// Where the byte lies in the file that follows `count` bytes which are no block headers.
uint64_t WithHeaders(uint64_t count) {
  return count + (count / kUsableBlockSize + 1) * kBlockHeaderSize;
}

// Where a chunk ends: it has at least as many bytes as records, and does not end in a block header
// or right behind one.
uint64_t ChunkEnd(uint64_t begin, uint64_t data_size, uint64_t num_records) {
  const uint64_t last = WithoutHeaders(begin) + kChunkHeaderSize + data_size - 1;
  uint64_t least = begin + num_records;
  const uint64_t in_block = least % kBlockSize;
  if (in_block > 0 && in_block <= kBlockHeaderSize) least += kBlockHeaderSize + 1 - in_block;
  return std::max(WithHeaders(last) + 1, least);
}

uint64_t Number(std::string_view bytes, size_t at, int width) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + at, width);
  return value;
}

// `in` decompressed; it begins with the size that it will have.
Status Decompress(char type, std::string_view in, uint64_t most, std::string* out) {
  if (type == 0) {
    out->assign(in);
    return Status();
  }
  if (type != 'b') {
    return Unimplemented("found compression '", std::string(1, type), "', expected none or Brotli");
  }
  uint64_t size = 0;
  if (!TakeVarint(&in, &size) || size > most) return DataLoss("found a wrong size");
  if (size > kSmall && size / kMostRatio > in.size()) {
    return ResourceExhausted("found ", size, " bytes compressed to ", in.size());
  }
  // Grows as far as there is something to put there: the size may be a lie.
  out->clear();
  BrotliDecoderState* state = BrotliDecoderCreateInstance(nullptr, nullptr, nullptr);
  if (state == nullptr) return ResourceExhausted("the system has no memory for decompression");
  const auto* next_in = reinterpret_cast<const uint8_t*>(in.data());
  size_t left_in = in.size();
  BrotliDecoderResult result = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
  while (result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && out->size() <= size) {
    size_t left_out = 0;
    result = BrotliDecoderDecompressStream(state, &left_in, &next_in, &left_out, nullptr, nullptr);
    size_t taken = 0;
    const uint8_t* bytes = BrotliDecoderTakeOutput(state, &taken);
    out->append(reinterpret_cast<const char*>(bytes), taken);
  }
  BrotliDecoderDestroyInstance(state);
  if (result != BROTLI_DECODER_RESULT_SUCCESS || left_in > 0 || out->size() != size) {
    return DataLoss("the compressed bytes are damaged");
  }
  return Status();
}

}  // namespace

StatusOr<RecordFile> RecordFile::Open(std::shared_ptr<const FileContent> file, std::string name) {
  RecordFile records(std::move(file), std::move(name));
  SM_RETURN_IF_ERROR(records.FindChunks());
  return records;
}

Status RecordFile::Damaged(std::string_view what) const {
  return DataLoss(name_, ": no intact Riegeli/records file: ", what);
}

bool RecordFile::ReadBytes(uint64_t begin, uint64_t size, std::string* out) const {
  const std::string_view bytes = file_->bytes();
  out->clear();
  while (size > 0) {
    const uint64_t at = WithHeaders(begin);
    const uint64_t part = std::min(size, kBlockSize - at % kBlockSize);
    if (at > bytes.size() || part > bytes.size() - at) return false;
    out->append(bytes.substr(at, part));
    begin += part;
    size -= part;
  }
  return true;
}

Status RecordFile::FindChunks() {
  const uint64_t file_size = file_->bytes().size();
  std::string header;
  for (uint64_t begin = 0; begin < file_size;) {
    Chunk chunk;
    chunk.begin = begin;
    chunk.data = WithoutHeaders(begin) + kChunkHeaderSize;
    if (!ReadBytes(WithoutHeaders(begin), kChunkHeaderSize, &header)) {
      return Damaged(StrCat("it is cut off in the header of the chunk at ", begin));
    }
    chunk.data_size = Number(header, 8, 8);
    chunk.type = header[24];
    chunk.num_records = Number(header, 25, 7);
    chunk.decoded_size = Number(header, 32, 8);
    const bool is_signature = chunk.type == 's' && chunk.data_size == 0 && chunk.num_records == 0;
    if (begin == 0 && !is_signature) return Damaged("it does not begin with the signature");
    if (chunk.data_size > file_size || chunk.num_records > file_size) {
      return Damaged(StrCat("the chunk at ", begin, " claims ", chunk.data_size, " bytes"));
    }
    if (chunk.num_records > 0) chunks_.push_back(chunk);
    begin = ChunkEnd(begin, chunk.data_size, chunk.num_records);
  }
  return Status();
}

Status RecordFile::Decode(const Chunk& chunk) {
  const auto place = [&] { return StrCat(name_, ": chunk at ", chunk.begin); };
  if (chunk.type != 'r') {
    return Unimplemented(place(), ": found type '", std::string(1, chunk.type),
                         "', expected 'r'; write the file without options");
  }
  std::string bytes, sizes;
  if (chunk.decoded_size > kLargestChunk || !ReadBytes(chunk.data, chunk.data_size, &bytes)) {
    return Damaged(StrCat("the chunk at ", chunk.begin, " is cut off"));
  }
  std::string_view rest = bytes;
  uint64_t sizes_size = 0;
  if (rest.empty()) return Damaged(StrCat("the chunk at ", chunk.begin, " is empty"));
  const char compression = rest.front();
  rest.remove_prefix(1);
  if (!TakeVarint(&rest, &sizes_size) || sizes_size > rest.size()) {
    return Damaged(StrCat("the chunk at ", chunk.begin, " has no sizes"));
  }
  SM_RETURN_IF_ERROR(
      Decompress(compression, rest.substr(0, sizes_size), 10 * chunk.num_records, &sizes)
          .At(place()));
  SM_RETURN_IF_ERROR(
      Decompress(compression, rest.substr(sizes_size), chunk.decoded_size, &values_).At(place()));
  ends_.clear();
  decoded_ = UINT64_MAX;
  uint64_t end = 0;
  for (std::string_view left = sizes; !left.empty();) {
    uint64_t size = 0;
    if (!TakeVarint(&left, &size) || size > values_.size() - end) {
      return Damaged(StrCat("the chunk at ", chunk.begin, " has wrong sizes"));
    }
    end += size;
    ends_.push_back(end);
  }
  if (ends_.size() != chunk.num_records || end != values_.size()) {
    return Damaged(StrCat("the chunk at ", chunk.begin, " has wrong sizes"));
  }
  decoded_ = chunk.begin;
  return Status();
}

StatusOr<std::string> RecordFile::RecordOf(const Chunk& chunk, uint64_t index) {
  if (decoded_ != chunk.begin) SM_RETURN_IF_ERROR(Decode(chunk));
  const uint64_t begin = index == 0 ? 0 : ends_[index - 1];
  return values_.substr(begin, ends_[index] - begin);
}

StatusOr<std::string> RecordFile::Read(uint64_t position) {
  auto next = std::upper_bound(chunks_.begin(), chunks_.end(), position,
                               [](uint64_t p, const Chunk& c) { return p < c.begin; });
  if (next == chunks_.begin() ||
      position - std::prev(next)->begin >= std::prev(next)->num_records) {
    return Damaged(StrCat("there is no record at ", position));
  }
  return RecordOf(*std::prev(next), position - std::prev(next)->begin);
}

StatusOr<std::string> RecordFile::ReadLast() {
  if (chunks_.empty()) return Damaged("it holds no records");
  return RecordOf(chunks_.back(), chunks_.back().num_records - 1);
}

}  // namespace savedmodel
