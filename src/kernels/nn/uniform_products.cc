// Matrix products and convolutions of uniformly quantised values, of any number of dimensions in
// any order. Hybrid ones quantise each image of a float operand as they find it.
#include <numeric>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/uniform.h"
#include "src/kernels/nn/uniform_geometry.h"

namespace savedmodel {
namespace {

// ------------------------------------------------------------------------------------ computation

// One tap of the window: where it reads lhs (-1: what lies around it) and rhs.
struct Tap {
  int64_t lhs, rhs;
};

// The taps over the output position with indices `at`.
void FindTaps(const UniformProduct& p, const std::vector<int64_t>& at, std::vector<Tap>* taps) {
  taps->assign(1, {0, 0});
  std::vector<Tap> outer;
  for (size_t i = 0; i < p.spatial.size(); ++i) {
    const UniformSpatial& s = p.spatial[i];
    outer.swap(*taps);
    taps->clear();
    for (const Tap& tap : outer) {
      for (int64_t w = 0; w < s.window; ++w) {
        const int64_t position = at[i] * s.step + w * s.window_dilation - s.before;
        const bool inside = tap.lhs >= 0 && position >= 0 && position % s.in_dilation == 0 &&
                            position / s.in_dilation < s.in;
        taps->push_back({inside ? tap.lhs + position / s.in_dilation * s.in_stride : -1,
                         tap.rhs + w * s.window_stride});
      }
    }
  }
}

// The integers of lhs, and the zero point of each image, or the one of all.
struct Lhs {
  const int8_t* data = nullptr;
  const int32_t* zero = nullptr;
  bool zero_each = false;
};

// Calls store(output element, sum, image of lhs, output channel) for all elements.
void RunProduct(const OpContext& ctx, const UniformProduct& p, const Lhs& lhs, const int8_t* rhs,
                const UniformScales& rhs_scales,
                FunctionRef<void(int64_t, int32_t, int64_t, int64_t)> store) {
  if (p.out.num_elements() == 0) return;
  const int64_t positions = p.positions();
  const int64_t by_feature = p.channels / p.feature_groups, by_batch = p.channels / p.batch_groups;
  // Output channels that read the same part of lhs.
  const int64_t run = std::gcd(by_feature, by_batch);
  const auto compute = [&](int64_t begin, int64_t end) {
    std::vector<Tap> taps;
    std::vector<int64_t> at(p.spatial.size());
    std::vector<uint32_t> sums(run);
    for (int64_t item = begin; item < end; ++item) {
      int64_t rest = item % positions, out = item / positions * p.out_batch;
      for (size_t i = at.size(); i-- > 0;) {
        at[i] = rest % p.spatial[i].out;
        rest /= p.spatial[i].out;
        out += at[i] * p.spatial[i].out_stride;
      }
      FindTaps(p, at, &taps);
      for (int64_t first = 0; first < p.channels; first += run) {
        const int64_t image = first / by_batch * p.batch + item / positions;
        const int8_t* x =
            lhs.data + image * p.lhs_batch + first / by_feature * p.depth * p.lhs_feature;
        const uint32_t zero = static_cast<uint32_t>(lhs.zero[lhs.zero_each ? image : 0]);
        const uint32_t around = static_cast<uint32_t>(static_cast<int8_t>(zero)) - zero;
        std::fill(sums.begin(), sums.end(), 0u);
        uint32_t total = 0;
        for (const Tap& tap : taps) {
          for (int64_t k = 0; k < p.depth; ++k) {
            const uint32_t value =
                tap.lhs < 0 ? around : static_cast<uint32_t>(x[tap.lhs + k * p.lhs_feature]) - zero;
            if (value == 0) continue;
            total += value;
            const int8_t* row = rhs + tap.rhs + k * p.rhs_in + first * p.rhs_out;
            for (int64_t c = 0; c < run; ++c) {
              sums[c] += value * static_cast<uint32_t>(row[c * p.rhs_out]);
            }
          }
        }
        for (int64_t c = 0; c < run; ++c) {
          const uint32_t off = total * static_cast<uint32_t>(rhs_scales.zero_at(first + c));
          store(out + (first + c) * p.out_feature, static_cast<int32_t>(sums[c] - off), image,
                first + c);
        }
      }
    }
  };
  double cost = static_cast<double>(p.depth) * static_cast<double>(p.channels);
  for (const UniformSpatial& s : p.spatial) cost *= static_cast<double>(s.window);
  ctx.ParallelFor(p.batch * positions, cost, compute);
}

struct ProductNode {
  bool is_conv = false;
  UniformConvAttrs conv;
  int64_t rhs_axis = -1, out_axis = -1;
  UniformBounds bounds;

  StatusOr<UniformProduct> Make(const Shape& lhs, const Shape& rhs) const {
    return is_conv ? MakeUniformConv(conv, lhs, rhs) : MakeUniformDot(lhs, rhs);
  }
  // The dimension of output channels in rhs and output.
  int64_t rhs_channels() const { return is_conv ? conv.rhs.batch : 1; }
  int64_t out_channels() const { return is_conv ? conv.out.feature : 1; }
};

StatusOr<ProductNode> ReadProduct(const Attrs& attrs) {
  ProductNode product;
  product.is_conv = attrs.Has("padding");
  if (product.is_conv) {
    SM_ASSIGN_OR_RETURN(product.conv, ReadUniformConvAttrs(attrs));
  }
  product.rhs_axis = attrs.Int("rhs_quantization_axis");
  SM_CHECK_ARG(product.rhs_axis == -1 || product.rhs_axis == product.rhs_channels(),
               "rhs_quantization_axis is ", product.rhs_axis, ", expected -1 or ",
               product.rhs_channels());
  if (!attrs.Has("output_quantization_axis")) return product;
  product.out_axis = attrs.Int("output_quantization_axis");
  SM_CHECK_ARG(product.out_axis == -1 || product.out_axis == product.out_channels(),
               "output_quantization_axis is ", product.out_axis, ", expected -1 or ",
               product.out_channels());
  SM_CHECK_ARG(attrs.Int("lhs_quantization_axis") == -1, "lhs_quantization_axis is ",
               attrs.Int("lhs_quantization_axis"), ", expected -1");
  SM_ASSIGN_OR_RETURN(product.bounds, ReadBounds(attrs, "output_quantization_min_val",
                                                 "output_quantization_max_val"));
  return product;
}

Status ProductShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const ProductNode product, ReadProduct(ctx.attrs()));
  const Shape &lhs = ctx.input(0), &rhs = ctx.input(1);
  if (!lhs.fully_known() || !rhs.fully_known()) {
    if (lhs.known_rank()) ctx.set_output(0, Shape::UnknownOfRank(lhs.rank()));
    return Status();
  }
  SM_ASSIGN_OR_RETURN(const UniformProduct p, product.Make(lhs, rhs));
  ctx.set_output(0, p.out);
  return Status();
}

// A matrix product goes by the shape of the scales, not by the axes that attributes say.
int64_t AxisOf(const ProductNode& product, const OpContext& ctx, int i, int64_t axis) {
  if (product.is_conv) return axis;
  return ctx.input(i).shape().rank() == 0 ? -1 : 1;
}

StatusOr<KernelPtr> BuildQuantized(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ProductNode product, ReadProduct(build.attrs()));
  return MakeKernel([product](OpContext& ctx) -> Status {
    const Shape &lhs = ctx.input(0).shape(), &rhs = ctx.input(1).shape();
    SM_ASSIGN_OR_RETURN(const UniformProduct p, product.Make(lhs, rhs));
    for (int i : {2, 4, 6}) SM_RETURN_IF_ERROR(ExpectPositive(ctx, i));
    SM_ASSIGN_OR_RETURN(const UniformScales of_lhs, ReadUniformScales(ctx, 2, lhs, -1));
    SM_ASSIGN_OR_RETURN(const UniformScales of_rhs,
                        ReadUniformScales(ctx, 4, rhs, AxisOf(product, ctx, 4, product.rhs_axis)));
    SM_ASSIGN_OR_RETURN(
        const UniformScales of_out,
        ReadUniformScales(ctx, 6, p.out, AxisOf(product, ctx, 6, product.out_axis)));
    SM_CHECK_ARG(of_rhs.axis >= 0 || of_out.axis < 0,
                 "the output has a scale for each channel, rhs one for all");
    std::vector<FixedFactor> factors(of_rhs.axis < 0 ? 1 : p.channels);
    for (size_t c = 0; c < factors.size(); ++c) {
      SM_ASSIGN_OR_RETURN(factors[c],
                          FixedFactor::Of(double{of_lhs.scale_at(0)} * double{of_rhs.scale_at(c)} /
                                          double{of_out.scale_at(c)}));
    }
    int32_t* y = ctx.out<int32_t>(0);
    RunProduct(ctx, p, {ctx.in<int8_t>(0), of_lhs.zero}, ctx.in<int8_t>(1), of_rhs,
               [&](int64_t i, int32_t sum, int64_t, int64_t channel) {
                 const FixedFactor& factor = factors[of_rhs.axis < 0 ? 0 : channel];
                 y[i] = product.bounds.Clamp(WrappingAdd(factor(sum), of_out.zero_at(channel)));
               });
    return Status();
  });
}

// ----------------------------------------------------------------------------------------- hybrid

// Float images as int8, each over the range that its values and zero take.
struct QuantizedImages {
  std::vector<int8_t> data;
  std::vector<float> scale;
  std::vector<int32_t> zero;
};

// The scale from 255 steps over [low, high], and the zero point from the end of the range that is
// nearer; false where there is no such scale.
bool FitRange(double low, double high, float* scale, float* inverse, int32_t* zero) {
  constexpr double kLow = -128, kHigh = 127;
  *scale = static_cast<float>((high - low) / (kHigh - kLow));
  *inverse = high == low ? 0.0f : static_cast<float>((kHigh - kLow) / (high - low));
  if (*scale == 0 || !std::isfinite(*inverse)) return false;
  const bool from_low = -kLow + std::fabs(low / *scale) < kHigh + std::fabs(high / *scale);
  const double at = from_low ? kLow - low / *scale : kHigh - high / *scale;
  *zero = std::isnan(at) ? 0 : static_cast<int32_t>(std::round(std::clamp(at, kLow, kHigh)));
  return true;
}

QuantizedImages QuantizeImages(const float* x, const Shape& shape, int batch_dim) {
  const int64_t batch = shape[batch_dim], inner = shape.Product(batch_dim + 1, shape.rank());
  const int64_t outer = shape.Product(0, batch_dim);
  QuantizedImages images;
  images.data.resize(shape.num_elements());
  images.scale.assign(batch, 1.0f);
  images.zero.assign(batch, 0);
  for (int64_t b = 0; b < batch; ++b) {
    const auto for_each = [&](auto&& fn) {
      for (int64_t o = 0; o < outer; ++o) {
        for (int64_t i = 0; i < inner; ++i) fn((o * batch + b) * inner + i);
      }
    };
    double low = 0, high = 0;
    for_each([&](int64_t i) {
      low = std::min(low, static_cast<double>(x[i]));
      high = std::max(high, static_cast<double>(x[i]));
    });
    float scale = 0, inverse = 0;
    if (!FitRange(low, high, &scale, &inverse, &images.zero[b])) continue;
    images.scale[b] = scale;
    for_each([&](int64_t i) {
      images.data[i] =
          static_cast<int8_t>(UniformQuantized(x[i], inverse, images.zero[b], {-128, 127}));
    });
  }
  return images;
}

StatusOr<KernelPtr> BuildHybrid(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ProductNode product, ReadProduct(build.attrs()));
  return MakeKernel([product](OpContext& ctx) -> Status {
    const Shape &lhs = ctx.input(0).shape(), &rhs = ctx.input(1).shape();
    SM_ASSIGN_OR_RETURN(const UniformProduct p, product.Make(lhs, rhs));
    SM_RETURN_IF_ERROR(ExpectPositive(ctx, 2));
    SM_ASSIGN_OR_RETURN(const UniformScales of_rhs,
                        ReadUniformScales(ctx, 2, rhs, AxisOf(product, ctx, 2, product.rhs_axis)));
    const int batch_dim = product.is_conv ? static_cast<int>(product.conv.lhs.batch) : 0;
    const QuantizedImages images = QuantizeImages(ctx.in<float>(0), lhs, batch_dim);
    float* y = ctx.out<float>(0);
    RunProduct(ctx, p, {images.data.data(), images.zero.data(), true}, ctx.in<int8_t>(1), of_rhs,
               [&](int64_t i, int32_t sum, int64_t image, int64_t channel) {
                 y[i] = static_cast<float>(sum) * images.scale[image] * of_rhs.scale_at(channel);
               });
    return Status();
  });
}

#define SM_QUANTIZED_BY(what)                                                  \
  what "quantization_axis: int = -1; " what "quantization_min_val: int; " what \
       "quantization_max_val: int"
#define SM_WINDOWS                                                                      \
  "window_strides: list(int) = []; padding: string; explicit_padding: list(int) = []; " \
  "lhs_dilation: list(int) = []; rhs_dilation: list(int) = []; "                        \
  "batch_group_count: int = 1; feature_group_count: int = 1; "                          \
  "dimension_numbers: string = ''; "
#define SM_QUANTIZED_INPUTS                                                                      \
  "(lhs: Tin, rhs: Tin, lhs_scales: float, lhs_zero_points: int32, rhs_scales: float, "          \
  "rhs_zero_points: int32, output_scales: float, output_zero_points: int32) -> (output: Tout); " \
  "Tin: {qint8}; Tout: {qint32}; "
#define SM_HYBRID_INPUTS                                                                  \
  "(lhs: Tlhs, rhs: Trhs, rhs_scales: float, rhs_zero_points: int32) -> (output: Tout); " \
  "Tlhs: {float}; Trhs: {qint8}; Tout: {float}; "

constexpr OpDef kOps[] = {
    {.signature = "UniformQuantizedConvolution" SM_QUANTIZED_INPUTS SM_WINDOWS SM_QUANTIZED_BY(
         "lhs_") "; " SM_QUANTIZED_BY("rhs_") "; " SM_QUANTIZED_BY("output_"),
     .shape = ProductShape,
     .build = BuildQuantized},
    {.signature =
         "UniformQuantizedConvolutionHybrid" SM_HYBRID_INPUTS SM_WINDOWS SM_QUANTIZED_BY("rhs_"),
     .shape = ProductShape,
     .build = BuildHybrid},
    {.signature = "UniformQuantizedDot" SM_QUANTIZED_INPUTS SM_QUANTIZED_BY(
         "lhs_") "; " SM_QUANTIZED_BY("rhs_") "; " SM_QUANTIZED_BY("output_"),
     .shape = ProductShape,
     .build = BuildQuantized},
    {.signature = "UniformQuantizedDotHybrid" SM_HYBRID_INPUTS SM_QUANTIZED_BY("rhs_"),
     .shape = ProductShape,
     .build = BuildHybrid},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> UniformProductOps() { return kOps; }

}  // namespace savedmodel
