// V2 checkpoints (tensor bundles): a sorted table of entries, and data files that they point into.
#include <cstdio>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "proto/savedmodel_checkpoint.pb.h"
#include "src/base/crc32c.h"
#include "src/base/mapped_pages.h"
#include "src/base/status_macros.h"
#include "src/loader/checkpoint_reader.h"
#include "src/loader/proto_parsing.h"
#include "src/loader/sliced_reader.h"
#include "src/loader/table_reader.h"
#include "src/loader/tensor_proto.h"

namespace savedmodel {
namespace {

constexpr int kBundleVersion = 1;
constexpr int kMaxShards = 1'000'000;

// Tensors up to this size are copied: the system may map 2 MiB of the file where one is read.
constexpr size_t kMostCopied = 64 << 10;

// Where a tensor or slice lies.
struct Stored {
  int dtype = 0;  // as in the file: what this library cannot read it can still list
  Shape shape;
  int32_t shard = 0;
  int64_t offset = 0;
  int64_t size = 0;
  uint32_t masked_crc = 0;
};

class BundleReader final : public SlicedReader {
 public:
  BundleReader(std::shared_ptr<const FileSystem> files, std::string prefix, bool verify_checksums)
      : files_(std::move(files)), prefix_(std::move(prefix)), verify_checksums_(verify_checksums) {}

  Status Open() {
    const std::string name = prefix_ + ".index";
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const FileContent> file, files_->Read(name));
    SM_ASSIGN_OR_RETURN(const TableReader table, TableReader::Open(std::move(file), name));
    bool has_header = false;
    SM_RETURN_IF_ERROR(table.ForEach([&](std::string_view key, std::string_view value) {
      if (!key.empty()) return AddEntryFrom(key, value).At(name);
      has_header = true;
      return ReadHeader(value).At(name);
    }));
    if (!has_header) return DataLoss(name, ": the table has no header entry");
    return Status();
  }

 protected:
  StatusOr<Tensor> ReadPart(const CheckpointEntry& entry, size_t index, const TensorSlice* slice,
                            const Shape& shape) const override {
    const Stored* stored = &stored_[index];
    if (slice != nullptr) {
      auto it = slices_.find(SliceKey(entry.key, *slice));
      if (it == slices_.end()) return DataLoss(prefix_, ".index: a slice has no entry");
      stored = &it->second;
      if (stored->dtype != stored_[index].dtype || stored->shape != shape) {
        return DataLoss(prefix_, ".index: a slice is stored with shape ", stored->shape,
                        ", expected ", entry.dtype, shape);
      }
    }
    SM_ASSIGN_OR_RETURN(const DType dtype, DTypeFromNumber(stored->dtype));
    SM_ASSIGN_OR_RETURN(const std::shared_ptr<const FileContent> file, Shard(stored->shard));
    const int64_t file_size = static_cast<int64_t>(file->bytes().size());
    if (stored->offset < 0 || stored->size < 0 || stored->offset > file_size ||
        stored->size > file_size - stored->offset) {
      return DataLoss(ShardName(stored->shard), ": found ", file_size, " bytes, expected ",
                      stored->size, " at offset ", stored->offset);
    }
    const std::string_view bytes = file->bytes().substr(stored->offset, stored->size);
    if (dtype == DType::kString) return ReadStrings(*stored, bytes);
    if (!IsPlainData(dtype)) {
      return Unimplemented("tensors of type ", dtype, " cannot be read from a checkpoint");
    }
    return ReadPlain(*stored, dtype, bytes, file);
  }

 private:
  Status ReadHeader(std::string_view value) {
    proto::BundleHeaderProto header;
    Status parsed = ParseBinary(value, "header entry", &header);
    if (!parsed.ok()) return DataLoss(parsed.message());
    if (header.endianness() != proto::BundleHeaderProto::LITTLE) {
      return Unimplemented("the checkpoint was written on a big-endian machine");
    }
    if (header.num_shards() < 0 || header.num_shards() > kMaxShards) {
      return DataLoss("found ", header.num_shards(), " data files, expected 0 to ", kMaxShards);
    }
    num_shards_ = header.num_shards();
    if (header.version().min_consumer() > kBundleVersion) {
      return InvalidArgument("the checkpoint needs version ", header.version().min_consumer(),
                             " of its format, found ", kBundleVersion, " here");
    }
    for (int bad : header.version().bad_consumers()) {
      if (bad == kBundleVersion) {
        return InvalidArgument("the checkpoint excludes readers of version ", kBundleVersion);
      }
    }
    return Status();
  }

  Status AddEntryFrom(std::string_view key, std::string_view value) {
    proto::BundleEntryProto proto;
    Status parsed = ParseBinary(value, StrCat("entry '", key, "'"), &proto);
    if (!parsed.ok()) return DataLoss(parsed.message());
    Stored stored;
    StatusOr<Shape> shape = ShapeFromProto(proto.shape());
    if (!shape.ok() || !shape->fully_known()) {
      return DataLoss("entry '", key, "': ",
                      shape.ok() ? "its shape is not fully known" : shape.status().message());
    }
    StatusOr<DType> dtype = ValueDTypeFromNumber(proto.dtype());
    if (dtype.status().code() == StatusCode::kInvalidArgument) {
      return DataLoss("entry '", key, "': ", dtype.status().message());
    }
    if (proto.shard_id() < 0 || proto.shard_id() >= num_shards_) {
      return DataLoss("entry '", key, "': found shard ", proto.shard_id(), ", expected one below ",
                      num_shards_);
    }
    stored.dtype = proto.dtype();
    stored.shape = std::move(shape).value();
    stored.shard = proto.shard_id();
    stored.offset = proto.offset();
    stored.size = proto.size();
    stored.masked_crc = proto.crc32c();
    if (IsSliceKey(key)) {
      slices_.emplace(key, std::move(stored));
      return Status();
    }
    std::vector<TensorSlice> slices;
    for (const auto& slice : proto.slices()) {
      StatusOr<TensorSlice> s = SliceFromProto(slice);
      if (!s.ok()) return s.status().At(StrCat("entry '", key, "'"));
      slices.push_back(std::move(s).value());
    }
    CheckpointEntry entry{std::string(key), dtype.value_or(DType::kInvalid), stored.shape};
    stored_.push_back(std::move(stored));
    return AddEntry(std::move(entry), std::move(slices));
  }

  std::string ShardName(int32_t shard) const {
    char suffix[40];
    std::snprintf(suffix, sizeof(suffix), ".data-%05d-of-%05d", shard, num_shards_);
    return prefix_ + suffix;
  }

  StatusOr<std::shared_ptr<const FileContent>> Shard(int32_t shard) const {
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<const FileContent>& file = shards_[shard];
    if (file == nullptr) {
      SM_ASSIGN_OR_RETURN(file, files_->Read(ShardName(shard)));
    }
    return file;
  }

  Status CheckCrc(const Stored& stored, uint32_t found) const {
    if (MatchesMaskedCrc32c(stored.masked_crc, found)) return Status();
    return DataLoss(ShardName(stored.shard), ": checksum of the ", stored.size, " bytes at offset ",
                    stored.offset, " does not match");
  }

  // Of bytes that perhaps are never used (Keras 3 stores variables twice, tables are read in
  // places): gives their pages back.
  static uint32_t Checksum(std::string_view bytes) {
    constexpr size_t kPart = 4 << 20;
    uint32_t crc = 0;
    while (!bytes.empty()) {
      const std::string_view part = bytes.substr(0, kPart);
      crc = ExtendCrc32c(crc, part);
      if (part.size() > kMostCopied) ReleaseMappedPages(part.data(), part.size());
      bytes.remove_prefix(part.size());
    }
    return crc;
  }

  StatusOr<Tensor> ReadPlain(const Stored& stored, DType dtype, std::string_view bytes,
                             const std::shared_ptr<const FileContent>& file) const {
    const size_t element = DTypeSize(dtype);
    if (bytes.size() % element != 0 ||
        static_cast<int64_t>(bytes.size() / element) != stored.shape.num_elements()) {
      return DataLoss(prefix_, ".index: found ", bytes.size(), " bytes for ", dtype, stored.shape,
                      ", expected ", element, " for each element");
    }
    if (verify_checksums_) SM_RETURN_IF_ERROR(CheckCrc(stored, Checksum(bytes)));
    const bool aligned = reinterpret_cast<uintptr_t>(bytes.data()) % element == 0;
    // A bool other than 0 and 1 must not reach kernels, so these are always copied.
    if (aligned && dtype != DType::kBool && bytes.size() > kMostCopied) {
      return Tensor::Borrow(dtype, stored.shape, bytes.data(), bytes.size(), [file] {});
    }
    SM_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(dtype, stored.shape));
    uint8_t* out = static_cast<uint8_t*>(t.raw_mutable_data());
    if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
    if (dtype == DType::kBool) {
      for (size_t i = 0; i < bytes.size(); ++i) out[i] = out[i] != 0;
    }
    return t;
  }

  // All lengths as varints, a checksum of them, then the text. The entry's checksum covers the
  // lengths as fixed numbers of 4 bytes (8 where that is too few), their checksum, and the text.
  StatusOr<Tensor> ReadStrings(const Stored& stored, std::string_view bytes) const {
    const auto damaged = [&] {
      return DataLoss(ShardName(stored.shard), ": the strings at offset ", stored.offset,
                      " are cut off or damaged");
    };
    const int64_t n = stored.shape.num_elements();
    if (n > static_cast<int64_t>(bytes.size())) return damaged();
    std::vector<uint64_t> lengths(n);
    uint32_t crc = 0;
    for (uint64_t& length : lengths) {
      if (!TakeVarint(&bytes, &length)) return damaged();
      if (!verify_checksums_) continue;
      const size_t width = length <= UINT32_MAX ? 4 : 8;
      crc = ExtendCrc32c(crc, {reinterpret_cast<const char*>(&length), width});
    }
    uint32_t lengths_crc = 0;
    if (n > 0 || !bytes.empty()) {
      if (bytes.size() < sizeof(lengths_crc)) return damaged();
      std::memcpy(&lengths_crc, bytes.data(), sizeof(lengths_crc));
      if (verify_checksums_ && !MatchesMaskedCrc32c(lengths_crc, crc)) return damaged();
      crc = ExtendCrc32c(crc, bytes.substr(0, sizeof(lengths_crc)));
      bytes.remove_prefix(sizeof(lengths_crc));
      if (verify_checksums_) crc = ExtendCrc32c(crc, bytes);
    }
    if (verify_checksums_) SM_RETURN_IF_ERROR(CheckCrc(stored, crc));
    SM_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(DType::kString, stored.shape));
    std::string* out = static_cast<std::string*>(t.raw_mutable_data());
    for (int64_t i = 0; i < n; ++i) {
      if (lengths[i] > bytes.size()) return damaged();
      out[i].assign(bytes.substr(0, lengths[i]));
      bytes.remove_prefix(lengths[i]);
    }
    if (!bytes.empty()) return damaged();
    return t;
  }

  const std::shared_ptr<const FileSystem> files_;
  const std::string prefix_;
  const bool verify_checksums_;
  int32_t num_shards_ = 0;
  std::vector<Stored> stored_;  // parallel to entries()
  std::unordered_map<std::string, Stored> slices_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<int32_t, std::shared_ptr<const FileContent>> shards_;
};

}  // namespace

StatusOr<std::shared_ptr<const CheckpointReader>> OpenBundle(
    std::shared_ptr<const FileSystem> files, const std::string& prefix, bool verify_checksums) {
  auto reader = std::make_shared<BundleReader>(std::move(files), prefix, verify_checksums);
  SM_RETURN_IF_ERROR(reader->Open());
  return std::shared_ptr<const CheckpointReader>(std::move(reader));
}

}  // namespace savedmodel
