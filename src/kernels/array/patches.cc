// Sliding windows laid out as depth, and ops that translate data formats.
#include <algorithm>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"

namespace savedmodel {
namespace {

// ---------------------------------------------------------------------------------------- patches

// Windows over `dims` spatial dimensions of [batch, spatial..., depth].
struct Windows {
  std::vector<int64_t> size, stride, rate;
  std::string padding;

  int dims() const { return static_cast<int>(size.size()); }
};

// The attribute `name` of `rank` numbers, the first and last 1, without these two.
StatusOr<std::vector<int64_t>> SpatialAttr(const Attrs& attrs, const char* name, int rank) {
  if (!attrs.Has(name)) return std::vector<int64_t>(rank - 2, 1);
  std::vector<int64_t> values = attrs.Ints(name);
  SM_CHECK_ARG(static_cast<int>(values.size()) == rank, "attribute ", name, " is ", values,
               ", expected ", rank, " numbers");
  if (values.front() != 1 || values.back() != 1) {
    return Unimplemented("attribute ", name, " is ", values,
                         "; only windows over space can be taken, expected 1 at both ends");
  }
  for (int64_t v : values) {
    if (v <= 0 || v > INT32_MAX) {
      return OutOfRange("attribute ", name, " is ", values, ", expected numbers above 0");
    }
  }
  return std::vector<int64_t>(values.begin() + 1, values.end() - 1);
}

StatusOr<Windows> ParseWindows(const Attrs& attrs, int rank) {
  Windows windows;
  SM_ASSIGN_OR_RETURN(windows.size, SpatialAttr(attrs, "ksizes", rank));
  SM_ASSIGN_OR_RETURN(windows.stride, SpatialAttr(attrs, "strides", rank));
  SM_ASSIGN_OR_RETURN(windows.rate, SpatialAttr(attrs, "rates", rank));
  windows.padding = attrs.String("padding");
  return windows;
}

StatusOr<shape::WindowSize> PatchWindow(int64_t input, const Windows& windows, int i) {
  return shape::WindowOutput(input, windows.size[i], windows.rate[i], windows.stride[i],
                             windows.padding);
}

template <int rank>
Status PatchesShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, rank));
  SM_ASSIGN_OR_RETURN(const Windows windows, ParseWindows(ctx.attrs(), rank));
  const Shape& in = ctx.input(0);
  std::vector<int64_t> dims(rank, -1);
  if (in.known_rank()) {
    dims = in.ToVector();
    for (int i = 0; i < rank - 2; ++i) {
      if (in[i + 1] >= 0) {
        SM_ASSIGN_OR_RETURN(const auto window, PatchWindow(in[i + 1], windows, i));
        dims[i + 1] = window.output;
      }
      if (dims[rank - 1] < 0) continue;
      SM_CHECK_ARG(!__builtin_mul_overflow(dims[rank - 1], windows.size[i], &dims[rank - 1]),
                   "the patches have too many elements");
    }
  }
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

// Outputs o for which o * stride + offset lies in [0, input): [begin, end).
struct Reach {
  int64_t begin, end;
};
Reach ReachOf(int64_t input, int64_t outputs, int64_t stride, int64_t offset) {
  const auto ceil_div = [&](int64_t a) { return a <= 0 ? 0 : (a + stride - 1) / stride; };
  const int64_t begin = std::min(outputs, ceil_div(-offset));
  return {begin, std::max(begin, std::min(outputs, ceil_div(input - offset)))};
}

// One strided copy for every position in the window.
Status CopyPatches(OpContext& ctx, const Windows& windows) {
  const Tensor& in = ctx.input(0);
  Tensor& out = ctx.output(0);
  const int m = windows.dims();
  const int64_t depth = in.shape()[m + 1];
  std::vector<int64_t> before(m);
  int64_t positions = 1;
  for (int i = 0; i < m; ++i) {
    SM_ASSIGN_OR_RETURN(const auto window, PatchWindow(in.shape()[i + 1], windows, i));
    before[i] = window.before;
    positions *= windows.size[i];
  }
  ZeroElements(out.dtype(), out.raw_mutable_data(), out.num_elements());
  if (out.num_elements() == 0) return Status();
  const Strides in_strides = StridesOf(in.shape()), out_strides = StridesOf(out.shape());
  for (int64_t k = 0; k < positions; ++k) {
    Move move = {.dims = {{in.shape()[0], in_strides[0], out_strides[0]}}, .out_offset = k * depth};
    int64_t rest = k;
    for (int i = m - 1; i >= 0; --i) {
      const int64_t offset = rest % windows.size[i] * windows.rate[i] - before[i];
      rest /= windows.size[i];
      const Reach reach = ReachOf(in.shape()[i + 1], out.shape()[i + 1], windows.stride[i], offset);
      move.dims.insert(
          move.dims.begin() + 1,
          {reach.end - reach.begin, windows.stride[i] * in_strides[i + 1], out_strides[i + 1]});
      if (reach.begin == reach.end) continue;
      move.in_offset += (reach.begin * windows.stride[i] + offset) * in_strides[i + 1];
      move.out_offset += reach.begin * out_strides[i + 1];
    }
    move.dims.push_back({depth, 1, 1});
    StridedCopy(ctx, in.dtype(), in.raw_data(), out.raw_mutable_data(), move);
  }
  return Status();
}

template <int rank>
StatusOr<KernelPtr> BuildPatches(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(Windows windows, ParseWindows(build.attrs(), rank));
  return MakeKernel(
      [windows = std::move(windows)](OpContext& ctx) { return CopyPatches(ctx, windows); });
}

// ----------------------------------------------------------------------------------- data formats

// source[i]: where in `src_format` the i-th letter of `dst_format` is.
StatusOr<std::vector<int>> FormatPermutation(const Attrs& attrs) {
  const std::string &src = attrs.String("src_format"), &dst = attrs.String("dst_format");
  SM_CHECK_ARG(src.size() == dst.size() && (src.size() == 4 || src.size() == 5), "src_format is ",
               src, " and dst_format ", dst, ", expected 4 or 5 letters each");
  std::vector<int> source;
  for (char letter : dst) {
    const size_t at = src.find(letter);
    SM_CHECK_ARG(at != std::string::npos && std::count(dst.begin(), dst.end(), letter) == 1,
                 "src_format is ", src, " and dst_format ", dst, ", expected the same letters");
    source.push_back(static_cast<int>(at));
  }
  return source;
}

StatusOr<KernelPtr> BuildDimMap(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const std::vector<int> source, FormatPermutation(build.attrs()));
  std::vector<int> target(source.size());
  for (size_t i = 0; i < source.size(); ++i) target[source[i]] = static_cast<int>(i);
  return MakeKernel([target](OpContext& ctx) {
    const IntReader x(ctx.input(0));
    const int64_t n = static_cast<int64_t>(target.size());
    for (int64_t i = 0; i < ctx.input(0).num_elements(); ++i) {
      StoreInt(ctx.output(0), i, target[(x[i] % n + n) % n]);
    }
    return Status();
  });
}

// `x` is a vector of an element for each dimension or each dimension of space, or such a matrix
// with two columns.
Status VecPermuteShape(ShapeContext& ctx) {
  const Shape& x = ctx.input(0);
  const int64_t full = static_cast<int64_t>(ctx.attrs().String("src_format").size());
  SM_CHECK_ARG(!x.known_rank() || x.rank() == 1 || x.rank() == 2, "x has shape ", x,
               ", expected a vector or a matrix");
  SM_CHECK_ARG(!x.known_rank() || x[0] == -1 || x[0] == full || x[0] == full - 2, "x has shape ", x,
               ", expected ", full, " or ", full - 2, " rows");
  SM_CHECK_ARG(x.rank() != 2 || x[1] == -1 || x[1] == 2, "x has shape ", x, ", expected 2 columns");
  ctx.set_output(0, x);
  return Status();
}

StatusOr<KernelPtr> BuildVecPermute(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const std::vector<int> source, FormatPermutation(build.attrs()));
  // The permutation of the dimensions of space alone.
  const std::string& src = build.attrs().String("src_format");
  std::vector<int> spatial;
  for (int s : source) {
    if (src[s] == 'N' || src[s] == 'C') continue;
    int at = s;
    for (int i = 0; i < s; ++i) at -= src[i] == 'N' || src[i] == 'C';
    spatial.push_back(at);
  }
  return MakeKernel([source, spatial](OpContext& ctx) -> Status {
    const Tensor& x = ctx.input(0);
    const std::vector<int>& rows =
        x.shape()[0] == static_cast<int64_t>(source.size()) ? source : spatial;
    SM_CHECK_ARG(static_cast<int64_t>(rows.size()) == x.shape()[0], "x has shape ", x.shape(),
                 ", expected ", rows.size(), " rows");
    const int64_t inner = x.shape().Product(1, x.shape().rank());
    for (size_t i = 0; i < rows.size(); ++i) {
      CopyElements(x.dtype(), x.raw_data(), rows[i] * inner, ctx.output(0).raw_mutable_data(),
                   static_cast<int64_t>(i) * inner, inner);
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "DataFormatDimMap(x: T) -> (y: T); T: {int32,int64} = int32; "
                  "src_format: string = 'NHWC'; dst_format: string = 'NCHW'",
     .shape = shape::SameAsInput0,
     .build = BuildDimMap},
    {.signature = "DataFormatVecPermute(x: T) -> (y: T); T: {int32,int64} = int32; "
                  "src_format: string = 'NHWC'; dst_format: string = 'NCHW'",
     .shape = VecPermuteShape,
     .build = BuildVecPermute},
    {.signature = "ExtractImagePatches(images: T) -> (patches: T); ksizes: list(int) >= 4; "
                  "strides: list(int) >= 4; rates: list(int) >= 4; T: {bfloat16,half,float,double,"
                  "int8,int16,int32,int64,uint8,uint16,uint32,uint64,complex64,complex128,bool}; "
                  "padding: {'SAME','VALID'}",
     .shape = PatchesShape<4>,
     .build = BuildPatches<4>},
    {.signature = "ExtractVolumePatches(input: T) -> (patches: T); ksizes: list(int) >= 5; "
                  "strides: list(int) >= 5; T: {float,double,int32,uint8,int16,int8,int64,"
                  "bfloat16,uint16,half,uint32,uint64}; padding: {'SAME','VALID'}",
     .shape = PatchesShape<5>,
     .build = BuildPatches<5>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> PatchesOps() { return kOps; }

}  // namespace savedmodel
