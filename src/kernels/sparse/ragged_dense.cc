// RaggedTensorToTensor: ragged values padded to a dense tensor.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

enum class Partition : uint8_t { kFirstDimSize, kValueRowIds, kRowSplits };

StatusOr<std::vector<Partition>> ParsePartitions(const Attrs& attrs) {
  std::vector<Partition> types;
  for (const std::string& name : attrs.Get<std::vector<std::string>>("row_partition_types")) {
    if (name == "FIRST_DIM_SIZE" && types.empty()) {
      types.push_back(Partition::kFirstDimSize);
    } else if (name == "VALUE_ROWIDS" && !types.empty()) {
      types.push_back(Partition::kValueRowIds);
    } else if (name == "ROW_SPLITS") {
      types.push_back(Partition::kRowSplits);
    } else {
      return InvalidArgument("row_partition_types[", types.size(), "]: found ", name,
                             ", expected ROW_SPLITS, or FIRST_DIM_SIZE first and VALUE_ROWIDS "
                             "later");
    }
  }
  SM_CHECK_ARG(static_cast<int64_t>(types.size()) == attrs.Int("num_row_partition_tensors"),
               "row_partition_types: found ", types.size(), ", expected one for each of ",
               attrs.Int("num_row_partition_tensors"), " tensors");
  return types;
}

// How the rows of one level lie in the level below.
struct Level {
  Partition type;
  std::vector<int64_t> data;

  // Rows of this level; of row ids it is not known.
  int64_t RowsBelow() const {
    return type == Partition::kRowSplits ? data.back() : static_cast<int64_t>(data.size());
  }
  int64_t Widest() const;
};

int64_t Level::Widest() const {
  int64_t widest = 0;
  if (type == Partition::kRowSplits) {
    for (size_t i = 1; i < data.size(); ++i) widest = std::max(widest, data[i] - data[i - 1]);
    return widest;
  }
  for (size_t i = 0, begin = 0; i < data.size(); ++i) {
    if (data[i] != data[begin]) begin = i;
    widest = std::max(widest, static_cast<int64_t>(i - begin) + 1);
  }
  return widest;
}

// The levels, and the size of the first dimension.
struct Ragged {
  int64_t rows = 0;
  std::vector<Level> levels;
};

StatusOr<Level> ReadLevel(OpContext& ctx, int input, Partition type, int64_t rows) {
  SM_CHECK_ARG(ctx.input(input).shape().rank() == 1, "row partition: found shape ",
               ctx.input(input).shape(), ", expected a vector");
  Level level{type, ctx.IntsInput(input)};
  const std::vector<int64_t>& data = level.data;
  if (type == Partition::kRowSplits) {
    SM_CHECK_ARG(!data.empty() && data.front() == 0, "row splits must start with 0");
    SM_CHECK_ARG(rows < 0 || static_cast<int64_t>(data.size()) == rows + 1, "row splits: found ",
                 data.size(), " elements, expected ", rows + 1);
  }
  for (size_t i = 0; i < data.size(); ++i) {
    SM_CHECK_ARG(i == 0 || data[i] >= data[i - 1], "row partition must not decrease: found ",
                 data[i], " after ", data[i - 1]);
    SM_CHECK_ARG(type == Partition::kRowSplits || (data[i] >= 0 && data[i] < rows),
                 "value row ids: found ", data[i], ", expected [0, ", rows, ")");
  }
  return level;
}

StatusOr<Ragged> ReadRagged(OpContext& ctx, const std::vector<Partition>& types) {
  constexpr int kFirst = 3;
  Ragged out;
  int64_t rows = -1;
  for (size_t i = 0; i < types.size(); ++i) {
    const int input = kFirst + static_cast<int>(i);
    if (types[i] == Partition::kFirstDimSize) {
      SM_CHECK_ARG(ctx.input(input).num_elements() == 1, "first dimension size: found shape ",
                   ctx.input(input).shape(), ", expected a scalar");
      rows = ctx.IntInput(input);
      SM_CHECK_ARG(rows >= 0, "first dimension size: found ", rows);
      out.rows = rows;
      continue;
    }
    SM_ASSIGN_OR_RETURN(Level level, ReadLevel(ctx, input, types[i], rows));
    if (i == 0) out.rows = static_cast<int64_t>(level.data.size()) - 1;
    rows = level.RowsBelow();
    out.levels.push_back(std::move(level));
  }
  SM_CHECK_ARG(!out.levels.empty(), "row partitions: found none but the first dimension's size");
  SM_CHECK_ARG(rows == ctx.input(1).shape().dim(0), "row partitions: found ", rows,
               " values, expected ", ctx.input(1).shape().dim(0));
  return out;
}

// The output's shape: as given, and where that is -1 as large as the widest row.
StatusOr<Shape> OutputShape(OpContext& ctx, const Ragged& ragged) {
  const Shape& values = ctx.input(1).shape();
  const size_t ragged_rank = ragged.levels.size();
  const size_t rank = ragged_rank + static_cast<size_t>(values.rank());
  std::vector<int64_t> dims = ctx.IntsInput(0);
  SM_CHECK_ARG(ctx.input(0).shape().rank() <= 1, "shape: found shape ", ctx.input(0).shape());
  if (ctx.input(0).shape().rank() == 0) {
    SM_CHECK_ARG(dims[0] == -1, "shape: found scalar ", dims[0], ", expected -1 or a vector");
    dims.assign(rank, -1);
  }
  SM_CHECK_ARG(dims.size() == rank, "shape: found ", dims.size(), " dimensions, expected ", rank,
               " as the ragged tensor has");
  if (dims[0] < 0) dims[0] = ragged.rows;
  for (size_t d = 1; d <= ragged_rank; ++d) {
    if (dims[d] < 0) dims[d] = ragged.levels[d - 1].Widest();
  }
  for (size_t d = ragged_rank + 1; d < rank; ++d) {
    const int64_t inner = values.dim(static_cast<int>(d - ragged_rank));
    SM_CHECK_ARG(dims[d] < 0 || dims[d] == inner, "shape: found ", dims[d], " in dimension ", d,
                 ", expected ", inner);
    dims[d] = inner;
  }
  return ShapeFromDims(dims);
}

// Where each row of the level below goes in the output, in rows of values; -1 where it is cut off.
// `parent(row)` is where row `row` of this level begins.
template <class Parent>
std::vector<int64_t> Place(const Level& level, Parent parent_of, int64_t width, int64_t step) {
  std::vector<int64_t> out;
  out.reserve(static_cast<size_t>(level.RowsBelow()));
  const auto place = [&](int64_t parent, int64_t column) {
    out.push_back(parent < 0 || column >= width ? -1 : parent + column * step);
  };
  if (level.type == Partition::kRowSplits) {
    for (size_t row = 0; row + 1 < level.data.size(); ++row) {
      const int64_t length = level.data[row + 1] - level.data[row];
      for (int64_t k = 0; k < length; ++k) place(parent_of(static_cast<int64_t>(row)), k);
    }
  } else {
    for (size_t i = 0, begin = 0; i < level.data.size(); ++i) {
      if (level.data[i] != level.data[begin]) begin = i;
      place(parent_of(level.data[i]), static_cast<int64_t>(i - begin));
    }
  }
  return out;
}

// The default value repeated to the inner shape of the values, as positions in it.
StatusOr<std::vector<int64_t>> DefaultPositions(const Shape& fallback, const Shape& inner) {
  SM_CHECK_ARG(fallback.rank() <= inner.rank(), "default_value: found shape ", fallback,
               ", expected one that broadcasts to ", inner);
  std::vector<int64_t> positions(static_cast<size_t>(inner.num_elements()), 0);
  int64_t step = 1;
  int64_t repeat = 1;
  for (int d = inner.rank() - 1, f = fallback.rank() - 1; f >= 0; --d, --f) {
    SM_CHECK_ARG(fallback.dim(f) == 1 || fallback.dim(f) == inner.dim(d),
                 "default_value: found shape ", fallback, ", expected one that broadcasts to ",
                 inner);
    if (fallback.dim(f) != 1) {
      for (size_t i = 0; i < positions.size(); ++i) {
        positions[i] += static_cast<int64_t>(i) / repeat % inner.dim(d) * step;
      }
    }
    step *= fallback.dim(f);
    repeat *= inner.dim(d);
  }
  return positions;
}

Status ToTensor(OpContext& ctx, const std::vector<Partition>& types) {
  const Shape& values = ctx.input(1).shape();
  SM_CHECK_ARG(values.rank() >= 1, "values: found a scalar, expected rank >= 1");
  SM_ASSIGN_OR_RETURN(const Ragged ragged, ReadRagged(ctx, types));
  SM_ASSIGN_OR_RETURN(const Shape shape, OutputShape(ctx, ragged));
  const Shape inner = values.WithRemoved(0);
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, shape));
  if (shape.num_elements() == 0) return Status();
  SM_ASSIGN_OR_RETURN(const std::vector<int64_t> fallback,
                      DefaultPositions(ctx.input(2).shape(), inner));
  const int levels = static_cast<int>(ragged.levels.size());
  const int64_t first_step = shape.Product(1, levels + 1);
  std::vector<int64_t> places;
  for (int level = 0; level < levels; ++level) {
    const Level& rows = ragged.levels[static_cast<size_t>(level)];
    const int64_t width = shape.dim(level + 1), step = shape.Product(level + 2, levels + 1);
    if (level == 0) {
      const auto first = [&](int64_t row) { return row < shape.dim(0) ? row * first_step : -1; };
      places = Place(rows, first, width, step);
    } else {
      const std::vector<int64_t> parents = std::move(places);
      const auto parent = [&](int64_t row) { return parents[static_cast<size_t>(row)]; };
      places = Place(rows, parent, width, step);
    }
  }
  const int64_t width = inner.num_elements();
  return VisitByElementSize(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* in = static_cast<const T*>(ctx.input(1).raw_data());
    const T* padding = static_cast<const T*>(ctx.input(2).raw_data());
    T* out = static_cast<T*>(ctx.output(0).raw_mutable_data());
    const int64_t rows = shape.num_elements() / width;
    for (int64_t row = 0, k = 0; row < rows; ++row) {
      for (int64_t i = 0; i < width; ++i) out[k++] = padding[fallback[static_cast<size_t>(i)]];
    }
    for (size_t row = 0; row < places.size(); ++row) {
      if (places[row] < 0) continue;
      std::copy_n(in + static_cast<int64_t>(row) * width, width, out + places[row] * width);
    }
    return Status();
  });
}

StatusOr<KernelPtr> BuildToTensor(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(std::vector<Partition> types, ParsePartitions(build.attrs()));
  return MakeKernel([types = std::move(types)](OpContext& ctx) { return ToTensor(ctx, types); });
}

// The rank, the sizes that `shape` gives, and the inner dimensions of the values.
Status ToTensorShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const std::vector<Partition> types, ParsePartitions(ctx.attrs()));
  const Shape& values = ctx.input(1);
  if (!values.known_rank() || values.rank() == 0) return Status();
  const int levels =
      static_cast<int>(types.size()) - (types.front() == Partition::kFirstDimSize ? 1 : 0);
  Shape out = Shape::UnknownOfRank(levels + values.rank());
  std::vector<int64_t> given;
  const bool is_given = ctx.IntValues(0, &given) && static_cast<int>(given.size()) == out.rank();
  for (int d = 0; d < out.rank(); ++d) {
    const int64_t size = d > levels ? values[d - levels] : is_given ? given[d] : -1;
    if (size >= 0) out = out.WithDim(d, size);
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "RaggedTensorToTensor(shape: Tshape, values: T, default_value: T, "
                  "row_partition_tensors: num_row_partition_tensors * Tindex) -> (result: T); "
                  "T: type; Tindex: {int64,int32}; Tshape: {int64,int32}; "
                  "num_row_partition_tensors: int >= 1; row_partition_types: list(string)",
     .shape = ToTensorShape,
     .build = BuildToTensor},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RaggedDenseOps() { return kOps; }

}  // namespace savedmodel
