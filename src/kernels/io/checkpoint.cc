// Restoring tensors from checkpoints; ops that would write one are refused.
#include "src/base/checkpoint.h"

#include <charconv>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/io/refuse.h"

namespace savedmodel {
namespace {

// A part of a tensor: full shape, and per dimension where the part starts and how long it is.
struct SliceSpec {
  std::vector<int64_t> shape, starts, lengths;  // a length of -1: to the end
};

bool ParseCount(std::string_view text, int64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && *out >= 0;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

// "4 5 0,2:-": the dimensions of the full shape, then "start,length" or "-" (all) per dimension.
StatusOr<SliceSpec> ParseSliceSpec(std::string_view text) {
  const Status malformed = InvalidArgument("slice specification: found '", text,
                                           "', expected dimensions and a slice as in '4 5 0,2:-'");
  std::vector<std::string_view> words = Split(text, ' ');
  if (words.size() < 2) return malformed;
  SliceSpec spec;
  const std::vector<std::string_view> parts =
      words.back().empty() ? std::vector<std::string_view>() : Split(words.back(), ':');
  words.pop_back();
  if (parts.size() != words.size()) return malformed;
  for (size_t i = 0; i < words.size(); ++i) {
    int64_t dim = 0, start = 0, length = -1;
    if (!ParseCount(words[i], &dim)) return malformed;
    if (parts[i] != "-") {
      const size_t comma = parts[i].find(',');
      if (comma == std::string_view::npos || !ParseCount(parts[i].substr(0, comma), &start) ||
          !ParseCount(parts[i].substr(comma + 1), &length)) {
        return malformed;
      }
      if (length == 0 || start > dim || length > dim - start) {
        return InvalidArgument("slice specification '", text, "': found start ", start,
                               " and length ", length, " in a dimension of ", dim,
                               ", expected a part of it");
      }
    }
    spec.shape.push_back(dim);
    spec.starts.push_back(start);
    spec.lengths.push_back(length);
  }
  return spec;
}

bool IsWhole(const SliceSpec& spec) {
  for (size_t i = 0; i < spec.shape.size(); ++i) {
    if (spec.starts[i] != 0 || (spec.lengths[i] != -1 && spec.lengths[i] != spec.shape[i])) {
      return false;
    }
  }
  return true;
}

StatusOr<Tensor> ReadEntry(const CheckpointReader& reader, const std::string& key,
                           const std::string& slice, DType dtype) {
  const CheckpointEntry* entry = reader.Find(key);
  if (entry == nullptr) return NotFound("Key ", key, " not found in checkpoint");
  if (entry->dtype != dtype) {
    return InvalidArgument("checkpoint entry ", key, ": found dtype ", entry->dtype, ", expected ",
                           dtype);
  }
  if (slice.empty()) return reader.Read(key);
  SM_ASSIGN_OR_RETURN(const SliceSpec spec, ParseSliceSpec(slice));
  if (spec.shape != entry->shape.ToVector()) {
    return InvalidArgument("checkpoint entry ", key, ": found shape ", entry->shape, ", expected ",
                           spec.shape, " as the slice specification says");
  }
  return IsWhole(spec) ? reader.Read(key) : reader.ReadSlice(key, spec.starts, spec.lengths);
}

StatusOr<std::shared_ptr<const CheckpointReader>> OpenCheckpoint(OpContext& ctx) {
  if (ctx.run().checkpoints == nullptr) {
    return Status(StatusCode::kPermissionDenied, "graphs may not read checkpoints in this call");
  }
  return ctx.run().checkpoints->Open(*ctx.in<std::string>(0));
}

Status RestoreV2(OpContext& ctx) {
  const Span<const std::string> names = ctx.input(1).values<std::string>();
  const Span<const std::string> slices = ctx.input(2).values<std::string>();
  const size_t n = static_cast<size_t>(ctx.num_outputs());
  SM_CHECK_ARG(names.size() == n && slices.size() == n, "found ", names.size(), " names and ",
               slices.size(), " slice specifications, expected ", n, " of each");
  SM_ASSIGN_OR_RETURN(const std::shared_ptr<const CheckpointReader> reader, OpenCheckpoint(ctx));
  for (size_t i = 0; i < n; ++i) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    const int index = static_cast<int>(i);
    SM_ASSIGN_OR_RETURN(Tensor value,
                        ReadEntry(*reader, names[i], slices[i], ctx.output_dtype(index)));
    ctx.set_output(index, std::move(value));
  }
  return Status();
}

// Restore and RestoreSlice.
Status RestoreOne(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const std::shared_ptr<const CheckpointReader> reader, OpenCheckpoint(ctx));
  const std::string slice = ctx.num_inputs() > 2 ? *ctx.in<std::string>(2) : std::string();
  SM_ASSIGN_OR_RETURN(Tensor value,
                      ReadEntry(*reader, *ctx.in<std::string>(1), slice, ctx.output_dtype(0)));
  ctx.set_output(0, std::move(value));
  return Status();
}

Status RestoreV2Shape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 0));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  return ctx.ExpectRank(2, 1);
}

Status RestoreOneShape(ShapeContext& ctx) {
  for (int i = 0; i < ctx.num_inputs(); ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "MergeV2Checkpoints(checkpoint_prefixes: string, destination_prefix: string) -> "
                  "(); delete_old_dirs: bool = true; allow_missing_files: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RefuseToWrite>},
    {.signature = "Restore(file_pattern: string, tensor_name: string) -> (tensor: dt); dt: type; "
                  "preferred_shard: int = -1",
     .effects = Effects::kReadsState,
     .shape = RestoreOneShape,
     .build = BuildPlain<RestoreOne>},
    {.signature = "RestoreSlice(file_pattern: string, tensor_name: string, shape_and_slice: "
                  "string) -> (tensor: dt); dt: type; preferred_shard: int = -1",
     .effects = Effects::kReadsState,
     .shape = RestoreOneShape,
     .build = BuildPlain<RestoreOne>},
    {.signature = "RestoreV2(prefix: string, tensor_names: string, shape_and_slices: string) -> "
                  "(tensors: dtypes); dtypes: list(type) >= 1",
     .effects = Effects::kReadsState,
     .shape = RestoreV2Shape,
     .build = BuildPlain<RestoreV2>},
    {.signature = "Save(filename: string, tensor_names: string, data: T) -> (); T: list(type) >= 1",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RefuseToWrite>},
    {.signature = "SaveSlices(filename: string, tensor_names: string, shapes_and_slices: string, "
                  "data: T) -> (); T: list(type) >= 1",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RefuseToWrite>},
    {.signature = "SaveV2(prefix: string, tensor_names: string, shape_and_slices: string, "
                  "tensors: dtypes) -> (); dtypes: list(type) >= 1",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RefuseToWrite>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CheckpointOps() { return kOps; }

}  // namespace savedmodel
