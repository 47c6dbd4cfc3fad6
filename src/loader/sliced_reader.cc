#include "src/loader/sliced_reader.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "proto/savedmodel_checkpoint.pb.h"
#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

constexpr size_t kMaxSlices = 100'000;

// The part that `a` and `b` have in common; false when there is none. Both are resolved.
bool Intersect(const TensorSlice& a, const TensorSlice& b, TensorSlice* common) {
  *common = a;
  for (int d = 0; d < a.rank(); ++d) {
    const int64_t begin = std::max(a.starts[d], b.starts[d]);
    const int64_t end = std::min(a.starts[d] + a.lengths[d], b.starts[d] + b.lengths[d]);
    if (end <= begin) return false;
    common->starts[d] = begin;
    common->lengths[d] = end - begin;
  }
  return true;
}

std::vector<int64_t> Strides(const TensorSlice& slice) {
  std::vector<int64_t> strides(slice.rank(), 1);
  for (int d = slice.rank() - 2; d >= 0; --d) strides[d] = strides[d + 1] * slice.lengths[d + 1];
  return strides;
}

void CopyRun(const Tensor& source, int64_t from, Tensor* target, int64_t to, int64_t count) {
  if (source.dtype() == DType::kString) {
    const std::string* in = source.data<std::string>() + from;
    std::copy(in, in + count, static_cast<std::string*>(target->raw_mutable_data()) + to);
    return;
  }
  const size_t size = DTypeSize(source.dtype());
  std::memcpy(static_cast<char*>(target->raw_mutable_data()) + to * size,
              static_cast<const char*>(source.raw_data()) + from * size, count * size);
}

// Copies what tensor `source`, which lies at `source_at` in some whole, and `target` at `target_at`
// have in common. Returns the number of elements.
int64_t CopyCommon(const Tensor& source, const TensorSlice& source_at, Tensor* target,
                   const TensorSlice& target_at) {
  TensorSlice common;
  if (!Intersect(source_at, target_at, &common)) return 0;
  const int rank = common.rank();
  const std::vector<int64_t> source_strides = Strides(source_at),
                             target_strides = Strides(target_at);
  const int64_t run = rank == 0 ? 1 : common.lengths[rank - 1];
  std::vector<int64_t> at = common.starts;
  int64_t copied = 0;
  while (true) {
    int64_t from = 0, to = 0;
    for (int d = 0; d < rank; ++d) {
      from += (at[d] - source_at.starts[d]) * source_strides[d];
      to += (at[d] - target_at.starts[d]) * target_strides[d];
    }
    CopyRun(source, from, target, to, run);
    copied += run;
    int d = rank - 2;
    for (; d >= 0 && ++at[d] == common.starts[d] + common.lengths[d]; --d) at[d] = common.starts[d];
    if (d < 0) return copied;
  }
}

// INVALID_ARGUMENT when two slices overlap. Compares along the dimension that is cut most.
Status CheckDisjoint(const std::vector<TensorSlice>& slices) {
  const int rank = slices[0].rank();
  std::vector<size_t> order(slices.size());
  std::iota(order.begin(), order.end(), 0);
  int axis = 0;
  size_t most = 0;
  for (int d = 0; d < rank; ++d) {
    std::vector<int64_t> starts;
    for (const TensorSlice& s : slices) starts.push_back(s.starts[d]);
    std::sort(starts.begin(), starts.end());
    const size_t distinct = std::unique(starts.begin(), starts.end()) - starts.begin();
    if (distinct > most) axis = d, most = distinct;
  }
  if (rank > 0) {
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return slices[a].starts[axis] < slices[b].starts[axis]; });
  }
  for (size_t i = 0; i < order.size(); ++i) {
    const TensorSlice& a = slices[order[i]];
    for (size_t j = i + 1; j < order.size(); ++j) {
      const TensorSlice& b = slices[order[j]];
      if (rank > 0 && b.starts[axis] >= a.starts[axis] + a.lengths[axis]) break;
      TensorSlice common;
      if (Intersect(a, b, &common)) {
        return InvalidArgument("slices ", order[i], " and ", order[j], " overlap");
      }
    }
  }
  return Status();
}

}  // namespace

StatusOr<TensorSlice> SliceFromProto(const proto::TensorSliceProto& proto) {
  TensorSlice slice;
  for (const auto& extent : proto.extent()) {
    const bool whole = extent.has_length_hack_case() == extent.HAS_LENGTH_HACK_NOT_SET;
    if (extent.start() < 0 || (whole && extent.start() != 0) || (!whole && extent.length() < 0)) {
      return DataLoss("a slice starts at ", extent.start(), " with length ", extent.length(),
                      ", expected neither below 0");
    }
    slice.starts.push_back(extent.start());
    slice.lengths.push_back(whole ? -1 : extent.length());
  }
  return slice;
}

StatusOr<TensorSlice> ResolveSlice(const TensorSlice& slice, const Shape& shape) {
  if (slice.rank() != shape.rank() || slice.starts.size() != slice.lengths.size()) {
    return InvalidArgument("found a slice of rank ", slice.rank(), ", expected rank ", shape.rank(),
                           " as shape ", shape, " has");
  }
  TensorSlice resolved = slice;
  for (int d = 0; d < shape.rank(); ++d) {
    if (resolved.lengths[d] == -1) resolved.lengths[d] = shape.dim(d) - resolved.starts[d];
    if (resolved.starts[d] < 0 || resolved.lengths[d] < 0 || resolved.starts[d] > shape.dim(d) ||
        resolved.lengths[d] > shape.dim(d) - resolved.starts[d]) {
      return InvalidArgument("found a slice of dimension ", d, " from ", slice.starts[d],
                             " of length ", slice.lengths[d], ", expected it inside of shape ",
                             shape);
    }
  }
  return resolved;
}

Status SlicedReader::AddEntry(CheckpointEntry entry, std::vector<TensorSlice> slices) {
  if (slices.size() > kMaxSlices) {
    return ResourceExhausted("tensor '", entry.key, "': found ", slices.size(),
                             " slices, expected at most ", kMaxSlices);
  }
  std::vector<TensorSlice> resolved;
  for (const TensorSlice& slice : slices) {
    StatusOr<TensorSlice> r = ResolveSlice(slice, entry.shape);
    if (!r.ok()) return DataLoss("tensor '", entry.key, "': ", r.status().message());
    resolved.push_back(std::move(r).value());
  }
  if (!resolved.empty()) {
    Status disjoint = CheckDisjoint(resolved);
    if (!disjoint.ok()) return DataLoss("tensor '", entry.key, "': ", disjoint.message());
  }
  by_key_.emplace(entry.key, entries_.size());
  entries_.push_back(std::move(entry));
  slices_.push_back(std::move(slices));
  return Status();
}

const CheckpointEntry* SlicedReader::Find(const std::string& key) const {
  auto it = by_key_.find(key);
  return it == by_key_.end() ? nullptr : &entries_[it->second];
}

StatusOr<Tensor> SlicedReader::Read(const std::string& key) const {
  const CheckpointEntry* entry = Find(key);
  const size_t rank = entry == nullptr ? 0 : entry->shape.rank();
  return ReadSlice(key, std::vector<int64_t>(rank, 0), std::vector<int64_t>(rank, -1));
}

StatusOr<Tensor> SlicedReader::ReadSlice(const std::string& key, const std::vector<int64_t>& starts,
                                         const std::vector<int64_t>& lengths) const {
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return NotFound("the checkpoint has no tensor '", key, "'");
  const CheckpointEntry& entry = entries_[it->second];
  const auto place = [&](StatusOr<Tensor> t) -> StatusOr<Tensor> {
    if (t.ok()) return t;
    return t.status().At(StrCat("tensor '", key, "'"));
  };
  StatusOr<TensorSlice> region = ResolveSlice({starts, lengths}, entry.shape);
  if (!region.ok()) return place(region.status());
  if (!slices_[it->second].empty()) return place(Assemble(it->second, *region));
  StatusOr<Tensor> whole = ReadPart(entry, it->second, nullptr, entry.shape);
  if (!whole.ok() || region->lengths == entry.shape.ToVector()) return place(std::move(whole));
  StatusOr<Tensor> part = Tensor::Allocate(entry.dtype, Shape(region->lengths));
  if (!part.ok()) return place(std::move(part));
  const TensorSlice all{std::vector<int64_t>(entry.shape.rank(), 0), entry.shape.ToVector()};
  CopyCommon(*whole, all, &*part, *region);
  return part;
}

StatusOr<Tensor> SlicedReader::Assemble(size_t index, const TensorSlice& region) const {
  const CheckpointEntry& entry = entries_[index];
  const Shape shape(region.lengths);
  std::vector<std::pair<const TensorSlice*, TensorSlice>> needed;
  int64_t covered = 0;
  for (const TensorSlice& slice : slices_[index]) {
    SM_ASSIGN_OR_RETURN(TensorSlice resolved, ResolveSlice(slice, entry.shape));
    if (resolved == region) return ReadPart(entry, index, &slice, shape);
    TensorSlice common;
    if (!Intersect(resolved, region, &common)) continue;
    covered += Shape(common.lengths).num_elements();
    needed.emplace_back(&slice, std::move(resolved));
  }
  // Slices do not overlap, so that the numbers are equal only where every element is there.
  if (covered != shape.num_elements()) {
    return DataLoss("found slices with ", covered, " of the ", shape.num_elements(),
                    " elements asked for");
  }
  SM_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(entry.dtype, shape));
  for (const auto& [slice, resolved] : needed) {
    SM_ASSIGN_OR_RETURN(const Tensor part, ReadPart(entry, index, slice, Shape(resolved.lengths)));
    CopyCommon(part, resolved, &result, region);
  }
  return result;
}

}  // namespace savedmodel
