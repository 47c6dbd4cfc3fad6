// Buckets, histograms and counts.
#include <algorithm>
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

inline constexpr DTypeSet kCountTypes = kFloatDouble | kInt32Or64;

StatusOr<KernelPtr> BuildBucketize(BuildContext& build) {
  std::vector<float> boundaries = build.attrs().Get<std::vector<float>>("boundaries");
  SM_CHECK_ARG(std::is_sorted(boundaries.begin(), boundaries.end()), "Expected sorted boundaries");
  return MakeKernel([boundaries = std::move(boundaries)](OpContext& ctx) {
    return VisitDType<kCountTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* x = ctx.in<T>(0);
      int32_t* y = ctx.out<int32_t>(0);
      ctx.ParallelFor(ctx.input(0).num_elements(), 10, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const auto past = std::upper_bound(boundaries.begin(), boundaries.end(), x[i]);
          y[i] = static_cast<int32_t>(past - boundaries.begin());
        }
      });
      return Status();
    });
  });
}

Status HistogramShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  const Shape& range = ctx.input(1);
  SM_CHECK_ARG(!range.fully_known() || range[0] == 2,
               "value_range should be a vector of 2 elements, found shape ", range);
  int64_t bins;
  if (!ctx.IntValue(2, &bins)) {
    ctx.set_output(0, Shape::UnknownOfRank(1));
    return Status();
  }
  SM_CHECK_ARG(bins > 0, "nbins should be a positive number, but got '", bins, "'");
  ctx.set_output(0, Shape({bins}));
  return Status();
}

// Values outside the range count in the first or last bin.
template <class T, class Count>
Status CountHistogram(OpContext& ctx) {
  const Span<const T> values = ctx.input(0).values<T>();
  const T low = ctx.in<T>(1)[0], high = ctx.in<T>(1)[1];
  SM_CHECK_ARG(low < high, "value_range should satisfy value_range[0] < value_range[1], but got '[",
               low, ", ", high, "]'");
  Count* bins = ctx.out<Count>(0);
  const int64_t num_bins = ctx.output(0).num_elements();
  std::fill_n(bins, num_bins, Count(0));
  const double step = (static_cast<double>(high) - static_cast<double>(low)) / num_bins;
  const auto last = static_cast<double>(num_bins - 1);
  constexpr size_t kBlock = 256;
  int32_t at[kBlock];
  T clamped[kBlock];
  for (size_t first = 0; first < values.size(); first += kBlock) {
    const size_t n = std::min(kBlock, values.size() - first);
    int32_t nans = 0;
    for (size_t i = 0; i < n; ++i) {
      const T value = values[first + i], above = value > low ? value : low;
      clamped[i] = above < high ? above : high;
      nans |= value != value ? 1 : 0;
    }
    SM_CHECK_ARG(nans == 0, "Histogram values must not contain NaN");
    for (size_t i = 0; i < n; ++i) {
      const double position = (static_cast<double>(clamped[i]) - static_cast<double>(low)) / step;
      // Not a number, if the range is infinite.
      at[i] = static_cast<int32_t>(position < last ? position : last);
    }
    for (size_t i = 0; i < n; ++i) ++bins[at[i]];
  }
  return Status();
}

Status RunHistogram(OpContext& ctx) {
  return VisitDType<kCountTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    return ctx.output_dtype(0) == DType::kInt32 ? CountHistogram<T, int32_t>(ctx)
                                                : CountHistogram<T, int64_t>(ctx);
  });
}

// Weights of shape [0] mean that every weight is 1.
Status CheckWeights(const Shape& values, const Shape& weights, bool same_shape) {
  if (!values.fully_known() || !weights.fully_known() || weights.num_elements() == 0) {
    return Status();
  }
  SM_CHECK_ARG(same_shape ? values == weights : values.num_elements() == weights.num_elements(),
               "found weights of shape ", weights, " for values of shape ", values,
               ", expected the same shape or no weights");
  return Status();
}

Status BincountShape(ShapeContext& ctx) {
  const bool dense = ctx.attrs().Has("binary_output");
  const Shape& values = ctx.input(0);
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  SM_RETURN_IF_ERROR(CheckWeights(values, ctx.input(2), dense));
  int64_t size;
  if (dense) {
    if (!values.known_rank()) return Status();
    SM_CHECK_ARG(values.rank() <= 2, "found input of shape ", values, ", expected rank <= 2");
  }
  const bool known = ctx.IntValue(1, &size);
  if (known) SM_CHECK_ARG(size >= 0, "size (", size, ") must be non-negative");
  const Shape bins({known ? size : -1});
  ctx.set_output(0, dense && values.rank() == 2 ? values.Slice(0, 1).Concat(bins) : bins);
  return Status();
}

// Counts `values` of each of `rows` into `size` bins; values of `size` and more are left out.
template <class Index, class T>
Status CountRows(OpContext& ctx, int64_t rows, bool binary) {
  const Span<const Index> values = ctx.input(0).values<Index>();
  const T* weights = ctx.input(2).num_elements() == 0 ? nullptr : ctx.in<T>(2);
  T* bins = ctx.out<T>(0);
  const int64_t size = ctx.IntInput(1);
  std::fill_n(bins, ctx.output(0).num_elements(), T(0));
  Index signs = 0;
  for (const Index value : values) signs |= value;
  for (size_t i = 0; signs < 0; ++i) {
    SM_CHECK_ARG(values[i] >= 0,
                 "Input must be non-negative! Negative input value found: ", values[i]);
  }
  const int64_t columns = rows == 0 ? 0 : static_cast<int64_t>(values.size()) / rows;
  const auto count = [&](auto&& add) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = row * columns; i < (row + 1) * columns; ++i) {
        if (values[i] < size) add(&bins[row * size + values[i]], i);
      }
    }
  };
  if (binary) {
    count([](T* bin, int64_t) { *bin = T(1); });
  } else if (weights == nullptr) {
    count([](T* bin, int64_t) { *bin = WrapAdd(*bin, T(1)); });
  } else {
    count([&](T* bin, int64_t i) { *bin = WrapAdd(*bin, weights[i]); });
  }
  return Status();
}

StatusOr<KernelPtr> BuildBincount(BuildContext& build) {
  const bool dense = build.op_name() == "DenseBincount";
  const bool binary = dense && build.attrs().Bool("binary_output");
  return MakeKernel([dense, binary](OpContext& ctx) {
    const Shape& values = ctx.input(0).shape();
    const int64_t rows = dense && values.rank() == 2 ? values[0] : 1;
    return VisitDType<kCountTypes>(ctx.output_dtype(0), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      return ctx.input(0).dtype() == DType::kInt32 ? CountRows<int32_t, T>(ctx, rows, binary)
                                                   : CountRows<int64_t, T>(ctx, rows, binary);
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "Bincount(arr: int32, size: int32, weights: T) -> (bins: T); T: {int32,int64,float,"
         "double}",
     .shape = BincountShape,
     .build = BuildBincount},
    {.signature =
         "Bucketize(input: T) -> (output: int32); T: {int32,int64,float,double}; boundaries: "
         "list(float)",
     .shape = shape::SameAsInput0,
     .build = BuildBucketize},
    {.signature = "DenseBincount(input: Tidx, size: Tidx, weights: T) -> (output: T); Tidx: {int32,"
                  "int64}; T: {int32,int64,float,double}; binary_output: bool = false",
     .shape = BincountShape,
     .build = BuildBincount},
    {.signature =
         "HistogramFixedWidth(values: T, value_range: T, nbins: int32) -> (out: dtype); T: "
         "{int32,int64,float,double}; dtype: {int32,int64} = int32",
     .shape = HistogramShape,
     .build = BuildPlain<RunHistogram>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CountingOps() { return kOps; }

}  // namespace savedmodel
