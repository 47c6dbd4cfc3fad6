// V1 checkpoints: sorted tables that hold tensors, described by the entry under the empty key.
#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "proto/savedmodel_checkpoint.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/checkpoint_reader.h"
#include "src/loader/proto_parsing.h"
#include "src/loader/sliced_reader.h"
#include "src/loader/table_reader.h"
#include "src/loader/tensor_proto.h"

namespace savedmodel {
namespace {

constexpr int kCheckpointVersion = 1;

// '?' is any character, '*' any number of them.
bool Matches(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

StatusOr<std::vector<std::string>> MatchingFiles(const FileSystem& files,
                                                 const std::string& pattern) {
  if (files.Exists(pattern)) return std::vector<std::string>{pattern};
  std::vector<std::string> found;
  const size_t slash = pattern.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : pattern.substr(0, slash + 1);
  const std::string last = slash == std::string::npos ? pattern : pattern.substr(slash + 1);
  if (last.find_first_of("?*") != std::string::npos) {
    SM_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
    for (const std::string& name : names) {
      if (Matches(last, name))
        found.push_back(slash == std::string::npos ? name : directory + name);
    }
  }
  if (found.empty()) {
    return NotFound("checkpoint '", pattern, "': found neither ", pattern,
                    ".index (V2) nor files of this name (V1)");
  }
  return found;
}

class TableCheckpoint final : public SlicedReader {
 public:
  Status Open(const FileSystem& files, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      SM_ASSIGN_OR_RETURN(std::shared_ptr<const FileContent> file, files.Read(name));
      SM_ASSIGN_OR_RETURN(TableReader table, TableReader::Open(std::move(file), name));
      tables_.push_back(std::move(table));
      SM_RETURN_IF_ERROR(tables_.back().Visit("", [&](std::string_view value) {
        return ReadMeta(value, tables_.size() - 1).At(name);
      }));
    }
    for (auto& [key, tensor] : tensors_) {
      SM_RETURN_IF_ERROR(AddEntry({key, tensor.dtype, tensor.shape}, std::move(tensor.slices)));
    }
    tensors_.clear();
    return Status();
  }

 protected:
  StatusOr<Tensor> ReadPart(const CheckpointEntry& entry, size_t, const TensorSlice* slice,
                            const Shape& shape) const override {
    if (slice == nullptr) return DataLoss("no file holds any slice of it");
    const std::string key = SliceKey(entry.key, *slice);
    proto::SavedTensorSlices slices;
    const TableReader& table = tables_[slice_tables_.at(key)];
    Status read = table.Visit(key, [&](std::string_view value) {
      Status parsed = ParseBinary(value, "slice", &slices);
      return parsed.ok() ? parsed : DataLoss(parsed.message());
    });
    if (read.code() == StatusCode::kNotFound) return DataLoss("a slice of it is not stored");
    SM_RETURN_IF_ERROR(read);
    StatusOr<Tensor> tensor = TensorFromFields(slices.data().data(), entry.dtype, shape);
    if (!tensor.ok()) return DataLoss(tensor.status().message());
    return tensor;
  }

 private:
  struct Description {
    DType dtype = DType::kInvalid;
    Shape shape;
    std::vector<TensorSlice> slices;
  };

  Status ReadMeta(std::string_view value, size_t table) {
    proto::SavedTensorSlices slices;
    Status parsed = ParseBinary(value, "description", &slices);
    if (!parsed.ok()) return DataLoss(parsed.message());
    const auto& versions = slices.meta().versions();
    if (versions.min_consumer() > kCheckpointVersion) {
      return InvalidArgument("the checkpoint needs version ", versions.min_consumer(),
                             " of its format, found ", kCheckpointVersion, " here");
    }
    for (const auto& meta : slices.meta().tensor()) {
      Status status = AddTensor(meta, table);
      if (!status.ok()) return DataLoss("tensor '", meta.name(), "': ", status.message());
    }
    return Status();
  }

  Status AddTensor(const proto::SavedSliceMeta& meta, size_t table) {
    SM_ASSIGN_OR_RETURN(Shape shape, ShapeFromProto(meta.shape()));
    SM_ASSIGN_OR_RETURN(const DType dtype, DTypeFromNumber(meta.type()));
    if (!shape.fully_known()) return DataLoss("its shape is not fully known");
    auto [it, inserted] = tensors_.try_emplace(meta.name());
    Description& tensor = it->second;
    if (inserted) {
      tensor.dtype = dtype;
      tensor.shape = std::move(shape);
    } else if (tensor.dtype != dtype || tensor.shape != shape) {
      return DataLoss("found ", dtype, shape, " in one file and ", tensor.dtype, tensor.shape,
                      " in another");
    }
    for (const auto& proto : meta.slice()) {
      SM_ASSIGN_OR_RETURN(TensorSlice slice, SliceFromProto(proto));
      if (!slice_tables_.emplace(SliceKey(meta.name(), slice), table).second) {
        return DataLoss("found a slice twice");
      }
      tensor.slices.push_back(std::move(slice));
    }
    return Status();
  }

  std::vector<TableReader> tables_;
  std::map<std::string, Description> tensors_;  // while opening
  std::unordered_map<std::string, size_t> slice_tables_;
};

}  // namespace

StatusOr<std::shared_ptr<const CheckpointReader>> OpenTableCheckpoint(
    std::shared_ptr<const FileSystem> files, const std::string& pattern) {
  SM_ASSIGN_OR_RETURN(const std::vector<std::string> names, MatchingFiles(*files, pattern));
  auto reader = std::make_shared<TableCheckpoint>();
  SM_RETURN_IF_ERROR(reader->Open(*files, names));
  return std::shared_ptr<const CheckpointReader>(std::move(reader));
}

}  // namespace savedmodel
