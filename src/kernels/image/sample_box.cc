// Random crops: boxes drawn around objects, and windows drawn from an image.
#include <algorithm>
#include <cmath>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/math/philox.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// An integer of [0, n), without bias.
uint32_t DrawBelow(PhiloxWords& random, uint32_t n) {
  if ((n & (n - 1)) == 0) return random.Next() & (n - 1);
  const uint32_t rejected = UINT32_MAX % n + 1;
  uint32_t word = random.Next();
  while (word < rejected) word = random.Next();
  return word % n;
}

struct Box {
  int64_t left, top, right, bottom;

  float Area() const {
    return right > left && bottom > top ? static_cast<float>((right - left) * (bottom - top)) : 0;
  }
  Box Intersect(const Box& o) const {
    return {std::max(left, o.left), std::max(top, o.top), std::min(right, o.right),
            std::min(bottom, o.bottom)};
  }
};

struct SampleOptions {
  float least_aspect, largest_aspect, least_area, largest_area;
  int64_t max_attempts;
  bool whole_without_boxes;
};

StatusOr<SampleOptions> ParseSample(const Attrs& attrs) {
  const auto& aspect = attrs.Get<std::vector<float>>("aspect_ratio_range");
  const auto& area = attrs.Get<std::vector<float>>("area_range");
  SM_CHECK_ARG(aspect.size() == 2 && area.size() == 2, "aspect_ratio_range and area_range have ",
               aspect.size(), " and ", area.size(), " numbers, expected 2 each");
  SM_CHECK_ARG(
      aspect[0] > 0 && aspect[1] > 0 && area[0] > 0 && area[1] > 0 && area[0] <= 1 && area[1] <= 1,
      "aspect_ratio_range is ", aspect[0], " to ", aspect[1], " and area_range ", area[0], " to ",
      area[1], ", expected numbers above 0, areas of at most 1");
  const int64_t attempts = attrs.Int("max_attempts");
  SM_CHECK_ARG(attempts > 0, "max_attempts is ", attempts, ", expected a number above 0");
  return SampleOptions{aspect[0], aspect[1], area[0],
                       area[1],   attempts,  attrs.Bool("use_image_if_no_bounding_boxes")};
}

// Draws a box of about this aspect within the image; false where rounding leaves none.
bool DrawCrop(int64_t width, int64_t height, float aspect, const SampleOptions& o,
              PhiloxWords& random, Box* crop) {
  const float image = static_cast<float>(width) * static_cast<float>(height);
  const float least = o.least_area * image, largest = o.largest_area * image;
  if (!(least <= largest) || width <= 0 || height <= 0) return false;
  const auto rows = [&](float area) { return int64_t{std::lrintf(std::sqrt(area / aspect))}; };
  const auto columns = [&](int64_t h) {
    return int64_t{std::lrintf(static_cast<float>(h) * aspect)};
  };
  int64_t h = rows(least), max_h = rows(largest);
  if (columns(max_h) > width) {
    constexpr float kEpsilon = 0.0000001f;
    max_h = static_cast<int64_t>((static_cast<double>(width) + 0.5 - kEpsilon) / aspect);
    if (columns(max_h) > width) --max_h;
  }
  max_h = std::min(max_h, height);
  h = std::min(h, max_h);
  if (h < max_h) h += DrawBelow(random, static_cast<uint32_t>(max_h - h + 1));
  const auto area = [&] { return static_cast<float>(h * columns(h)); };
  if (area() < least) ++h;
  if (area() > largest) --h;
  const int64_t w = columns(h);
  if (area() < least || area() > largest || w > width || h > height || w <= 0 || h <= 0) {
    return false;
  }
  const int64_t y = h < height ? DrawBelow(random, static_cast<uint32_t>(height - h)) : 0;
  const int64_t x = w < width ? DrawBelow(random, static_cast<uint32_t>(width - w)) : 0;
  *crop = {x, y, x + w, y + h};
  return true;
}

bool Covers(const Box& crop, const std::vector<Box>& objects, float least) {
  if (crop.Area() < 1) return false;
  return std::any_of(objects.begin(), objects.end(), [&](const Box& object) {
    return object.Area() >= 1 && crop.Intersect(object).Area() / object.Area() >= least;
  });
}

// The objects as boxes of pixels.
StatusOr<std::vector<Box>> ReadObjects(const Tensor& boxes, int64_t height, int64_t width,
                                       bool whole_without_boxes) {
  const float* p = boxes.data<float>();
  std::vector<Box> objects;
  const int64_t n = boxes.num_elements() / 4;
  SM_CHECK_ARG(n > 0 || whole_without_boxes,
               "found no bounding boxes; give some or set use_image_if_no_bounding_boxes");
  for (int64_t i = 0; i < n; ++i, p += 4) {
    for (int k = 0; k < 4; ++k) {
      SM_CHECK_ARG(p[k] >= 0 && p[k] <= 1, "bounding box ", i, " holds ", p[k],
                   ", expected parts of the image in [0, 1]");
    }
    SM_CHECK_ARG(p[2] > p[0] && p[3] > p[1], "bounding box ", i,
                 " is empty, expected y_min < y_max and x_min < x_max");
    const auto pixel = [](float part, int64_t size) {
      return static_cast<int64_t>(part * static_cast<float>(size));
    };
    objects.push_back(
        {pixel(p[1], width), pixel(p[0], height), pixel(p[3], width), pixel(p[2], height)});
  }
  if (objects.empty()) objects.push_back({0, 0, width, height});
  return objects;
}

Status SampleShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 3));
  if (ctx.num_inputs() > 2) SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  const Shape &size = ctx.input(0), &boxes = ctx.input(1);
  SM_CHECK_ARG(!size.fully_known() || size[0] == 3, "image_size has shape ", size,
               ", expected [3]");
  SM_CHECK_ARG(!boxes.known_rank() || boxes[2] == 4 || boxes[2] == -1, "bounding_boxes have shape ",
               boxes, ", expected [batch, boxes, 4]");
  for (int i = 0; i < 2; ++i) ctx.set_output(i, Shape({3}));
  ctx.set_output(2, Shape({1, 1, 4}));
  return Status();
}

Status RunSample(OpContext& ctx, const SampleOptions& o, float least_covered, Philox generator) {
  SM_CHECK_ARG(least_covered >= 0, "min_object_covered is ", least_covered,
               ", expected a number >= 0");
  return VisitDType<kSignedInts | Only(DType::kUInt8)>(
      ctx.input(0).dtype(), [&](auto tag) -> Status {
        using T = typename decltype(tag)::type;
        const T* size = ctx.in<T>(0);
        const auto height = static_cast<int64_t>(size[0]), width = static_cast<int64_t>(size[1]);
        SM_CHECK_ARG(height > 0 && width > 0 && height <= INT32_MAX && width <= INT32_MAX,
                     "the image has ", height, " by ", width, " pixels, expected some");
        SM_ASSIGN_OR_RETURN(const std::vector<Box> objects,
                            ReadObjects(ctx.input(1), height, width, o.whole_without_boxes));
        PhiloxWords random(generator);
        Box crop = {0, 0, width, height};
        bool found = false;
        for (int64_t i = 0; i < o.max_attempts && !found; ++i) {
          if (i % 1024 == 1023) SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
          const float aspect =
              UniformFloat(random.Next()) * (o.largest_aspect - o.least_aspect) + o.least_aspect;
          Box box;
          found = DrawCrop(width, height, aspect, o, random, &box) &&
                  Covers(box, objects, least_covered);
          if (found) crop = box;
        }
        T *begin = ctx.out<T>(0), *extent = ctx.out<T>(1);
        float* part = ctx.out<float>(2);
        begin[0] = static_cast<T>(crop.top), begin[1] = static_cast<T>(crop.left), begin[2] = 0;
        extent[0] = static_cast<T>(crop.bottom - crop.top);
        extent[1] = static_cast<T>(crop.right - crop.left), extent[2] = static_cast<T>(-1);
        part[0] = static_cast<float>(crop.top) / static_cast<float>(height);
        part[1] = static_cast<float>(crop.left) / static_cast<float>(width);
        part[2] = static_cast<float>(crop.bottom) / static_cast<float>(height);
        part[3] = static_cast<float>(crop.right) / static_cast<float>(width);
        return Status();
      });
}

// Versions 1 and 2: the coverage is an attribute or input 2.
StatusOr<KernelPtr> BuildSample(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const SampleOptions options, ParseSample(build.attrs()));
  const float covered = build.attrs().Float("min_object_covered");
  const StatefulPhilox state(build);
  return MakeKernel([options, covered, state](OpContext& ctx) {
    const float least = ctx.num_inputs() > 2 ? *ctx.in<float>(2) : covered;
    // Each attempt draws an aspect, a height and two offsets.
    const auto words = static_cast<uint64_t>(std::min<int64_t>(options.max_attempts, 1 << 20)) * 4;
    return RunSample(ctx, options, least, state.ReserveWords(ctx, words));
  });
}

StatusOr<KernelPtr> BuildStatelessSample(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const SampleOptions options, ParseSample(build.attrs()));
  return MakeKernel([options](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Philox generator, PhiloxFromSeed(ctx.input(3)));
    return RunSample(ctx, options, *ctx.in<float>(2), generator);
  });
}

#define SM_RANGES                                                                           \
  "aspect_ratio_range: list(float) = [0.75, 1.33]; area_range: list(float) = [0.05, 1.0]; " \
  "max_attempts: int = 100; use_image_if_no_bounding_boxes: bool = false"
#define SM_RESULT "(begin: T, size: T, bboxes: float); T: {uint8,int8,int16,int32,int64}; "

constexpr OpDef kOps[] = {
    {.signature = "SampleDistortedBoundingBox(image_size: T, bounding_boxes: float) -> " SM_RESULT
                  "seed: int = 0; seed2: int = 0; min_object_covered: float = 0.1; " SM_RANGES,
     .effects = Effects::kRandom,
     .shape = SampleShape,
     .build = BuildSample},
    {.signature =
         "SampleDistortedBoundingBoxV2(image_size: T, bounding_boxes: float, "
         "min_object_covered: float) -> " SM_RESULT "seed: int = 0; seed2: int = 0; " SM_RANGES,
     .effects = Effects::kRandom,
     .shape = SampleShape,
     .build = BuildSample},
    {.signature =
         "StatelessSampleDistortedBoundingBox(image_size: T, bounding_boxes: float, "
         "min_object_covered: float, seed: Tseed) -> " SM_RESULT "Tseed: {int32,int64}; " SM_RANGES,
     .shape = SampleShape,
     .build = BuildStatelessSample},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SampleBoxOps() { return kOps; }

}  // namespace savedmodel
