// Diagonals and bands of matrices.
#include <algorithm>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"

namespace savedmodel {
namespace {

// Diagonals [lower, upper] of matrices [rows, cols], as packed by align: one row for each diagonal,
// the uppermost first, each as long as the longest and shifted to the left or right in it.
struct Band {
  int64_t lower = 0, upper = 0, rows = 0, cols = 0;
  bool super_left = true, sub_left = true;

  int64_t count() const { return upper - lower + 1; }
  int64_t Length(int64_t d) const {
    return std::min(rows + std::min<int64_t>(0, d), cols - std::max<int64_t>(0, d));
  }
  int64_t max_length() const {
    return std::min(rows + std::min<int64_t>(0, upper), cols - std::max<int64_t>(0, lower));
  }
  // Where diagonal `d` begins in its packed row.
  int64_t Offset(int64_t d) const {
    const bool left = (d >= 0 && super_left) || (d <= 0 && sub_left);
    return left ? 0 : max_length() - Length(d);
  }
};

void SetAlign(const Attrs& attrs, Band* band) {
  if (!attrs.Has("align")) return;  // the first two versions of these ops: all to the left
  const std::string& align = attrs.String("align");
  band->super_left = align.rfind("LEFT_", 0) == 0;
  band->sub_left = align.size() > 5 && align.compare(align.size() - 5, 5, "_LEFT") == 0;
}

// Reads k, a scalar or a vector of one or two elements.
Status ReadDiagonals(const Tensor& k, Band* band) {
  SM_CHECK_ARG(k.shape().rank() <= 1 && k.num_elements() >= 1 && k.num_elements() <= 2,
               "k has shape ", k.shape(), ", expected a scalar or a vector of 1 or 2 elements");
  const IntReader values(k);
  band->lower = values[0];
  band->upper = values[k.num_elements() - 1];
  SM_CHECK_ARG(band->lower <= band->upper, "found diagonals ", band->lower, " to ", band->upper,
               ", expected the lower one first");
  return Status();
}

Status CheckInside(const Band& band) {
  for (int64_t d : {band.lower, band.upper}) {
    SM_CHECK_ARG(d == 0 || (d > -band.rows && d < band.cols), "diagonal ", d,
                 " lies outside of matrices of shape [", band.rows, ",", band.cols, "]");
  }
  return Status();
}

// The shape of packed diagonals: one diagonal has no dimension for their number.
Shape PackedShape(const Shape& batch, const Band& band) {
  const Shape dims = band.count() > 1 ? batch.WithAppended(band.count()) : batch;
  return dims.WithAppended(std::max<int64_t>(0, band.max_length()));
}

// Copies between the diagonals of matrices and their packed form.
void MoveDiagonals(const OpContext& ctx, const Band& band, DType dtype, const void* in, void* out,
                   int64_t batch, bool pack) {
  const int64_t matrix = band.rows * band.cols, length = band.max_length();
  for (int64_t d = band.lower; d <= band.upper; ++d) {
    const int64_t at = std::max<int64_t>(0, d) + std::max<int64_t>(0, -d) * band.cols;
    const int64_t packed = (band.upper - d) * length + band.Offset(d);
    Move move = {.dims = {{batch, matrix, band.count() * length},
                          {std::max<int64_t>(0, band.Length(d)), band.cols + 1, 1}},
                 .in_offset = at,
                 .out_offset = packed};
    if (!pack) {
      std::swap(move.in_offset, move.out_offset);
      for (MoveDim& m : move.dims) std::swap(m.in, m.out);
    }
    StridedCopy(ctx, dtype, in, out, move);
  }
}

// ----------------------------------------------------------------------------------- MatrixDiag

// The band and the output's shape for packed `diagonal`, asked for `rows` by `cols` (-1: as large
// as needed).
StatusOr<Shape> ResolveDiag(const Shape& diagonal, Band* band, int64_t rows, int64_t cols) {
  const int rank = diagonal.rank();
  const bool many = band->lower < band->upper;
  SM_CHECK_ARG(rank >= (many ? 2 : 1), "diagonal has shape ", diagonal, ", expected rank at least ",
               many ? 2 : 1);
  SM_CHECK_ARG(!many || diagonal[rank - 2] == band->count(), "diagonal has shape ", diagonal,
               ", expected ", band->count(), " diagonals for ", band->lower, " to ", band->upper);
  const int64_t length = diagonal[rank - 1];
  const int64_t min_rows = length - std::min<int64_t>(band->upper, 0);
  const int64_t min_cols = length + std::max<int64_t>(band->lower, 0);
  SM_CHECK_ARG((rows == -1 || rows >= min_rows) && (cols == -1 || cols >= min_cols), "asked for ",
               rows, " by ", cols, " elements, expected at least ", min_rows, " by ", min_cols);
  if (rows == -1 && cols == -1) {
    rows = cols = std::max(min_rows, min_cols);
  } else if (rows == -1) {
    rows = min_rows;
  } else if (cols == -1) {
    cols = min_cols;
  }
  SM_CHECK_ARG(rows == min_rows || cols == min_cols, "asked for ", rows, " by ", cols,
               " elements, expected ", min_rows, " rows or ", min_cols,
               " columns for diagonal of shape ", diagonal);
  band->rows = rows;
  band->cols = cols;
  std::vector<int64_t> dims(diagonal.begin(), diagonal.end() - (many ? 2 : 1));
  dims.insert(dims.end(), {rows, cols});
  return Shape::Make(dims);
}

Status MatrixDiagShape(ShapeContext& ctx) {
  Band band;
  int64_t rows = -1, cols = -1;
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  if (ctx.num_inputs() > 1) {
    SM_CHECK_ARG(ctx.input(1).rank() <= 1, "k has shape ", ctx.input(1),
                 ", expected a scalar or a vector");
    SM_ASSIGN_OR_RETURN(const bool rows_known, KnownScalar(ctx, 2, &rows));
    SM_ASSIGN_OR_RETURN(const bool cols_known, KnownScalar(ctx, 3, &cols));
    if (ctx.value(1) == nullptr || !rows_known || !cols_known) return Status();
    SM_RETURN_IF_ERROR(ReadDiagonals(*ctx.value(1), &band));
  }
  if (!ctx.input(0).fully_known()) return Status();
  SM_ASSIGN_OR_RETURN(Shape out, ResolveDiag(ctx.input(0), &band, rows, cols));
  ctx.set_output(0, std::move(out));
  return Status();
}

StatusOr<KernelPtr> BuildMatrixDiag(BuildContext& build) {
  Band aligned;
  SetAlign(build.attrs(), &aligned);
  return MakeKernel([aligned](OpContext& ctx) -> Status {
    Band band = aligned;
    int64_t rows = -1, cols = -1;
    const bool v1 = ctx.num_inputs() == 1;
    if (!v1) {
      SM_RETURN_IF_ERROR(ReadDiagonals(ctx.input(1), &band));
      rows = ctx.IntInput(2);
      cols = ctx.IntInput(3);
      SM_RETURN_IF_ERROR(ExpectOneElement(ctx.input(4), "padding_value"));
    }
    Tensor& out = ctx.output(0);
    SM_RETURN_IF_ERROR(ResolveDiag(ctx.input(0).shape(), &band, rows, cols).status());
    if (v1) {
      ZeroElements(out.dtype(), out.raw_mutable_data(), out.num_elements());
    } else {
      FillElements(ctx, out.dtype(), ctx.input(4).raw_data(), out.raw_mutable_data(),
                   out.num_elements());
    }
    MoveDiagonals(ctx, band, out.dtype(), ctx.input(0).raw_data(), out.raw_mutable_data(),
                  out.shape().Product(0, out.shape().rank() - 2), false);
    return Status();
  });
}

// ------------------------------------------------------------------- MatrixDiagPart, MatrixSetDiag

// Completes `band` by the matrices' shape and, for versions with k, by tensor `k`.
Status ResolveBand(const Shape& matrices, const Tensor* k, Band* band) {
  SM_CHECK_ARG(matrices.rank() >= 2, "input has shape ", matrices, ", expected rank at least 2");
  band->rows = matrices[matrices.rank() - 2];
  band->cols = matrices[matrices.rank() - 1];
  if (k != nullptr) SM_RETURN_IF_ERROR(ReadDiagonals(*k, band));
  return CheckInside(*band);
}

Status MatrixDiagPartShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 2));
  const Shape& in = ctx.input(0);
  const bool v1 = ctx.num_inputs() == 1;
  if (!in.fully_known() || (!v1 && ctx.value(1) == nullptr)) return Status();
  Band band;
  SM_RETURN_IF_ERROR(ResolveBand(in, v1 ? nullptr : ctx.value(1), &band));
  SM_ASSIGN_OR_RETURN(Shape out,
                      Shape::Make(PackedShape(in.Slice(0, in.rank() - 2), band).ToVector()));
  ctx.set_output(0, std::move(out));
  return Status();
}

StatusOr<KernelPtr> BuildMatrixDiagPart(BuildContext& build) {
  Band aligned;
  SetAlign(build.attrs(), &aligned);
  return MakeKernel([aligned](OpContext& ctx) -> Status {
    Band band = aligned;
    const bool v1 = ctx.num_inputs() == 1;
    const Shape& in = ctx.input(0).shape();
    SM_RETURN_IF_ERROR(ResolveBand(in, v1 ? nullptr : &ctx.input(1), &band));
    Tensor& out = ctx.output(0);
    if (out.num_elements() == 0) return Status();
    if (!v1) {
      SM_RETURN_IF_ERROR(ExpectOneElement(ctx.input(2), "padding_value"));
      FillElements(ctx, out.dtype(), ctx.input(2).raw_data(), out.raw_mutable_data(),
                   out.num_elements());
    }
    MoveDiagonals(ctx, band, out.dtype(), ctx.input(0).raw_data(), out.raw_mutable_data(),
                  in.Product(0, in.rank() - 2), true);
    return Status();
  });
}

Status CheckSetDiag(const Shape& in, const Shape& diagonal, const Band& band) {
  const Shape want = PackedShape(in.Slice(0, in.rank() - 2), band);
  SM_CHECK_ARG(diagonal.CompatibleWith(want), "diagonal has shape ", diagonal, ", expected ", want,
               " for input of shape ", in);
  return Status();
}

Status MatrixSetDiagShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(1, 1));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

StatusOr<KernelPtr> BuildMatrixSetDiag(BuildContext& build) {
  Band aligned;
  SetAlign(build.attrs(), &aligned);
  return MakeKernel([aligned](OpContext& ctx) -> Status {
    Band band = aligned;
    const Tensor &in = ctx.input(0), &diagonal = ctx.input(1);
    Tensor& out = ctx.output(0);
    SM_RETURN_IF_ERROR(
        ResolveBand(in.shape(), ctx.num_inputs() > 2 ? &ctx.input(2) : nullptr, &band));
    SM_RETURN_IF_ERROR(CheckSetDiag(in.shape(), diagonal.shape(), band));
    if (in.raw_data() != out.raw_data()) {
      CopyElements(in.dtype(), in.raw_data(), 0, out.raw_mutable_data(), 0, in.num_elements());
    }
    if (in.num_elements() == 0) return Status();
    MoveDiagonals(ctx, band, in.dtype(), diagonal.raw_data(), out.raw_mutable_data(),
                  in.shape().Product(0, in.shape().rank() - 2), false);
    return Status();
  });
}

// --------------------------------------------------------------------------------- MatrixBandPart

Status MatrixBandPartShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 2));
  for (int i = 1; i <= 2; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

Status MatrixBandPart(OpContext& ctx) {
  const Tensor& in = ctx.input(0);
  Tensor& out = ctx.output(0);
  const int rank = in.shape().rank();
  const int64_t rows = in.shape()[rank - 2], cols = in.shape()[rank - 1];
  const int64_t lower = ctx.IntInput(1), upper = ctx.IntInput(2);
  SM_CHECK_ARG(lower <= rows && upper <= cols, "found num_lower ", lower, " and num_upper ", upper,
               ", expected at most ", rows, " and ", cols, ", or negative numbers");
  const DType dtype = in.dtype();
  const int64_t n = in.shape().Product(0, rank - 1);
  ctx.ParallelFor(n, 2 + 0.3 * static_cast<double>(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t row = r % rows, at = r * cols;
      const int64_t from = lower < 0 ? 0 : std::clamp<int64_t>(row - lower, 0, cols);
      const int64_t to = upper < 0 ? cols : std::clamp<int64_t>(row + upper + 1, from, cols);
      if (out.raw_data() != in.raw_data()) {
        CopyElements(dtype, in.raw_data(), at + from, out.raw_mutable_data(), at + from, to - from);
      }
      ZeroElements(dtype, Element(out.raw_mutable_data(), dtype, at), from);
      ZeroElements(dtype, Element(out.raw_mutable_data(), dtype, at + to), cols - to);
    }
  });
  return Status();
}

// --------------------------------------------------------------------------------- Diag, DiagPart

Status DiagShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  SM_CHECK_ARG(2 * in.rank() <= Shape::kMaxRank, "diagonal of rank ", in.rank(),
               " has too many dimensions");
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(in.Concat(in).ToVector()));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status Diag(OpContext& ctx) {
  Tensor& out = ctx.output(0);
  const int64_t n = ctx.input(0).num_elements();
  ZeroElements(out.dtype(), out.raw_mutable_data(), out.num_elements());
  StridedCopy(ctx, out.dtype(), ctx.input(0).raw_data(), out.raw_mutable_data(),
              {.dims = {{n, 1, n + 1}}});
  return Status();
}

Status DiagPartShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  const int half_rank = in.rank() / 2;
  SM_CHECK_ARG(in.rank() > 0 && in.rank() % 2 == 0, "input has shape ", in,
               ", expected an even rank that is not 0");
  const StatusOr<Shape> out = in.Slice(0, half_rank).Merge(in.Slice(half_rank, in.rank()));
  SM_CHECK_ARG(out.ok(), "input has shape ", in, ", expected its first half to equal its second");
  ctx.set_output(0, *out);
  return Status();
}

Status DiagPart(OpContext& ctx) {
  Tensor& out = ctx.output(0);
  const int64_t n = out.num_elements();
  StridedCopy(ctx, out.dtype(), ctx.input(0).raw_data(), out.raw_mutable_data(),
              {.dims = {{n, n + 1, 1}}});
  return Status();
}

#define SM_ALIGN "align: {'LEFT_RIGHT','RIGHT_LEFT','LEFT_LEFT','RIGHT_RIGHT'} = 'RIGHT_LEFT'"
#define SM_DIAG(text) \
  { .signature = text, .shape = MatrixDiagShape, .build = BuildMatrixDiag }
#define SM_PART(text) \
  { .signature = text, .shape = MatrixDiagPartShape, .build = BuildMatrixDiagPart }
#define SM_SET(text)                                                             \
  {                                                                              \
    .signature = text, .shape = MatrixSetDiagShape, .build = BuildMatrixSetDiag, \
    .in_place = InPlace::kInput0                                                 \
  }
#define SM_BAND(text)                                                                     \
  {                                                                                       \
    .signature = text, .shape = MatrixBandPartShape, .build = BuildPlain<MatrixBandPart>, \
    .in_place = InPlace::kInput0                                                          \
  }

constexpr OpDef kOps[] = {
    SM_BAND("BatchMatrixBandPart(input: T, num_lower: int64, num_upper: int64) -> (band: T); "
            "T: type"),
    SM_DIAG("BatchMatrixDiag(diagonal: T) -> (output: T); T: type"),
    SM_PART("BatchMatrixDiagPart(input: T) -> (diagonal: T); T: type"),
    SM_SET("BatchMatrixSetDiag(input: T, diagonal: T) -> (output: T); T: type"),
    {.signature = "Diag(diagonal: T) -> (output: T); "
                  "T: {bfloat16,half,float,double,int32,int64,complex64,complex128}",
     .shape = DiagShape,
     .build = BuildPlain<Diag>},
    {.signature = "DiagPart(input: T) -> (diagonal: T); "
                  "T: {bfloat16,half,float,double,int32,int64,complex64,complex128}",
     .shape = DiagPartShape,
     .build = BuildPlain<DiagPart>},
    SM_BAND("MatrixBandPart(input: T, num_lower: Tindex, num_upper: Tindex) -> (band: T); "
            "T: type; Tindex: {int32,int64} = int64"),
    SM_DIAG("MatrixDiag(diagonal: T) -> (output: T); T: type"),
    SM_PART("MatrixDiagPart(input: T) -> (diagonal: T); T: type"),
    SM_PART("MatrixDiagPartV2(input: T, k: int32, padding_value: T) -> (diagonal: T); T: type"),
    SM_PART("MatrixDiagPartV3(input: T, k: int32, padding_value: T) -> (diagonal: T); T: "
            "type; " SM_ALIGN),
    SM_DIAG("MatrixDiagV2(diagonal: T, k: int32, num_rows: int32, num_cols: int32, "
            "padding_value: T) -> (output: T); T: type"),
    SM_DIAG("MatrixDiagV3(diagonal: T, k: int32, num_rows: int32, num_cols: int32, "
            "padding_value: T) -> (output: T); T: type; " SM_ALIGN),
    SM_SET("MatrixSetDiag(input: T, diagonal: T) -> (output: T); T: type"),
    SM_SET("MatrixSetDiagV2(input: T, diagonal: T, k: int32) -> (output: T); T: type"),
    SM_SET("MatrixSetDiagV3(input: T, diagonal: T, k: int32) -> (output: T); T: type; " SM_ALIGN),
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> DiagOps() { return kOps; }

}  // namespace savedmodel
