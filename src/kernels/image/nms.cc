// Non-maximum suppression: the best boxes that do not overlap too much.
#include <algorithm>
#include <cmath>
#include <queue>
#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// A box (y, x, y, x), whose corners come in any order.
template <class T>
struct Box {
  T top, left, bottom, right, area;
};

template <class T>
std::vector<Box<T>> ReadBoxes(const T* corners, int64_t n) {
  std::vector<Box<T>> boxes(static_cast<size_t>(n));
  for (Box<T>& box : boxes) {
    box.top = std::min(corners[0], corners[2]), box.left = std::min(corners[1], corners[3]);
    box.bottom = std::max(corners[0], corners[2]), box.right = std::max(corners[1], corners[3]);
    box.area = (box.bottom - box.top) * (box.right - box.left);
    corners += 4;
  }
  return boxes;
}

// How far boxes overlap, intersection over union, with those that were selected.
template <class T>
class BoxOverlaps {
 public:
  // Box i is boxes[i * stride].
  explicit BoxOverlaps(const Box<T>* boxes, int64_t stride = 1) : boxes_(boxes), stride_(stride) {}

  void Select(int64_t i) {
    const Box<T>& box = boxes_[i * stride_];
    const size_t at = static_cast<size_t>(count_++ % kBlock);
    if (at == 0) blocks_.emplace_back();
    Block& block = blocks_.back();
    block.top[at] = box.top, block.left[at] = box.left;
    block.bottom[at] = box.bottom, block.right[at] = box.right;
    block.area[at] = box.area;
  }

  // Of box `i` with the selected number `j`.
  T Of(int64_t i, int64_t j) const {
    return Overlap(boxes_[i * stride_], blocks_[static_cast<size_t>(j / kBlock)],
                   static_cast<size_t>(j % kBlock));
  }

  // Whether one of them, with box `i`, is above `limit`, which is not negative.
  bool AnyAbove(int64_t i, T limit) const {
    const Box<T> box = boxes_[i * stride_];
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
      int above = 0;
      for (size_t k = 0; k < kBlock; ++k) above |= Overlap(box, *block, k) > limit;
      if (above != 0) return true;
    }
    return false;
  }

 private:
  static constexpr int64_t kBlock = 8;
  // Coordinate by coordinate, so that all of a block are computed at once; at first without area.
  struct Block {
    T top[kBlock] = {}, left[kBlock] = {}, bottom[kBlock] = {}, right[kBlock] = {};
    T area[kBlock] = {};
  };

  [[gnu::always_inline]] static inline T Overlap(const Box<T>& a, const Block& b, size_t k) {
    const T height = std::max(std::min(a.bottom, b.bottom[k]) - std::max(a.top, b.top[k]), T(0));
    const T width = std::max(std::min(a.right, b.right[k]) - std::max(a.left, b.left[k]), T(0));
    const T both = height * width, overlap = both / (a.area + b.area[k] - both);
    return a.area <= T(0) || b.area[k] <= T(0) ? T(0) : overlap;
  }

  const Box<T>* const boxes_;
  const int64_t stride_;
  std::vector<Block> blocks_;
  int64_t count_ = 0;
};

// The same of boxes whose overlaps are given.
class GivenOverlaps {
 public:
  GivenOverlaps(const float* overlaps, int64_t n) : overlaps_(overlaps), n_(n) {}

  void Select(int64_t i) { selected_.push_back(i); }
  float Of(int64_t i, int64_t j) const {
    return overlaps_[i * n_ + selected_[static_cast<size_t>(j)]];
  }
  bool AnyAbove(int64_t i, float limit) const {
    return std::any_of(selected_.begin(), selected_.end(),
                       [&](int64_t j) { return overlaps_[i * n_ + j] > limit; });
  }

 private:
  const float* const overlaps_;
  const int64_t n_;
  std::vector<int64_t> selected_;
};

template <class T>
struct Limits {
  int64_t max_output = 0;
  T overlap = T(0);
  T score = T(0);
  T soft_sigma = T(0);  // above 0: overlapping boxes lose score instead of being dropped
};

template <class T>
struct Selected {
  int32_t box;
  T score;
};

template <class T>
struct Candidate {
  int32_t box;
  T score;
  int64_t checked;  // against this many selected boxes

  bool operator<(const Candidate& other) const {
    return score < other.score || (score == other.score && box > other.box);
  }
};

// Boxes [0, n) by falling score; `score(i)` is that of one.
template <class T, class Overlaps, class ScoreFn>
std::vector<Selected<T>> Suppress(int64_t n, const Limits<T>& limits, Overlaps overlaps,
                                  ScoreFn score) {
  std::vector<Candidate<T>> start;
  for (int64_t i = 0; i < n; ++i) {
    // NaN compares false and is left out.
    if (score(i) > limits.score) start.push_back({static_cast<int32_t>(i), score(i), 0});
  }
  std::priority_queue<Candidate<T>> queue(std::less<Candidate<T>>(), std::move(start));
  const bool soft = limits.soft_sigma > T(0);
  const T factor = soft ? T(-0.5f) / limits.soft_sigma : T(0);
  std::vector<Selected<T>> selected;
  while (static_cast<int64_t>(selected.size()) < limits.max_output && !queue.empty()) {
    Candidate<T> next = queue.top();
    queue.pop();
    if (!soft && overlaps.AnyAbove(next.box, limits.overlap)) continue;
    const T original = next.score;
    const int64_t count = static_cast<int64_t>(selected.size());
    for (int64_t j = count - 1; soft && j >= next.checked; --j) {
      const T common = overlaps.Of(next.box, j);
      const T weight = T(std::exp(static_cast<float>(factor * common * common)));
      next.score = next.score * weight;
      if (next.score <= limits.score) break;
    }
    next.checked = count;
    if (next.score == original) {
      selected.push_back({next.box, next.score});
      overlaps.Select(next.box);
    } else if (next.score > limits.score) {
      queue.push(next);
    }
  }
  return selected;
}

// ------------------------------------------------------------------------------- versions 1 to 5

// Whether outputs are padded to max_output_size is an attribute of versions 4 and 5.
Status NmsShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  for (int i = 2; i < ctx.num_inputs(); ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  const Shape &boxes = ctx.input(0), &scores = ctx.input(1);
  SM_CHECK_ARG(!boxes.known_rank() || boxes[1] == 4 || boxes[1] == -1, "boxes have shape ", boxes,
               ", expected [boxes, 4]");
  SM_CHECK_ARG(!boxes.fully_known() || !scores.fully_known() || boxes[0] == scores[0],
               "boxes and scores have shapes ", boxes, " and ", scores, ", expected as many");
  int64_t size = -1;
  if (!ctx.attrs().Bool("pad_to_max_output_size") || !ctx.IntValue(2, &size)) size = -1;
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, Shape({size}));
  if (ctx.num_outputs() > 1) ctx.set_output(ctx.num_outputs() - 1, Shape());
  return Status();
}

template <class T>
Status CheckLimits(const Limits<T>& limits) {
  SM_CHECK_ARG(limits.max_output >= 0, "max_output_size is ", limits.max_output,
               ", expected a number >= 0");
  SM_CHECK_ARG(limits.overlap >= T(0) && limits.overlap <= T(1), "iou_threshold is ",
               static_cast<float>(limits.overlap), ", expected a number in [0, 1]");
  return Status();
}

// The scalar of input `i`, half or float.
template <class T>
T ScalarInput(const OpContext& ctx, int i) {
  if (const half* h = ctx.in<half>(i)) return T(static_cast<float>(*h));
  return T(*ctx.in<float>(i));
}

// Writes indices, then scores for version 5, then the number of valid ones for versions 4 and 5.
template <class T>
Status StoreSelected(OpContext& ctx, const std::vector<Selected<T>>& selected, int64_t size) {
  const int64_t n = static_cast<int64_t>(selected.size());
  const int outputs = ctx.num_outputs();
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, Shape({size})));
  int32_t* index = ctx.out<int32_t>(0);
  for (int64_t i = 0; i < size; ++i) index[i] = i < n ? selected[i].box : 0;
  if (outputs == 3) {
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, Shape({size})));
    T* score = ctx.out<T>(1);
    for (int64_t i = 0; i < size; ++i) score[i] = i < n ? selected[i].score : T(0);
  }
  if (outputs > 1) {
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(outputs - 1, Shape()));
    *ctx.out<int32_t>(outputs - 1) = static_cast<int32_t>(n);
  }
  return Status();
}

// Versions differ by their inputs: 2 brings the threshold as one, 3 the least score, 5 the sigma.
StatusOr<KernelPtr> BuildNms(BuildContext& build) {
  const bool pad = build.attrs().Bool("pad_to_max_output_size");
  const float iou_attr = build.attrs().Float("iou_threshold");
  return MakeKernel([pad, iou_attr](OpContext& ctx) -> Status {
    constexpr DTypeSet kTypes = Only(DType::kFloat) | Only(DType::kHalf);
    return VisitDType<kTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const int inputs = ctx.num_inputs();
      Limits<T> limits;
      limits.max_output = ctx.IntInput(2);
      limits.overlap = inputs > 3 ? ScalarInput<T>(ctx, 3) : T(iou_attr);
      limits.score = inputs > 4 ? ScalarInput<T>(ctx, 4) : T(-INFINITY);
      limits.soft_sigma = inputs > 5 ? ScalarInput<T>(ctx, 5) : T(0);
      SM_RETURN_IF_ERROR(CheckLimits(limits));
      SM_CHECK_ARG(limits.soft_sigma >= T(0), "soft_nms_sigma is ",
                   static_cast<float>(limits.soft_sigma), ", expected a number >= 0");
      const T* scores = ctx.in<T>(1);
      const int64_t wanted = limits.max_output, n = ctx.input(0).shape()[0];
      limits.max_output = std::min(wanted, n);
      const std::vector<Box<T>> boxes = ReadBoxes(ctx.in<T>(0), n);
      const auto selected = Suppress<T>(n, limits, BoxOverlaps<T>(boxes.data()),
                                        [&](int64_t i) { return scores[i]; });
      return StoreSelected(ctx, selected, pad ? wanted : static_cast<int64_t>(selected.size()));
    });
  });
}

Status OverlapsShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  for (int i = 2; i < 5; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  const Shape &overlaps = ctx.input(0), &scores = ctx.input(1);
  SM_CHECK_ARG(!overlaps.fully_known() || overlaps[0] == overlaps[1], "overlaps have shape ",
               overlaps, ", expected a square");
  SM_CHECK_ARG(!overlaps.fully_known() || !scores.fully_known() || overlaps[0] == scores[0],
               "overlaps and scores have shapes ", overlaps, " and ", scores,
               ", expected as many boxes");
  ctx.set_output(0, Shape({-1}));
  return Status();
}

Status NmsWithOverlaps(OpContext& ctx) {
  const float *overlaps = ctx.in<float>(0), *scores = ctx.in<float>(1);
  const int64_t n = ctx.input(1).shape()[0];
  const int64_t wanted = ctx.IntInput(2);
  SM_CHECK_ARG(wanted >= 0, "max_output_size is ", wanted, ", expected a number >= 0");
  const Limits<float> limits = {std::min(wanted, n), *ctx.in<float>(3), *ctx.in<float>(4), 0};
  const auto selected =
      Suppress<float>(n, limits, GivenOverlaps(overlaps, n), [&](int64_t i) { return scores[i]; });
  return StoreSelected(ctx, selected, static_cast<int64_t>(selected.size()));
}

// --------------------------------------------------------------------- CombinedNonMaxSuppression

// boxes [batch, boxes, classes or 1, 4] and scores [batch, boxes, classes].
Status CombinedShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 3));
  for (int i = 2; i < 6; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  const Shape &boxes = ctx.input(0), &scores = ctx.input(1);
  if (!boxes.fully_known() || !scores.fully_known()) return Status();
  SM_CHECK_ARG(boxes[0] == scores[0] && boxes[1] == scores[1] && boxes[3] == 4 &&
                   (boxes[2] == 1 || boxes[2] == scores[2]),
               "boxes and scores have shapes ", boxes, " and ", scores,
               ", expected [batch, boxes, classes or 1, 4] and [batch, boxes, classes]");
  int64_t per_class = 0, total = 0;
  if (!ctx.IntValue(2, &per_class) || !ctx.IntValue(3, &total)) return Status();
  SM_CHECK_ARG(per_class > 0 && total > 0, "found max_output_size_per_class ", per_class,
               " and max_total_size ", total, ", expected numbers above 0");
  int64_t size = total;
  if (ctx.attrs().Bool("pad_per_class")) size = std::min(total, per_class * scores[2]);
  ctx.set_output(0, Shape({boxes[0], size, 4}));
  for (int i = 1; i < 3; ++i) ctx.set_output(i, Shape({boxes[0], size}));
  ctx.set_output(3, Shape({boxes[0]}));
  return Status();
}

struct Detection {
  const float* box;
  float score;
  int64_t class_id;
};

// The detections of one image, best first.
std::vector<Detection> Detect(const float* boxes, const float* scores, int64_t n, int64_t q,
                              int64_t classes, const Limits<float>& limits) {
  std::vector<Detection> found;
  const std::vector<Box<float>> all = ReadBoxes(boxes, n * q);
  for (int64_t c = 0; c < classes; ++c) {
    const int64_t first = q == 1 ? 0 : c;
    for (const Selected<float>& s :
         Suppress<float>(n, limits, BoxOverlaps<float>(all.data() + first, q),
                         [&](int64_t i) { return scores[i * classes + c]; })) {
      found.push_back({boxes + (s.box * q + first) * 4, s.score, c});
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  return found;
}

StatusOr<KernelPtr> BuildCombinedNms(BuildContext& build) {
  const bool clip = build.attrs().Bool("clip_boxes");
  return MakeKernel([clip](OpContext& ctx) -> Status {
    const Shape& scores = ctx.input(1).shape();
    const int64_t n = scores[1], classes = scores[2], q = ctx.input(0).shape()[2];
    const int64_t size = ctx.output(1).shape()[1];
    Limits<float> limits = {std::min(ctx.IntInput(2), n), *ctx.in<float>(4), *ctx.in<float>(5), 0};
    SM_RETURN_IF_ERROR(CheckLimits(limits));
    float *boxes = ctx.out<float>(0), *kept = ctx.out<float>(1), *ids = ctx.out<float>(2);
    for (int i = 0; i < 3; ++i) {
      std::fill_n(ctx.out<float>(i), ctx.output(i).num_elements(), 0.0f);
    }
    for (int64_t b = 0; b < scores[0]; ++b) {
      SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
      const std::vector<Detection> found =
          Detect(ctx.in<float>(0) + b * n * q * 4, ctx.in<float>(1) + b * n * classes, n, q,
                 classes, limits);
      const int64_t valid = std::min<int64_t>(size, static_cast<int64_t>(found.size()));
      ctx.out<int32_t>(3)[b] = static_cast<int32_t>(valid);
      for (int64_t i = 0; i < valid; ++i) {
        kept[b * size + i] = found[i].score;
        ids[b * size + i] = static_cast<float>(found[i].class_id);
        for (int k = 0; k < 4; ++k) {
          const float v = found[i].box[k];
          boxes[(b * size + i) * 4 + k] = clip ? std::max(std::min(v, 1.0f), 0.0f) : v;
        }
      }
    }
    return Status();
  });
}

#define SM_BOXES(version) "NonMaxSuppression" version "(boxes: T, scores: T, max_output_size: int32"
#define SM_TYPES "T: {half,float} = float"
#define SM_THRESHOLD "; T_threshold: {half,float} = float"

constexpr OpDef kOps[] = {
    {.signature = "CombinedNonMaxSuppression(boxes: float, scores: float, "
                  "max_output_size_per_class: int32, max_total_size: int32, iou_threshold: float, "
                  "score_threshold: float) -> (nmsed_boxes: float, nmsed_scores: float, "
                  "nmsed_classes: float, valid_detections: int32); pad_per_class: bool = false; "
                  "clip_boxes: bool = true",
     .shape = CombinedShape,
     .build = BuildCombinedNms},
    {.signature = "NonMaxSuppression(boxes: float, scores: float, max_output_size: int32) -> "
                  "(selected_indices: int32); iou_threshold: float = 0.5",
     .shape = NmsShape,
     .build = BuildNms},
    {.signature = SM_BOXES(
         "V2") ", iou_threshold: T_threshold) -> (selected_indices: int32); " SM_TYPES SM_THRESHOLD,
     .shape = NmsShape,
     .build = BuildNms},
    {.signature = SM_BOXES("V3") ", iou_threshold: T_threshold, score_threshold: T_threshold) -> "
                                 "(selected_indices: int32); " SM_TYPES SM_THRESHOLD,
     .shape = NmsShape,
     .build = BuildNms},
    {.signature =
         SM_BOXES("V4") ", iou_threshold: T_threshold, score_threshold: T_threshold) -> "
                        "(selected_indices: int32, valid_outputs: int32); " SM_TYPES SM_THRESHOLD
                        "; pad_to_max_output_size: bool = false",
     .shape = NmsShape,
     .build = BuildNms},
    {.signature = SM_BOXES(
         "V5") ", iou_threshold: T, score_threshold: T, soft_nms_sigma: T) -> "
               "(selected_indices: int32, selected_scores: T, valid_outputs: int32); " SM_TYPES
               "; pad_to_max_output_size: bool = false",
     .shape = NmsShape,
     .build = BuildNms},
    {.signature = "NonMaxSuppressionWithOverlaps(overlaps: float, scores: float, "
                  "max_output_size: int32, overlap_threshold: float, score_threshold: float) -> "
                  "(selected_indices: int32)",
     .shape = OverlapsShape,
     .build = BuildPlain<NmsWithOverlaps>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> NmsOps() { return kOps; }

}  // namespace savedmodel
