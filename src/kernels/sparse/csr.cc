// Sparse matrices in variants: batches of matrices kept by rows, and products with them.
#include <algorithm>
#include <map>
#include <tuple>

#include "savedmodel/resource.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

constexpr DTypeSet kTypes = kFloatDouble | kComplexes;

// A batch of matrices, or one where the shape has two dimensions. Entries of matrix b lie at
// [batch_starts[b], batch_starts[b + 1]), sorted by row and column.
class CsrMatrix final : public VariantValue {
 public:
  std::string_view kind() const override { return "CSR sparse matrix"; }

  Shape shape;
  std::vector<int64_t> batch_starts;
  std::vector<int32_t> row_starts;  // per matrix rows + 1, counted from its own first entry
  std::vector<int32_t> columns;
  Tensor values;

  int64_t batches() const { return static_cast<int64_t>(batch_starts.size()) - 1; }
  int64_t rows() const { return shape.dim(shape.rank() - 2); }
  int64_t width() const { return shape.dim(shape.rank() - 1); }
  const int32_t* rows_of(int64_t batch) const { return row_starts.data() + batch * (rows() + 1); }
};

StatusOr<const CsrMatrix*> ReadMatrix(OpContext& ctx, int input, DType dtype) {
  SM_CHECK_ARG(ctx.input(input).num_elements() == 1, "sparse matrix: found variant of shape ",
               ctx.input(input).shape(), ", expected a scalar");
  const auto* matrix = dynamic_cast<const CsrMatrix*>(ctx.in<VariantRef>(input)[0].get());
  SM_CHECK_ARG(matrix != nullptr, "input ", input, " does not hold a CSR sparse matrix");
  SM_CHECK_ARG(dtype == DType::kInvalid || matrix->values.dtype() == dtype,
               "sparse matrix: found dtype ", matrix->values.dtype(), ", expected ", dtype);
  return matrix;
}

// One entry while a matrix is put together.
template <class T>
struct Entry {
  int64_t batch, row, column;
  T value;
};

StatusOr<Shape> MatrixShape(const std::vector<int64_t>& dims) {
  SM_CHECK_ARG(dims.size() == 2 || dims.size() == 3, "found shape ", dims,
               ", expected a matrix or a batch of them");
  SM_ASSIGN_OR_RETURN(Shape shape, ShapeFromDims(dims));
  SM_CHECK_ARG(shape.dim(shape.rank() - 1) <= INT32_MAX && shape.dim(shape.rank() - 2) < INT32_MAX,
               "found shape ", shape, ", larger than int32 indices reach");
  return shape;
}

// A matrix of `entries`, which are in order and in bounds.
template <class T>
StatusOr<VariantRef> MakeMatrix(OpContext& ctx, const Shape& shape,
                                const std::vector<Entry<T>>& entries) {
  SM_CHECK_ARG(entries.size() <= INT32_MAX, "found ", entries.size(),
               " entries, more than int32 indices reach");
  auto out = std::make_shared<CsrMatrix>();
  out->shape = shape;
  const int64_t batches = shape.rank() == 3 ? shape.dim(0) : 1, rows = out->rows();
  int64_t pointers = 0;
  SM_CHECK_ARG(!__builtin_mul_overflow(batches, rows + 1, &pointers), "found shape ", shape,
               ", too large");
  // Asks the budget first: a shape alone can ask for any number of row pointers.
  SM_RETURN_IF_ERROR(ctx.AllocateTemp(DType::kInt64, {pointers}).status());
  out->batch_starts.assign(static_cast<size_t>(batches) + 1, 0);
  out->row_starts.assign(static_cast<size_t>(pointers), 0);
  const int64_t n = static_cast<int64_t>(entries.size());
  SM_ASSIGN_OR_RETURN(out->values, Tensor::Allocate(DTypeOf<T>::value, {n}, ctx.run().budget));
  T* values = out->values.template mutable_data<T>();
  for (const Entry<T>& entry : entries) {
    ++out->batch_starts[static_cast<size_t>(entry.batch) + 1];
    ++out->row_starts[static_cast<size_t>(entry.batch * (rows + 1) + entry.row + 1)];
    out->columns.push_back(static_cast<int32_t>(entry.column));
    *values++ = entry.value;
  }
  for (int64_t b = 0; b < batches; ++b) {
    out->batch_starts[static_cast<size_t>(b) + 1] += out->batch_starts[static_cast<size_t>(b)];
    int32_t* starts = out->row_starts.data() + b * (rows + 1);
    for (int64_t r = 0; r < rows; ++r) starts[r + 1] += starts[r];
  }
  return VariantRef(std::move(out));
}

// Calls `fn(batch, row, column, value)` for each entry in order.
template <class T, class Fn>
void ForEachEntry(const CsrMatrix& m, Fn fn) {
  const T* values = m.values.data<T>();
  for (int64_t b = 0; b < m.batches(); ++b) {
    const int64_t first = m.batch_starts[static_cast<size_t>(b)];
    for (int64_t r = 0; r < m.rows(); ++r) {
      for (int64_t k = first + m.rows_of(b)[r]; k < first + m.rows_of(b)[r + 1]; ++k) {
        fn(b, r, static_cast<int64_t>(m.columns[static_cast<size_t>(k)]), values[k]);
      }
    }
  }
}

template <class T>
void SortEntries(std::vector<Entry<T>>* entries) {
  std::stable_sort(entries->begin(), entries->end(), [](const Entry<T>& a, const Entry<T>& b) {
    return std::tie(a.batch, a.row, a.column) < std::tie(b.batch, b.row, b.column);
  });
}

Status EmitMatrix(OpContext& ctx, StatusOr<VariantRef> matrix) {
  SM_RETURN_IF_ERROR(matrix.status());
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, Shape()));
  ctx.out<VariantRef>(0)[0] = std::move(matrix).value();
  return Status();
}

// -------------------------------------------------------------------------------- conversions

Status FromSparse(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 0));
  SM_ASSIGN_OR_RETURN(const Shape shape, MatrixShape(in.dims));
  SM_RETURN_IF_ERROR(in.CheckBounds());
  return VisitDType<kTypes>(ctx.input(1).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    std::vector<Entry<T>> entries;
    for (int64_t i = 0; i < in.count; ++i) {
      const int64_t* at = in.index(i) + (in.rank() - 2);
      entries.push_back({in.rank() == 3 ? in.index(i)[0] : 0, at[0], at[1], ctx.in<T>(1)[i]});
    }
    SortEntries(&entries);
    return EmitMatrix(ctx, MakeMatrix(ctx, shape, entries));
  });
}

// The elements of a dense matrix at given indices.
Status FromDense(OpContext& ctx) {
  const Shape& dense = ctx.input(0).shape();
  SM_ASSIGN_OR_RETURN(const Shape shape, MatrixShape(dense.ToVector()));
  const Shape& indices = ctx.input(1).shape();
  SM_CHECK_ARG(indices.rank() == 2 && indices.dim(1) == shape.rank(), "indices: found shape ",
               indices, ", expected [n,", shape.rank(), "]");
  return VisitDType<kTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    std::vector<Entry<T>> entries;
    const int64_t* at = ctx.in<int64_t>(1);
    for (int64_t i = 0; i < indices.dim(0); ++i, at += shape.rank()) {
      int64_t flat = 0;
      for (int d = 0; d < shape.rank(); ++d) {
        SM_CHECK_ARG(at[d] >= 0 && at[d] < shape.dim(d), "indices[", i, "]: found ", at[d],
                     " in dimension ", d, ", out of bounds of shape ", shape);
        flat = flat * shape.dim(d) + at[d];
      }
      const int64_t* last = at + shape.rank() - 2;
      entries.push_back({shape.rank() == 3 ? at[0] : 0, last[0], last[1], ctx.in<T>(0)[flat]});
    }
    SortEntries(&entries);
    return EmitMatrix(ctx, MakeMatrix(ctx, shape, entries));
  });
}

Status ToSparse(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const CsrMatrix* m, ReadMatrix(ctx, 0, ctx.output_dtype(1)));
  const int rank = m->shape.rank();
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {m->values.num_elements(), rank}));
  int64_t* out = ctx.out<int64_t>(0);
  SM_RETURN_IF_ERROR(VisitDType<kTypes>(m->values.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    ForEachEntry<T>(*m, [&](int64_t b, int64_t r, int64_t c, const T&) {
      if (rank == 3) *out++ = b;
      *out++ = r;
      *out++ = c;
    });
    return Status();
  }));
  ctx.set_output(1, m->values);
  return EmitInts(ctx, 2, m->shape.ToVector());
}

Status ToDense(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const CsrMatrix* m, ReadMatrix(ctx, 0, ctx.output_dtype(0)));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, m->shape));
  return VisitDType<kTypes>(m->values.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = ctx.out<T>(0);
    std::fill_n(out, m->shape.num_elements(), T(0));
    ForEachEntry<T>(*m, [&](int64_t b, int64_t r, int64_t c, const T& value) {
      out[(b * m->rows() + r) * m->width() + c] = value;
    });
    return Status();
  });
}

Status Components(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const CsrMatrix* m, ReadMatrix(ctx, 0, ctx.output_dtype(2)));
  const int64_t batch = ctx.IntInput(1);
  SM_CHECK_ARG(batch >= 0 && batch < m->batches(), "index (", batch, ") not in [0, ", m->batches(),
               ")");
  const int64_t begin = m->batch_starts[static_cast<size_t>(batch)];
  const int64_t end = m->batch_starts[static_cast<size_t>(batch) + 1];
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {m->rows() + 1}));
  std::copy_n(m->rows_of(batch), m->rows() + 1, ctx.out<int32_t>(0));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {end - begin}));
  std::copy(m->columns.begin() + begin, m->columns.begin() + end, ctx.out<int32_t>(1));
  ctx.set_output(2, m->values.Rows(begin, end));
  return Status();
}

Status CountEntries(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const CsrMatrix* m, ReadMatrix(ctx, 0, DType::kInvalid));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, m->shape.rank() == 3 ? Shape({m->batches()}) : Shape()));
  for (int64_t b = 0; b < m->batches(); ++b) {
    ctx.out<int32_t>(0)[b] = static_cast<int32_t>(m->batch_starts[static_cast<size_t>(b) + 1] -
                                                  m->batch_starts[static_cast<size_t>(b)]);
  }
  return Status();
}

// ----------------------------------------------------------------------- transposes and products

template <class T>
T MaybeConjugate(const T& x, bool conjugate) {
  if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
    return conjugate ? std::conj(x) : x;
  } else {
    return x;
  }
}

StatusOr<KernelPtr> BuildTranspose(BuildContext& build) {
  return MakeKernel([dtype = build.attrs().Type("type"),
                     conjugate = build.attrs().Bool("conjugate")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const CsrMatrix* m, ReadMatrix(ctx, 0, dtype));
    std::vector<int64_t> dims = m->shape.ToVector();
    std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
    SM_ASSIGN_OR_RETURN(const Shape shape, MatrixShape(dims));
    return VisitDType<kTypes>(dtype, [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      std::vector<Entry<T>> entries;
      ForEachEntry<T>(*m, [&](int64_t b, int64_t r, int64_t c, const T& value) {
        entries.push_back({b, c, r, MaybeConjugate(value, conjugate)});
      });
      SortEntries(&entries);
      return EmitMatrix(ctx, MakeMatrix(ctx, shape, entries));
    });
  });
}

struct ProductSpec {
  bool transpose_a = false, adjoint_a = false, transpose_b = false, adjoint_b = false;
  bool transpose_output = false, conjugate_output = false;

  bool swap_a() const { return transpose_a || adjoint_a; }
  bool swap_b() const { return transpose_b || adjoint_b; }
};

StatusOr<ProductSpec> ParseProduct(const Attrs& attrs) {
  const ProductSpec spec{attrs.Bool("transpose_a"),      attrs.Bool("adjoint_a"),
                         attrs.Bool("transpose_b"),      attrs.Bool("adjoint_b"),
                         attrs.Bool("transpose_output"), attrs.Bool("conjugate_output")};
  SM_CHECK_ARG(!(spec.transpose_a && spec.adjoint_a) && !(spec.transpose_b && spec.adjoint_b),
               "Only one of adjoint and transpose may be true, for each of a and b");
  return spec;
}

// Sparse times dense.
template <class T>
Status MultiplyDense(OpContext& ctx, const ProductSpec& spec, const CsrMatrix& a) {
  const Shape& b = ctx.input(1).shape();
  SM_CHECK_ARG(b.rank() == a.shape.rank() && (b.rank() == 2 || b.dim(0) == a.batches()),
               "found a of shape ", a.shape, " and b of shape ", b, ", expected equal batches");
  const int64_t b_rows = b.dim(b.rank() - 2), b_columns = b.dim(b.rank() - 1);
  const int64_t rows = spec.swap_a() ? a.width() : a.rows();
  const int64_t depth = spec.swap_a() ? a.rows() : a.width();
  const int64_t columns = spec.swap_b() ? b_rows : b_columns;
  SM_CHECK_ARG(depth == (spec.swap_b() ? b_columns : b_rows),
               "Inner product dimensions of A and B do not agree.  Shapes are: ", a.shape, " vs. ",
               b);
  std::vector<int64_t> dims = {spec.transpose_output ? columns : rows,
                               spec.transpose_output ? rows : columns};
  if (b.rank() == 3) dims.insert(dims.begin(), b.dim(0));
  SM_ASSIGN_OR_RETURN(const Shape shape, ShapeFromDims(dims));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, shape));
  T* out = ctx.out<T>(0);
  std::fill_n(out, shape.num_elements(), T(0));
  const int64_t row_step = spec.transpose_output ? 1 : columns;
  const int64_t column_step = spec.transpose_output ? rows : 1;
  const int64_t k_step = spec.swap_b() ? 1 : b_columns, j_step = spec.swap_b() ? b_columns : 1;
  ForEachEntry<T>(a, [&](int64_t batch, int64_t r, int64_t c, const T& value) {
    const T factor = MaybeConjugate(value, spec.adjoint_a);
    const int64_t m = spec.swap_a() ? c : r, k = spec.swap_a() ? r : c;
    const T* from = ctx.in<T>(1) + batch * b_rows * b_columns + k * k_step;
    T* to = out + batch * rows * columns + m * row_step;
    for (int64_t j = 0; j < columns; ++j) {
      to[j * column_step] += factor * MaybeConjugate(from[j * j_step], spec.adjoint_b);
    }
  });
  if (spec.conjugate_output) {
    for (int64_t i = 0; i < shape.num_elements(); ++i) out[i] = MaybeConjugate(out[i], true);
  }
  return Status();
}

StatusOr<KernelPtr> BuildMatMul(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ProductSpec spec, ParseProduct(build.attrs()));
  return MakeKernel([spec](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const CsrMatrix* a, ReadMatrix(ctx, 0, ctx.input(1).dtype()));
    return VisitDType<kTypes>(ctx.input(1).dtype(), [&](auto tag) -> Status {
      return MultiplyDense<typename decltype(tag)::type>(ctx, spec, *a);
    });
  });
}

// Sparse times sparse: rows of b by (batch, row), then one row of the product after the other.
template <class T>
Status MultiplySparse(OpContext& ctx, const ProductSpec& spec, const CsrMatrix& a,
                      const CsrMatrix& b) {
  const int64_t rows = spec.swap_a() ? a.width() : a.rows();
  const int64_t depth = spec.swap_a() ? a.rows() : a.width();
  const int64_t b_depth = spec.swap_b() ? b.width() : b.rows();
  const int64_t columns = spec.swap_b() ? b.rows() : b.width();
  SM_CHECK_ARG(a.shape.rank() == b.shape.rank() && a.batches() == b.batches() && depth == b_depth,
               "Inner product dimensions of A and B do not agree.  Shapes are: ", a.shape, " vs. ",
               b.shape);
  using Key = std::pair<int64_t, int64_t>;
  std::map<Key, std::vector<std::pair<int64_t, T>>> b_rows;
  ForEachEntry<T>(b, [&](int64_t batch, int64_t r, int64_t c, const T& value) {
    const T factor = MaybeConjugate(value, spec.adjoint_b);
    b_rows[{batch, spec.swap_b() ? c : r}].emplace_back(spec.swap_b() ? r : c, factor);
  });
  std::map<std::tuple<int64_t, int64_t, int64_t>, T> product;
  ForEachEntry<T>(a, [&](int64_t batch, int64_t r, int64_t c, const T& value) {
    const T factor = MaybeConjugate(value, spec.adjoint_a);
    const auto it = b_rows.find({batch, spec.swap_a() ? r : c});
    if (it == b_rows.end()) return;
    for (const auto& [column, b_value] : it->second) {
      product[{batch, spec.swap_a() ? c : r, column}] += factor * b_value;
    }
  });
  std::vector<Entry<T>> entries;
  for (const auto& [at, value] : product) {
    entries.push_back({std::get<0>(at), std::get<1>(at), std::get<2>(at), value});
  }
  std::vector<int64_t> dims = {rows, columns};
  if (a.shape.rank() == 3) dims.insert(dims.begin(), a.batches());
  SM_ASSIGN_OR_RETURN(const Shape shape, MatrixShape(dims));
  return EmitMatrix(ctx, MakeMatrix(ctx, shape, entries));
}

StatusOr<KernelPtr> BuildSparseMatMul(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ProductSpec spec, ParseProduct(build.attrs()));
  return MakeKernel([spec, dtype = build.attrs().Type("type")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const CsrMatrix* a, ReadMatrix(ctx, 0, dtype));
    SM_ASSIGN_OR_RETURN(const CsrMatrix* b, ReadMatrix(ctx, 1, dtype));
    return VisitDType<kTypes>(dtype, [&](auto tag) -> Status {
      return MultiplySparse<typename decltype(tag)::type>(ctx, spec, *a, *b);
    });
  });
}

#define SM_CSR_TYPES "{float,double,complex64,complex128}"

constexpr OpDef kOps[] = {
    {.signature = "CSRSparseMatrixComponents(csr_sparse_matrix: variant, index: int32) -> "
                  "(row_ptrs: int32, col_inds: int32, values: type); type: " SM_CSR_TYPES,
     .shape = shape::Unknown,
     .build = BuildPlain<Components>},
    {.signature = "CSRSparseMatrixToDense(sparse_input: variant) -> (dense_output: type); "
                  "type: " SM_CSR_TYPES,
     .shape = shape::Unknown,
     .build = BuildPlain<ToDense>},
    {.signature = "CSRSparseMatrixToSparseTensor(sparse_matrix: variant) -> (indices: int64, "
                  "values: type, dense_shape: int64); type: " SM_CSR_TYPES,
     .shape = shape::Unknown,
     .build = BuildPlain<ToSparse>},
    {.signature = "DenseToCSRSparseMatrix(dense_input: T, indices: int64) -> "
                  "(sparse_output: variant); T: " SM_CSR_TYPES,
     .shape = shape::Unknown,
     .build = BuildPlain<FromDense>},
    {.signature = "SparseMatrixMatMul(a: variant, b: T) -> (output: T); T: type; "
                  "transpose_a: bool = false; transpose_b: bool = false; "
                  "adjoint_a: bool = false; adjoint_b: bool = false; "
                  "transpose_output: bool = false; conjugate_output: bool = false",
     .shape = shape::Unknown,
     .build = BuildMatMul},
    {.signature = "SparseMatrixNNZ(sparse_matrix: variant) -> (nnz: int32)",
     .shape = shape::Unknown,
     .build = BuildPlain<CountEntries>},
    {.signature = "SparseMatrixSparseMatMul(a: variant, b: variant) -> (c: variant); "
                  "type: " SM_CSR_TYPES "; transpose_a: bool = false; transpose_b: bool = false; "
                  "adjoint_a: bool = false; adjoint_b: bool = false",
     .shape = shape::Unknown,
     .build = BuildSparseMatMul},
    {.signature = "SparseMatrixTranspose(input: variant) -> (output: variant); "
                  "conjugate: bool = false; type: " SM_CSR_TYPES,
     .shape = shape::Unknown,
     .build = BuildTranspose},
    {.signature = "SparseTensorToCSRSparseMatrix(indices: int64, values: T, dense_shape: int64) "
                  "-> (sparse_matrix: variant); T: " SM_CSR_TYPES,
     .shape = CooInputShape,
     .build = BuildPlain<FromSparse>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CsrOps() { return kOps; }

}  // namespace savedmodel
