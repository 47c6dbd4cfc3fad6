#include "src/kernels/image/resize.h"

#include <type_traits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/image/output_shape.h"
#include "src/kernels/image/resize_cubic.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {

StatusOr<ResizeMapping> ReadResizeMapping(const Attrs& attrs) {
  const ResizeMapping mapping = {attrs.Bool("align_corners"), attrs.Bool("half_pixel_centers")};
  SM_CHECK_ARG(!mapping.align_corners || !mapping.half_pixel_centers,
               "align_corners and half_pixel_centers are both true, expected at most one");
  return mapping;
}

Status ResizeShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const Shape& in = ctx.input(0);
  SM_CHECK_ARG(!ctx.input(1).fully_known() || ctx.input(1)[0] == 2, "size has shape ", ctx.input(1),
               ", expected [2]");
  const bool known = in.known_rank();
  SM_CHECK_ARG(!known || (in[1] != 0 && in[2] != 0), "images have shape ", in,
               ", expected a height and width above 0");
  return SetImageOutput(ctx, known ? in[0] : -1, known ? in[3] : -1, 1, "size");
}

StatusOr<ResizeDims> ReadResizeDims(const OpContext& ctx) {
  const Shape& in = ctx.input(0).shape();
  const std::vector<int64_t> size = ctx.IntsInput(1);
  SM_CHECK_ARG(in.rank() == 4 && in[1] > 0 && in[2] > 0, "images have shape ", in,
               ", expected [batch, height, width, channels] of a height and width above 0");
  SM_CHECK_ARG(in[1] <= INT32_MAX && in[2] <= INT32_MAX, "images of shape ", in, " are too large");
  SM_CHECK_ARG(size.size() == 2 && size[0] > 0 && size[1] > 0, "size is ", size,
               ", expected a height and width above 0");
  return ResizeDims{in[0], in[1], in[2], in[3], size[0], size[1]};
}

namespace {

std::vector<ResizePair> Pairs(const ResizeMapping& mapping, int64_t in, int64_t out) {
  const float scale = mapping.Scale(in, out);
  std::vector<ResizePair> pairs(out);
  for (int64_t i = 0; i < out; ++i) pairs[i] = PairAt(mapping, scale, in, i);
  return pairs;
}

// Calls fn(channels), a constant where they are few.
template <class F>
void WithChannels(int64_t channels, F&& fn) {
  if (channels == 1) return fn(std::integral_constant<int64_t, 1>());
  if (channels == 3) return fn(std::integral_constant<int64_t, 3>());
  fn(channels);
}

// A row of an image, interpolated at the output's columns.
template <class T>
void InterpolateRow(const T* row, const std::vector<ResizePair>& xs, int64_t channels, float* out) {
  constexpr int64_t kVector = 8;
  if constexpr (std::is_same_v<T, float>) {
    for (size_t i = 0; channels >= kVector && i < xs.size(); ++i, out += channels) {
      Vectors().interpolate(row + xs[i].lower * channels, row + xs[i].upper * channels,
                            xs[i].weight, channels, out);
    }
    if (channels >= kVector) return;
  }
  const auto each = [&](auto count) {
    for (const ResizePair& x : xs) {
      const T *left = row + x.lower * count, *right = row + x.upper * count;
      for (int64_t k = 0; k < count; ++k) {
        const float from(left[k]), to(right[k]);
        *out++ = from + (to - from) * x.weight;
      }
    }
  };
  WithChannels(channels, each);
}

template <class T>
void Bilinear(const OpContext& ctx, const ResizeDims& d, const ResizeMapping& mapping, const T* in,
              float* out) {
  const std::vector<ResizePair> ys = Pairs(mapping, d.in_height, d.out_height);
  const std::vector<ResizePair> xs = Pairs(mapping, d.in_width, d.out_width);
  const int64_t in_row = d.in_width * d.channels, out_row = d.out_width * d.channels;
  ctx.ParallelFor(d.batch * d.out_height, 1.0 * static_cast<double>(out_row),
                  [&](int64_t begin, int64_t end) {
                    // The two input rows used last, which the next output row mostly needs, too.
                    std::vector<float> memory(static_cast<size_t>(2 * out_row));
                    int64_t held[2] = {-1, -1};
                    const auto find = [&](int64_t row, int64_t other) -> const float* {
                      for (int i = 0; i < 2; ++i) {
                        if (held[i] == row) return memory.data() + i * out_row;
                      }
                      const int slot = held[0] == other ? 1 : 0;
                      held[slot] = row;
                      float* const to = memory.data() + slot * out_row;
                      InterpolateRow(in + row * in_row, xs, d.channels, to);
                      return to;
                    };
                    for (int64_t r = begin; r < end; ++r) {
                      const ResizePair& y = ys[r % d.out_height];
                      const int64_t image = r / d.out_height * d.in_height;
                      const float* upper = find(image + y.lower, image + y.upper);
                      const float* lower = find(image + y.upper, image + y.lower);
                      Vectors().interpolate(upper, lower, y.weight, out_row, out + r * out_row);
                    }
                  });
}

template <class T>
void Nearest(const OpContext& ctx, const ResizeDims& d, const ResizeMapping& mapping, const T* in,
             T* out) {
  const auto positions = [&](int64_t size, int64_t out_size) {
    const float scale = mapping.Scale(size, out_size);
    std::vector<int64_t> at(out_size);
    for (int64_t i = 0; i < out_size; ++i) {
      const float x = (static_cast<float>(i) + (mapping.half_pixel_centers ? 0.5f : 0.0f)) * scale;
      at[i] = std::clamp<int64_t>(
          static_cast<int64_t>(mapping.align_corners ? std::round(x) : std::floor(x)), 0, size - 1);
    }
    return at;
  };
  const std::vector<int64_t> ys = positions(d.in_height, d.out_height);
  const std::vector<int64_t> xs = positions(d.in_width, d.out_width);
  const int64_t c = d.channels;
  ctx.ParallelFor(d.batch * d.out_height, 0.5 * static_cast<double>(d.out_width * c),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t r = begin; r < end; ++r) {
                      const int64_t image = r / d.out_height * d.in_height;
                      const T* row = in + (image + ys[r % d.out_height]) * d.in_width * c;
                      T* o = out + r * d.out_width * c;
                      for (int64_t x : xs) o = std::copy_n(row + x * c, c, o);
                    }
                  });
}

// Puts rows of n elements together, by weight times scale.
template <class T>
void WeighRows(const std::vector<const T*>& rows, const float* weights, float scale, int64_t n,
               float* out) {
  if constexpr (std::is_same_v<T, float>) {
    Vectors().pool_sum({.taps = rows.data(),
                        .num_taps = static_cast<int64_t>(rows.size()),
                        .channels = n,
                        .weights = weights,
                        .scale = scale,
                        .y = out});
  } else {
    std::fill_n(out, n, 0.0f);
    for (size_t k = 0; k < rows.size(); ++k) {
      const float weight = weights[k] * scale;
      for (int64_t i = 0; i < n; ++i) out[i] += static_cast<float>(rows[k][i]) * weight;
    }
  }
}

template <class T>
void Bicubic(const OpContext& ctx, const ResizeDims& d, const ResizeMapping& mapping, const T* in,
             float* out) {
  const std::vector<Cubic> ys = Cubics(mapping, d.in_height, d.out_height);
  const std::vector<Cubic> xs = Cubics(mapping, d.in_width, d.out_width);
  const int64_t in_row = d.in_width * d.channels, out_row = d.out_width * d.channels;
  ctx.ParallelFor(d.batch * d.out_height, 4.0 * static_cast<double>(in_row + out_row),
                  [&](int64_t begin, int64_t end) {
                    // The four rows under an output row, weighed.
                    std::vector<float> column(in_row + kBehindCubics);
                    std::vector<const T*> rows(4);
                    for (int64_t r = begin; r < end; ++r) {
                      const Cubic& y = ys[r % d.out_height];
                      const T* image = in + r / d.out_height * d.in_height * in_row;
                      for (int k = 0; k < 4; ++k) rows[k] = image + y.at[k] * in_row;
                      WeighRows(rows, y.weight, 1, in_row, column.data());
                      ResampleCubic(column.data(), xs, d.channels, out + r * out_row);
                    }
                  });
}

// ------------------------------------------------------------------------------------------- area

// The input positions that an output position covers, and how much of each.
struct Cover {
  int64_t first = 0;
  std::vector<float> weight;
};

std::vector<Cover> Covers(float scale, int64_t out) {
  std::vector<Cover> covers(out);
  for (int64_t i = 0; i < out; ++i) {
    if (scale == 0) {  // one position for all, by align_corners
      covers[i].weight.push_back(1.0f);
      continue;
    }
    const float from = static_cast<float>(i) * scale, to = static_cast<float>(i + 1) * scale;
    Cover& cover = covers[i];
    cover.first = static_cast<int64_t>(std::floor(from));
    const int64_t end = static_cast<int64_t>(std::ceil(to));
    for (int64_t p = cover.first; p < end; ++p) {
      const float at = static_cast<float>(p), next = static_cast<float>(p + 1);
      float weight = next > to ? to - at : 1.0f;
      if (at < from) weight = next > to ? scale : next - from;
      cover.weight.push_back(weight);
    }
  }
  return covers;
}

template <class T>
void Area(const OpContext& ctx, const ResizeDims& d, const ResizeMapping& mapping, const T* in,
          float* out) {
  const float y_scale = mapping.Scale(d.in_height, d.out_height);
  const float x_scale = mapping.Scale(d.in_width, d.out_width);
  const std::vector<Cover> ys = Covers(y_scale, d.out_height), xs = Covers(x_scale, d.out_width);
  const float normal = 1.0f / ((y_scale == 0 ? 1.0f : y_scale) * (x_scale == 0 ? 1.0f : x_scale));
  const int64_t c = d.channels, in_row = d.in_width * c, out_row = d.out_width * c;
  const double cost = static_cast<double>(in_row) * (2.0 + y_scale);
  ctx.ParallelFor(d.batch * d.out_height, cost, [&](int64_t begin, int64_t end) {
    std::vector<float> column(in_row);  // the rows under an output row, weighed
    std::vector<const T*> rows;
    for (int64_t r = begin; r < end; ++r) {
      const Cover& y = ys[r % d.out_height];
      const T* image = in + r / d.out_height * d.in_height * in_row;
      rows.clear();
      for (size_t j = 0; j < y.weight.size(); ++j) {
        const int64_t at = y.first + static_cast<int64_t>(j);
        rows.push_back(image + std::clamp<int64_t>(at, 0, d.in_height - 1) * in_row);
      }
      WeighRows(rows, y.weight.data(), normal, in_row, column.data());
      float* o = out + r * out_row;
      WithChannels(c, [&](auto channels) {
        for (const Cover& x : xs) {
          for (int64_t k = 0; k < channels; ++k) {
            float sum = 0;
            for (size_t i = 0; i < x.weight.size(); ++i) {
              const int64_t p =
                  std::clamp<int64_t>(x.first + static_cast<int64_t>(i), 0, d.in_width - 1);
              sum += column[p * channels + k] * x.weight[i];
            }
            *o++ = sum;
          }
        }
      });
    }
  });
}

// ----------------------------------------------------------------------------------------- kernels

enum class Method { kBilinear, kBicubic, kArea };

template <Method method>
StatusOr<KernelPtr> BuildResize(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ResizeMapping mapping, ReadResizeMapping(build.attrs()));
  return MakeKernel([mapping](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const ResizeDims dims, ReadResizeDims(ctx));
    if (ctx.output(0).num_elements() == 0) return Status();
    return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* in = ctx.in<T>(0);
      float* out = ctx.out<float>(0);
      if constexpr (method == Method::kBilinear) Bilinear(ctx, dims, mapping, in, out);
      if constexpr (method == Method::kBicubic) Bicubic(ctx, dims, mapping, in, out);
      if constexpr (method == Method::kArea) Area(ctx, dims, mapping, in, out);
      return Status();
    });
  });
}

StatusOr<KernelPtr> BuildNearest(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ResizeMapping mapping, ReadResizeMapping(build.attrs()));
  return MakeKernel([mapping](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const ResizeDims dims, ReadResizeDims(ctx));
    if (ctx.output(0).num_elements() == 0) return Status();
    return VisitByElementSize(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      Nearest(ctx, dims, mapping, static_cast<const T*>(ctx.input(0).raw_data()),
              static_cast<T*>(ctx.output(0).raw_mutable_data()));
      return Status();
    });
  });
}

// ----------------------------------------------------------------------------------------
// gradients

// The gradient of Bilinear by the images: input 0 [batch, out_height, out_width, channels] is
// spread back over the shape of input 1.
StatusOr<KernelPtr> BuildBilinearGrad(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ResizeMapping mapping, ReadResizeMapping(build.attrs()));
  return MakeKernel([mapping](OpContext& ctx) -> Status {
    const Shape &grads = ctx.input(0).shape(), &image = ctx.input(1).shape();
    SM_CHECK_ARG(grads.rank() == 4 && image.rank() == 4 && grads[0] == image[0] &&
                     grads[3] == image[3] && image[1] > 0 && image[2] > 0 && grads[1] > 0 &&
                     grads[2] > 0,
                 "grads and original_image have shapes ", grads, " and ", image,
                 ", expected [batch, height, width, channels] of equal batch and channels");
    const std::vector<ResizePair> ys = Pairs(mapping, image[1], grads[1]);
    const std::vector<ResizePair> xs = Pairs(mapping, image[2], grads[2]);
    const int64_t c = image[3];
    return VisitDType<kFloats>(ctx.output_dtype(0), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const float* g = ctx.in<float>(0);
      T* out = ctx.out<T>(0);
      std::fill_n(out, ctx.output(0).num_elements(), T(0));
      for (int64_t b = 0; b < grads[0]; ++b) {
        T* to = out + b * image[1] * image[2] * c;
        for (const ResizePair& y : ys) {
          for (const ResizePair& x : xs) {
            const auto add = [&](int64_t row, int64_t col, float weight) {
              T* o = to + (row * image[2] + col) * c;
              for (int64_t k = 0; k < c; ++k) o[k] = o[k] + T(g[k] * weight);
            };
            add(y.lower, x.lower, (1 - y.weight) * (1 - x.weight));
            add(y.lower, x.upper, (1 - y.weight) * x.weight);
            add(y.upper, x.lower, y.weight * (1 - x.weight));
            add(y.upper, x.upper, y.weight * x.weight);
            g += c;
          }
        }
      }
      return Status();
    });
  });
}

// Each element of the gradient goes to the pixel that Nearest took: input 1 is the images' size.
StatusOr<KernelPtr> BuildNearestGrad(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ResizeMapping mapping, ReadResizeMapping(build.attrs()));
  return MakeKernel([mapping](OpContext& ctx) -> Status {
    // Here the "input" of the resizing is this op's output.
    SM_ASSIGN_OR_RETURN(const ResizeDims grads, ReadResizeDims(ctx));
    const ResizeDims d = {grads.batch,    grads.out_height, grads.out_width,
                          grads.channels, grads.in_height,  grads.in_width};
    if (ctx.output(0).num_elements() == 0) return Status();
    const int64_t pixels = d.in_height * d.in_width;
    std::vector<int64_t> pixel(pixels), source(d.out_height * d.out_width);
    for (int64_t i = 0; i < pixels; ++i) pixel[i] = i;
    ResizeDims one = d;
    one.batch = one.channels = 1;
    Nearest(ctx, one, mapping, pixel.data(), source.data());
    return VisitDType<kReals>(ctx.output_dtype(0), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* g = ctx.in<T>(0);
      T* out = ctx.out<T>(0);
      std::fill_n(out, ctx.output(0).num_elements(), T(0));
      for (int64_t b = 0; b < d.batch; ++b) {
        for (int64_t at : source) {
          T* o = out + (b * pixels + at) * d.channels;
          for (int64_t k = 0; k < d.channels; ++k) o[k] = static_cast<T>(o[k] + *g++);
        }
      }
      return Status();
    });
  });
}

#define SM_INTS "T: {int8,uint8,int16,uint16,int32,int64,half,float,double,bfloat16}; "
#define SM_CENTERS "align_corners: bool = false; half_pixel_centers: bool = false"

constexpr OpDef kOps[] = {
    {.signature = "ResizeArea(images: T, size: int32) -> (resized_images: float); " SM_INTS
                  "align_corners: bool = false",
     .shape = ResizeShape,
     .build = BuildResize<Method::kArea>,
     .per_example = true},
    {.signature =
         "ResizeBicubic(images: T, size: int32) -> (resized_images: float); " SM_INTS SM_CENTERS,
     .shape = ResizeShape,
     .build = BuildResize<Method::kBicubic>,
     .per_example = true},
    {.signature =
         "ResizeBilinear(images: T, size: int32) -> (resized_images: float); " SM_INTS SM_CENTERS,
     .shape = ResizeShape,
     .build = BuildResize<Method::kBilinear>,
     .per_example = true},
    {.signature = "ResizeBilinearGrad(grads: float, original_image: T) -> (output: T); "
                  "T: {float,bfloat16,half,double}; " SM_CENTERS,
     .shape = shape::SameAsInput1,
     .build = BuildBilinearGrad},
    {.signature = "ResizeNearestNeighbor(images: T, size: int32) -> (resized_images: T); " SM_INTS
         SM_CENTERS,
     .shape = ResizeShape,
     .build = BuildNearest,
     .per_example = true},
    {.signature = "ResizeNearestNeighborGrad(grads: T, size: int32) -> (output: T); "
                  "T: {uint8,int8,int32,half,float,double,bfloat16}; " SM_CENTERS,
     .shape = ResizeShape,
     .build = BuildNearestGrad},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ResizeOps() { return kOps; }

}  // namespace savedmodel
