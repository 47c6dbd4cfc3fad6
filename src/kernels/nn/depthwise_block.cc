// A convolution that widens, a depthwise one and perhaps a pointwise one that narrows, a few rows
// at a time: the wide values stay in the cache.
#include <algorithm>
#include <type_traits>
#include <vector>

#include "src/base/aligned_vector.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/kernels/nn/conv_float.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/windows.h"

namespace savedmodel {
namespace {

// One of the convolutions.
struct Stage {
  int filter = -1, scale = -1;  // inputs; -1 for none
  std::vector<EpilogueStep> steps;
  PackedMatrices packed;  // of all but the depthwise one
};

struct Block {
  Stage expand, depthwise, project;
  WindowAttrs expand_attrs, attrs;  // of the first and of the depthwise one
};

Status ReadWindows(const Attrs& attrs, Block* block) {
  SM_ASSIGN_OR_RETURN(block->attrs, ReadWindowAttrs(attrs, 2));
  Attrs expand;
  for (const std::string name : {"strides", "padding", "explicit_paddings"}) {
    if (const AttrValue* value = attrs.Find("expand_" + name)) expand.Set(name, *value);
  }
  SM_ASSIGN_OR_RETURN(block->expand_attrs, ReadWindowAttrs(expand, 2));
  return Status();
}

// As src/optimizer/depthwise_block.cc writes it: input of filter and scale, number of steps; op,
// operand and its side for each step.
Status ReadStages(const Attrs& attrs, int num_inputs, Block* block) {
  const std::vector<int64_t>& list = attrs.Ints("stages");
  const std::vector<float>& parameters = attrs.Get<std::vector<float>>("parameters");
  size_t at = 0, parameter = 0;
  const auto next = [&](int64_t least, int64_t most, auto* value) -> Status {
    SM_CHECK_ARG(at < list.size() && list[at] >= least && list[at] <= most, "found no number from ",
                 least, " to ", most, " at ", at, " of the stages");
    *value = static_cast<std::remove_pointer_t<decltype(value)>>(list[at++]);
    return Status();
  };
  for (Stage* stage : {&block->expand, &block->depthwise, &block->project}) {
    int64_t steps = 0;
    SM_RETURN_IF_ERROR(next(-1, num_inputs - 1, &stage->filter));
    SM_RETURN_IF_ERROR(next(-1, num_inputs - 1, &stage->scale));
    SM_RETURN_IF_ERROR(next(0, static_cast<int64_t>(list.size()), &steps));
    for (int64_t i = 0; i < steps; ++i) {
      EpilogueStep step;
      int64_t op = 0;
      SM_RETURN_IF_ERROR(next(0, static_cast<int64_t>(ScalarOp::kPow), &op));
      SM_RETURN_IF_ERROR(next(-1, num_inputs - 1, &step.operand));
      SM_RETURN_IF_ERROR(next(0, 1, &step.operand_first));
      SM_CHECK_ARG(parameter < parameters.size(), "found too few parameters of steps");
      step.op = static_cast<ScalarOp>(op);
      step.parameter = parameters[parameter++];
      stage->steps.push_back(step);
    }
  }
  SM_CHECK_ARG(block->expand.filter > 0 && block->depthwise.filter > 0,
               "found no filters for the first two stages");
  return Status();
}

// Takes the windows from the filters, and gives the shape of the wide values.
StatusOr<Shape> TakeFilters(const Shape& x, Span<const Shape> filters, Block* block) {
  const Shape &expand = filters[0], &depthwise = filters[1], &project = filters[2];
  SM_CHECK_ARG(expand.fully_known() && expand.rank() == 4 && expand.num_elements() > 0 &&
                   expand[2] == x[3] && depthwise.fully_known() && depthwise.rank() == 4 &&
                   depthwise.num_elements() > 0 && depthwise[2] == expand[3] && depthwise[3] == 1 &&
                   (block->project.filter < 0 ||
                    (project.fully_known() && project.rank() == 4 && project[0] == 1 &&
                     project[1] == 1 && project[2] == expand[3])),
               "found filters ", expand, ", ", depthwise, ", ", project, ", which do not fit ", x);
  block->expand_attrs.window = {1, expand[0], expand[1]};
  block->attrs.window = {1, depthwise[0], depthwise[1]};
  return WindowOutputShape(block->expand_attrs, x, expand[3]);
}

Status BlockShape(ShapeContext& ctx) {
  Block block;
  SM_RETURN_IF_ERROR(ReadStages(ctx.attrs(), ctx.num_inputs(), &block));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  const Shape& x = ctx.input(0);
  if (!x.fully_known()) return Status();
  SM_RETURN_IF_ERROR(ReadWindows(ctx.attrs(), &block));
  const bool narrows = block.project.filter >= 0;
  const Shape filters[] = {ctx.input(block.expand.filter), ctx.input(block.depthwise.filter),
                           narrows ? ctx.input(block.project.filter) : Shape()};
  SM_ASSIGN_OR_RETURN(const Shape wide, TakeFilters(x, filters, &block));
  const int64_t channels = narrows ? filters[2][3] : filters[0][3];
  SM_ASSIGN_OR_RETURN(Shape out, WindowOutputShape(block.attrs, wide, channels));
  ctx.set_output(0, std::move(out));
  return Status();
}

// One run.
class BlockRun {
 public:
  // `g` is the depthwise convolution's, `windows` are the first one's.
  BlockRun(OpContext& ctx, const Block& block, const WindowGeometry& g, const Windows& windows)
      : ctx_(ctx), block_(block), g_(g), windows_(windows), wide_(g.channels) {}

  Status Run() {
    const Shape wide({1, 1, 2, wide_});  // more than one pixel: operands are of columns
    SM_RETURN_IF_ERROR(expand_.Resolve(ctx_, block_.expand.steps, wide));
    SM_RETURN_IF_ERROR(depthwise_.Resolve(ctx_, block_.depthwise.steps, wide));
    const Shape& out = ctx_.output(0).shape();
    channels_ = out[3];
    SM_RETURN_IF_ERROR(project_.Resolve(ctx_, block_.project.steps, out));
    // Strips of rows; where two meet, the wide rows that both read are made twice.
    constexpr int64_t kLeastRows = 6;
    const int64_t threads = ctx_.run().pool == nullptr ? 1 : ctx_.run().pool->num_threads();
    const int64_t strips =
        g_.batch >= threads ? 1 : std::clamp<int64_t>(g_.out[1] / kLeastRows, 1, threads);
    const double cost = 0.03 * static_cast<double>(g_.out_pixels() / strips) *
                        static_cast<double>(wide_) *
                        static_cast<double>(expand_depth() + g_.taps() + channels_);
    ctx_.ParallelFor(g_.batch * strips, cost, [&](int64_t begin, int64_t end) {
      for (int64_t job = begin; job < end; ++job) {
        const int64_t strip = job % strips;
        RunStrip(job / strips, g_.out[1] * strip / strips, g_.out[1] * (strip + 1) / strips);
      }
    });
    return Status();
  }

 private:
  static constexpr int64_t kRows = 4;  // of the output at a time

  struct Scratch {
    AlignedVector<float> ring, narrow;
    std::vector<const float*> rows;
  };

  void RunStrip(int64_t image, int64_t begin, int64_t end) const {
    thread_local Scratch scratch;
    const int64_t stride = g_.stride[1], window = g_.window[1];
    const int64_t held = window + (kRows - 1) * stride;  // rows
    const int64_t row_floats = g_.in[2] * wide_;
    const auto grow = [](auto* v, int64_t n) {
      if (static_cast<int64_t>(v->size()) < n) v->resize(n);
    };
    const bool narrows = block_.project.filter >= 0;
    grow(&scratch.ring, held * row_floats);
    if (narrows) grow(&scratch.narrow, kRows * g_.out[2] * wide_);
    grow(&scratch.rows, held);
    float* const ring = scratch.ring.data();
    int64_t made = std::max<int64_t>(0, begin * stride - g_.before[1]);  // rows before this one
    for (int64_t row = begin; row < end; row += kRows) {
      const int64_t rows = std::min(kRows, end - row);
      const int64_t top = row * stride - g_.before[1];
      const int64_t bottom = std::min(g_.in[1], top + (rows - 1) * stride + window);
      for (int64_t end_of_made = 0; made < bottom; made = end_of_made) {
        end_of_made = std::min(bottom, (made / held + 1) * held);  // at the end of the ring
        Expand(image, made, end_of_made, ring + made % held * row_floats);
      }
      for (int64_t i = 0; i < held; ++i) {
        const int64_t h = top + i;
        scratch.rows[i] = h < 0 || h >= bottom ? nullptr : ring + h % held * row_floats;
      }
      const int64_t pixel = (image * g_.out[1] + row) * g_.out[2];
      float* wide = narrows ? scratch.narrow.data() : ctx_.out<float>(0) + pixel * wide_;
      Depthwise(scratch.rows.data(), rows, wide);
      if (narrows) Project(wide, pixel, rows * g_.out[2]);
    }
  }

  int64_t expand_depth() const { return windows_.taps() * windows_.depth(); }

  void Expand(int64_t image, int64_t row, int64_t end, float* y) const {
    const int64_t first = (image * g_.in[1] + row) * g_.in[2];
    const auto runs = [&](int64_t begin, int64_t end, const float** out) {
      windows_.FindRuns(0, first + begin, first + end, out);
    };
    const auto find_alike = [&](int64_t begin, int64_t end, const float** first_runs) {
      return windows_.FindAlike(first + begin, first + end, first_runs);
    };
    const Product::FindAlike alike(find_alike);
    RunProductSerially({.rows = (end - row) * g_.in[2],
                        .columns = wide_,
                        .taps = windows_.taps(),
                        .depth = windows_.depth(),
                        .runs = runs,
                        .distances = windows_.distances(),
                        .alike = &alike,
                        .packed = block_.expand.packed->data(),
                        .c = y,
                        .c_stride = wide_,
                        .epilogue = &expand_,
                        .is_part = true});
  }

  void Depthwise(const float* const* rows, int64_t out_rows, float* y) const {
    DepthwiseArgs args{.rows = rows,
                       .rows_stride = g_.stride[1],
                       .out_rows = static_cast<int>(out_rows),
                       .window_rows = g_.window[1],
                       .window_columns = g_.window[2],
                       .channels = wide_,
                       .in_width = g_.in[2],
                       .out_width = g_.out[2],
                       .stride = g_.stride[2],
                       .left = -g_.before[2],
                       .column_step = wide_,
                       .out_row_step = g_.out[2] * wide_,
                       .filter = ctx_.in<float>(block_.depthwise.filter),
                       .out = y,
                       .bias = depthwise_.bias};
    const VectorStep* step = depthwise_.steps.data();
    const VectorStep* const end = step + depthwise_.steps.size();
    TakeLimits(&step, end, &args.low, &args.high);
    Vectors().depthwise(args);
    if (step == end) return;
    Vectors().apply(step, static_cast<int>(end - step), y, wide_, 0, out_rows * g_.out[2], wide_);
  }

  void Project(const float* x, int64_t first_pixel, int64_t pixels) const {
    const Epilogue epilogue = project_.FromRow(first_pixel);
    const EvenRuns runs{x, wide_};
    RunProductSerially({.rows = pixels,
                        .columns = channels_,
                        .depth = wide_,
                        .runs = runs,
                        .packed = block_.project.packed->data(),
                        .c = ctx_.out<float>(0) + first_pixel * channels_,
                        .c_stride = channels_,
                        .epilogue = &epilogue,
                        .is_part = true});
  }

  OpContext& ctx_;
  const Block& block_;
  const WindowGeometry& g_;
  const Windows& windows_;
  const int64_t wide_;
  int64_t channels_ = 0;
  Epilogue expand_, depthwise_, project_;
};

Status RunBlock(OpContext& ctx, Block block) {
  if (ctx.output(0).num_elements() == 0) return Status();
  const Shape& x = ctx.input(0).shape();
  const Shape filters[] = {
      ctx.input(block.expand.filter).shape(), ctx.input(block.depthwise.filter).shape(),
      block.project.filter < 0 ? Shape() : ctx.input(block.project.filter).shape()};
  SM_ASSIGN_OR_RETURN(const Shape wide, TakeFilters(x, filters, &block));
  SM_ASSIGN_OR_RETURN(const WindowGeometry expand, ResolveWindow(block.expand_attrs, x));
  SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(block.attrs, wide));
  SM_ASSIGN_OR_RETURN(const Windows windows, Windows::Make(ctx, expand, x[3], ctx.in<float>(0)));
  return BlockRun(ctx, block, g, windows).Run();
}

StatusOr<KernelPtr> BuildBlock(BuildContext& build) {
  Block block;
  SM_RETURN_IF_ERROR(ReadWindows(build.attrs(), &block));
  SM_RETURN_IF_ERROR(ReadStages(build.attrs(), build.num_inputs(), &block));
  SM_CHECK_ARG(block.attrs.stride[1] == block.attrs.stride[2], "found strides ",
               block.attrs.stride[1], " and ", block.attrs.stride[2]);
  for (Stage* stage : {&block.expand, &block.project}) {
    if (stage->filter < 0) continue;
    const Tensor* filter = build.constant_input(stage->filter);
    SM_CHECK_ARG(filter != nullptr && filter->shape().rank() == 4 && filter->num_elements() > 0,
                 "found a filter that is not constant, or not of rank 4");
    const Tensor* scale = stage->scale < 0 ? nullptr : build.constant_input(stage->scale);
    SM_CHECK_ARG(stage->scale < 0 || scale != nullptr, "found a scale that is not constant");
    SM_ASSIGN_OR_RETURN(stage->packed, PackFilter(build, stage->filter, scale, 1));
  }
  return MakeKernel([block](OpContext& ctx) { return RunBlock(ctx, block); });
}

constexpr OpDef kOps[] = {
    {.signature = "_DepthwiseBlock(inputs: N * float) -> (output: float); N: int >= 3; "
                  "stages: list(int); parameters: list(float); strides: list(int); "
                  "padding: {'SAME','VALID','EXPLICIT'}; explicit_paddings: list(int) = []; "
                  "expand_strides: list(int); expand_padding: {'SAME','VALID','EXPLICIT'}; "
                  "expand_explicit_paddings: list(int) = []",
     .shape = BlockShape,
     .build = BuildBlock,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> DepthwiseBlockOps() { return kOps; }

}  // namespace savedmodel
