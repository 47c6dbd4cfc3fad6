// CropAndResize: boxes of images, resampled to one size.
#include <algorithm>
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/image/output_shape.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// ---------------------------------------------------------------------------------- CropAndResize

Status CropShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(3, 1));
  const Shape &image = ctx.input(0), &boxes = ctx.input(1), &index = ctx.input(2);
  SM_CHECK_ARG(!image.fully_known() || (image[1] > 0 && image[2] > 0), "image has shape ", image,
               ", expected a height and width above 0");
  SM_CHECK_ARG(!boxes.fully_known() || boxes[1] == 4, "boxes have shape ", boxes,
               ", expected [boxes, 4]");
  SM_CHECK_ARG(!boxes.fully_known() || !index.fully_known() || boxes[0] == index[0],
               "boxes and box_ind have shapes ", boxes, " and ", index, ", expected as many");
  return SetImageOutput(ctx, boxes.known_rank() ? boxes[0] : -1, image.known_rank() ? image[3] : -1,
                        3, "crop_size");
}

// Where the samples of one crop lie along one dimension.
struct Samples {
  float first, step;

  Samples(float low, float high, int64_t size, int64_t crop) {
    const float last = static_cast<float>(size - 1);
    step = crop > 1 ? (high - low) * last / static_cast<float>(crop - 1) : 0.0f;
    first = crop > 1 ? low * last : 0.5f * (low + high) * last;
  }
  float operator[](int64_t i) const { return first + static_cast<float>(i) * step; }
};

struct CropDims {
  int64_t height, width, depth, crop_height, crop_width;
};

// One row of a crop; `y` lies inside the image. `lower` is scratch of d.depth floats.
template <class T>
void CropRow(const T* image, const CropDims& d, float y, const Samples& xs, bool nearest,
             float outside, float* lower, float* out) {
  const int64_t row = d.width * d.depth;
  const auto top = static_cast<int64_t>(std::floor(y)), bottom = static_cast<int64_t>(std::ceil(y));
  const float y_lerp = y - static_cast<float>(top);
  for (int64_t j = 0; j < d.crop_width; ++j, out += d.depth) {
    const float x = xs[j];
    if (!(x >= 0 && x <= static_cast<float>(d.width - 1))) {
      std::fill_n(out, d.depth, outside);
      continue;
    }
    if (nearest) {
      const T* p = image + static_cast<int64_t>(std::round(y)) * row +
                   static_cast<int64_t>(std::round(x)) * d.depth;
      for (int64_t k = 0; k < d.depth; ++k) out[k] = static_cast<float>(p[k]);
      continue;
    }
    const auto left = static_cast<int64_t>(std::floor(x)),
               right = static_cast<int64_t>(std::ceil(x));
    const float x_lerp = x - static_cast<float>(left);
    const T *tl = image + top * row + left * d.depth, *tr = image + top * row + right * d.depth;
    const T *bl = image + bottom * row + left * d.depth,
            *br = image + bottom * row + right * d.depth;
    if constexpr (std::is_same_v<T, float>) {
      if (d.depth >= 8) {
        const VectorCode& code = Vectors();
        code.interpolate(tl, tr, x_lerp, d.depth, out);
        code.interpolate(bl, br, x_lerp, d.depth, lower);
        code.interpolate(out, lower, y_lerp, d.depth, out);
        continue;
      }
    }
    for (int64_t k = 0; k < d.depth; ++k) {
      const float a(tl[k]), b(tr[k]), c(bl[k]), e(br[k]);
      const float upper = a + (b - a) * x_lerp, below = c + (e - c) * x_lerp;
      out[k] = upper + (below - upper) * y_lerp;
    }
  }
}

Status CheckBoxes(const Tensor& boxes, const Tensor& index, int64_t batch) {
  const float* p = boxes.data<float>();
  for (int64_t i = 0; i < boxes.num_elements(); ++i) {
    SM_CHECK_ARG(std::isfinite(p[i]), "boxes hold ", p[i], ", expected finite numbers");
  }
  for (int32_t b : index.values<int32_t>()) {
    if (b < 0 || b >= batch) {
      return OutOfRange("box_ind holds ", b, ", expected values in [0, ", batch, ")");
    }
  }
  return Status();
}

StatusOr<KernelPtr> BuildCropAndResize(BuildContext& build) {
  const bool nearest = build.attrs().String("method") == "nearest";
  const float outside = build.attrs().Float("extrapolation_value");
  return MakeKernel([nearest, outside](OpContext& ctx) -> Status {
    const Tensor& images = ctx.input(0);
    const Shape &in = images.shape(), &out = ctx.output(0).shape();
    SM_CHECK_ARG(in[1] > 0 && in[2] > 0, "image has shape ", in,
                 ", expected a height and width above 0");
    SM_RETURN_IF_ERROR(CheckBoxes(ctx.input(1), ctx.input(2), in[0]));
    const CropDims d = {in[1], in[2], in[3], out[1], out[2]};
    const float* boxes = ctx.in<float>(1);
    const int32_t* index = ctx.in<int32_t>(2);
    float* to = ctx.out<float>(0);
    return VisitDType<kReals>(images.dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* from = images.data<T>();
      const int64_t row = d.crop_width * d.depth;
      ctx.ParallelFor(
          out[0] * d.crop_height, 4.0 * static_cast<double>(row), [&](int64_t begin, int64_t end) {
            std::vector<float> lower(d.depth);
            for (int64_t r = begin; r < end; ++r) {
              const int64_t b = r / d.crop_height;
              const float* box = boxes + 4 * b;
              const float y = Samples(box[0], box[2], d.height, d.crop_height)[r % d.crop_height];
              if (!(y >= 0 && y <= static_cast<float>(d.height - 1))) {
                std::fill_n(to + r * row, row, outside);
                continue;
              }
              CropRow(from + index[b] * d.height * d.width * d.depth, d, y,
                      Samples(box[1], box[3], d.width, d.crop_width), nearest, outside,
                      lower.data(), to + r * row);
            }
          });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "CropAndResize(image: T, boxes: float, box_ind: int32, crop_size: int32) -> "
                  "(crops: float); T: {uint8,uint16,int8,int16,int32,int64,half,float,double}; "
                  "method: {'bilinear','nearest'} = 'bilinear'; "
                  "extrapolation_value: float = 0.0",
     .shape = CropShape,
     .build = BuildCropAndResize},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CropOps() { return kOps; }

}  // namespace savedmodel
