// Projective transforms of images, and bounding boxes drawn into them.
#include <algorithm>
#include <cmath>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/image/output_shape.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// What lies outside of an image.
enum class Border { kConstant, kReflect, kWrap, kNearest };

struct ProjectiveOptions {
  bool bilinear = false;
  Border border = Border::kConstant;
};

StatusOr<ProjectiveOptions> ParseProjective(const Attrs& attrs) {
  const std::string &interpolation = attrs.String("interpolation"),
                    &mode = attrs.String("fill_mode");
  ProjectiveOptions o;
  o.bilinear = interpolation == "BILINEAR";
  SM_CHECK_ARG(o.bilinear || interpolation == "NEAREST", "interpolation is ", interpolation,
               ", expected NEAREST or BILINEAR");
  if (mode == "REFLECT") {
    o.border = Border::kReflect;
  } else if (mode == "WRAP") {
    o.border = Border::kWrap;
  } else if (mode == "NEAREST") {
    o.border = Border::kNearest;
  } else {
    SM_CHECK_ARG(mode == "CONSTANT", "fill_mode is ", mode,
                 ", expected CONSTANT, REFLECT, WRAP or NEAREST");
  }
  return o;
}

Status ProjectiveShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 1));
  if (ctx.num_inputs() > 3) SM_RETURN_IF_ERROR(ctx.ExpectRank(3, 0));
  const Shape &images = ctx.input(0), &transforms = ctx.input(1);
  SM_CHECK_ARG(!transforms.fully_known() || !images.fully_known() ||
                   (transforms[1] == 8 && (transforms[0] == 1 || transforms[0] == images[0])),
               "transforms have shape ", transforms, ", expected [1,8] or [batch,8]");
  const bool known = images.known_rank();
  return SetImageOutput(ctx, known ? images[0] : -1, known ? images[3] : -1, 2, "output_shape");
}

// Coordinate `x` of a dimension of `size` positions brought inside by reflection, wrapping or
// clamping, with the same rounding as TensorFlow.
float MapCoordinate(float x, int64_t size, Border border) {
  const float last = static_cast<float>(size - 1), n = static_cast<float>(size);
  if (border == Border::kConstant) return x;
  if (size <= 1) return 0;
  if (border == Border::kReflect) {
    const float period = 2 * n;
    if (x < 0) {
      x = period * std::trunc(-x / period) + x;
      x = x < -n ? x + period : -x - 1;
    } else if (x > last) {
      x -= period * std::trunc(x / period);
      if (x >= n) x = period - x - 1;
    }
  } else if (border == Border::kWrap) {
    if (x < 0) {
      x += n * (std::trunc(-x / last) + 1);
    } else if (x > last) {
      x -= n * std::trunc(x / last);
    }
  }
  return std::clamp(x, 0.0f, last);
}

template <class T>
struct Sampler {
  const T* image;
  int64_t height, width, channels;
  T fill;

  T Read(int64_t y, int64_t x, int64_t c) const {
    if (y < 0 || y >= height || x < 0 || x >= width) return fill;
    return image[(y * width + x) * channels + c];
  }
  T Nearest(float y, float x, int64_t c) const {
    return Read(static_cast<int64_t>(std::round(y)), static_cast<int64_t>(std::round(x)), c);
  }
  T Bilinear(float y, float x, int64_t c) const {
    const float top = std::floor(y), left = std::floor(x), bottom = top + 1, right = left + 1;
    const auto at = [&](float row, float col) {
      return static_cast<float>(Read(static_cast<int64_t>(row), static_cast<int64_t>(col), c));
    };
    const float upper = (right - x) * at(top, left) + (x - left) * at(top, right);
    const float lower = (right - x) * at(bottom, left) + (x - left) * at(bottom, right);
    return static_cast<T>((bottom - y) * upper + (y - top) * lower);
  }
};

template <class T>
void TransformRow(const Sampler<T>& in, const float* t, const ProjectiveOptions& o, int64_t y,
                  int64_t width, T* out) {
  const float fy = static_cast<float>(y);
  for (int64_t x = 0; x < width; ++x, out += in.channels) {
    const float fx = static_cast<float>(x);
    const float scale = t[6] * fx + t[7] * fy + 1.0f;
    const float px = MapCoordinate((t[0] * fx + t[1] * fy + t[2]) / scale, in.width, o.border);
    const float py = MapCoordinate((t[3] * fx + t[4] * fy + t[5]) / scale, in.height, o.border);
    constexpr float kFar = 1e9f;  // also what is not a number
    if (scale == 0 || !(std::abs(px) < kFar && std::abs(py) < kFar)) {
      std::fill_n(out, in.channels, in.fill);
      continue;
    }
    for (int64_t c = 0; c < in.channels; ++c) {
      out[c] = o.bilinear ? in.Bilinear(py, px, c) : in.Nearest(py, px, c);
    }
  }
}

StatusOr<KernelPtr> BuildProjective(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const ProjectiveOptions options, ParseProjective(build.attrs()));
  return MakeKernel([options](OpContext& ctx) -> Status {
    const Shape &in = ctx.input(0).shape(), &out = ctx.output(0).shape();
    const float* transforms = ctx.in<float>(1);
    const int64_t each = ctx.input(1).shape()[0] == 1 ? 0 : 8;
    const float fill = ctx.num_inputs() > 3 ? *ctx.in<float>(3) : 0.0f;
    constexpr DTypeSet kTypes = kFloats | kInt32Or64 | Only(DType::kUInt8);
    return VisitDType<kTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const double cost = 15.0 * static_cast<double>(out[2] * out[3]);
      ctx.ParallelFor(out[0] * out[1], cost, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const int64_t b = r / out[1];
          const Sampler<T> sampler = {ctx.in<T>(0) + b * in[1] * in[2] * in[3], in[1], in[2], in[3],
                                      static_cast<T>(fill)};
          TransformRow(sampler, transforms + b * each, options, r % out[1], out[2],
                       ctx.out<T>(0) + r * out[2] * out[3]);
        }
      });
      return Status();
    });
  });
}

// --------------------------------------------------------------------------------- bounding boxes

Status DrawShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 3));
  if (ctx.num_inputs() > 2) SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 2));
  const Shape &images = ctx.input(0), &boxes = ctx.input(1);
  SM_CHECK_ARG(
      !images.fully_known() || !boxes.fully_known() || (images[0] == boxes[0] && boxes[2] == 4),
      "images and boxes have shapes ", images, " and ", boxes, ", expected [batch, boxes, 4]");
  SM_CHECK_ARG(
      !images.known_rank() || images[3] == -1 || images[3] == 1 || images[3] == 3 || images[3] == 4,
      "images have shape ", images, ", expected 1, 3 or 4 channels");
  ctx.set_output(0, images);
  return Status();
}

constexpr float kColours[10][4] = {
    {1, 1, 0, 1},       {0, 0, 1, 1},    {1, 0, 0, 1},    {0, 1, 0, 1}, {0.5f, 0, 0.5f, 1},
    {0.5f, 0.5f, 0, 1}, {0.5f, 0, 0, 1}, {0, 0, 0.5f, 1}, {0, 1, 1, 1}, {1, 0, 1, 1}};

// The frame of `box` (y, x, y, x as parts of the image) as lines of `colour`.
template <class T>
void DrawBox(const float* box, const float* colour, int64_t height, int64_t width, int64_t channels,
             T* image) {
  const auto pixel = [](float part, int64_t size) {
    const float at = part * static_cast<float>(size - 1);
    return std::isfinite(at) ? static_cast<int64_t>(std::clamp(at, -1e9f, 1e9f)) : int64_t{-1};
  };
  const int64_t top = pixel(box[0], height), bottom = pixel(box[2], height);
  const int64_t left = pixel(box[1], width), right = pixel(box[3], width);
  if (top > bottom || left > right) return;
  if (top >= height || bottom < 0 || left >= width || right < 0) return;
  const auto set = [&](int64_t y, int64_t x) {
    for (int64_t c = 0; c < channels; ++c) image[(y * width + x) * channels + c] = T(colour[c]);
  };
  for (int64_t x = std::max<int64_t>(left, 0); x <= std::min(right, width - 1); ++x) {
    if (top >= 0) set(top, x);
    if (bottom < height) set(bottom, x);
  }
  for (int64_t y = std::max<int64_t>(top, 0); y <= std::min(bottom, height - 1); ++y) {
    if (left >= 0) set(y, left);
    if (right < width) set(y, right);
  }
}

Status DrawBoundingBoxes(OpContext& ctx) {
  const Shape &images = ctx.input(0).shape(), &boxes = ctx.input(1).shape();
  const int64_t height = images[1], width = images[2], channels = images[3];
  const float *box = ctx.in<float>(1), *colours = &kColours[0][0];
  int64_t colour_size = 4, num_colours = 10;
  const float white[4] = {1, 1, 1, 1};
  if (channels == 1) {
    colours = white;
    num_colours = 1;
  }
  if (ctx.num_inputs() > 2 && ctx.input(2).num_elements() > 0) {
    colours = ctx.in<float>(2);
    num_colours = ctx.input(2).shape()[0];
    colour_size = ctx.input(2).shape()[1];
    SM_CHECK_ARG(colour_size >= channels, "colors have shape ", ctx.input(2).shape(),
                 ", expected at least ", channels, " columns");
  }
  constexpr DTypeSet kTypes = Only(DType::kFloat) | Only(DType::kHalf);
  return VisitDType<kTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = ctx.out<T>(0);
    if (ctx.in<T>(0) != out) std::copy_n(ctx.in<T>(0), ctx.input(0).num_elements(), out);
    for (int64_t b = 0; b < images[0]; ++b) {
      for (int64_t i = 0; i < boxes[1]; ++i, box += 4) {
        DrawBox(box, colours + i % num_colours * colour_size, height, width, channels,
                out + b * height * width * channels);
      }
    }
    return Status();
  });
}

#define SM_PROJECTIVE                                                              \
  "dtype: {uint8,int32,int64,half,bfloat16,float,double}; interpolation: string; " \
  "fill_mode: string = 'CONSTANT'"

constexpr OpDef kOps[] = {
    {.signature = "DrawBoundingBoxes(images: T, boxes: float) -> (output: T); "
                  "T: {float,half} = float",
     .shape = DrawShape,
     .build = BuildPlain<DrawBoundingBoxes>,
     .in_place = InPlace::kInput0},
    {.signature = "DrawBoundingBoxesV2(images: T, boxes: float, colors: float) -> (output: T); "
                  "T: {float,half} = float",
     .shape = DrawShape,
     .build = BuildPlain<DrawBoundingBoxes>,
     .in_place = InPlace::kInput0},
    {.signature = "ImageProjectiveTransformV2(images: dtype, transforms: float, "
                  "output_shape: int32) -> (transformed_images: dtype); " SM_PROJECTIVE,
     .shape = ProjectiveShape,
     .build = BuildProjective},
    {.signature = "ImageProjectiveTransformV3(images: dtype, transforms: float, "
                  "output_shape: int32, fill_value: float) -> "
                  "(transformed_images: dtype); " SM_PROJECTIVE,
     .shape = ProjectiveShape,
     .build = BuildProjective},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ProjectiveOps() { return kOps; }

}  // namespace savedmodel
