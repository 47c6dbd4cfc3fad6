// A tree of scalar functions in one pass: all functions over a tile, then over the next, so that
// what lies between them stays in the first cache level. The sums of its rows likewise.
#include "src/kernels/math/fused_elementwise.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "src/base/aligned_vector.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/math/reach.h"

namespace savedmodel {
namespace {

constexpr int64_t kTile = kMostSummed;  // of whole rows, where they are summed

// The functions that the attributes hold, checked.
StatusOr<std::vector<FusedFunction>> ReadFunctions(const Attrs& attrs, int num_inputs) {
  const std::vector<int64_t>& program = attrs.Ints("program");
  const auto& parameters = attrs.Get<std::vector<float>>("parameters");
  const size_t n = parameters.size();
  SM_CHECK_ARG(n > 0 && n <= kMostFused && program.size() == 4 * n, "found ", n,
               " parameters and a program of ", program.size(), " numbers, expected 1 to ",
               kMostFused, " functions of four numbers and one parameter");
  std::vector<FusedFunction> functions;
  for (size_t i = 0; i < n; ++i) {
    const int64_t op = program[4 * i];
    SM_CHECK_ARG(op > 0 && op <= static_cast<int64_t>(ScalarOp::kSelect), "found function ", op,
                 ", expected 1 to ", static_cast<int>(ScalarOp::kSelect));
    FusedFunction f{static_cast<ScalarOp>(op), parameters[i]};
    const int64_t earliest = -static_cast<int64_t>(i);
    for (const auto& [at, operand] : {std::pair(1, &f.x), {2, &f.y}, {3, &f.z}}) {
      const int64_t from = program[4 * i + at];
      SM_CHECK_ARG(from >= earliest && from < num_inputs, "found operand ", from, " of function ",
                   i, ", expected ", earliest, " to ", num_inputs - 1);
      *operand = static_cast<int>(from);
    }
    functions.push_back(f);
  }
  return functions;
}

// The shape of the functions' results, and how inputs meet it.
struct Layout {
  Shape shape;
  absl::InlinedVector<Reach, 4> reaches;

  int64_t columns() const { return shape.rank() == 0 ? 1 : shape[shape.rank() - 1]; }
};

// The shape that all inputs broadcast to.
template <class ShapeOf>
StatusOr<Shape> BroadcastAll(int num_inputs, ShapeOf&& input_shape) {
  Shape shape = input_shape(0);
  for (int i = 1; i < num_inputs; ++i) {
    SM_ASSIGN_OR_RETURN(shape, shape::BroadcastShapes(shape, input_shape(i)));
  }
  return shape;
}

// Of all inputs. INVALID_ARGUMENT for those that do not broadcast to each other, for a function
// that has no operand for each element, since those of a tree are all of one shape, and for
// functions of sums, the last `of_sums`, with other operands than sums and numbers.
template <class ShapeOf>
StatusOr<Layout> MakeLayout(const std::vector<FusedFunction>& functions, int of_sums,
                            int num_inputs, ShapeOf&& input_shape) {
  Layout layout;
  SM_ASSIGN_OR_RETURN(layout.shape, BroadcastAll(num_inputs, input_shape));
  for (int i = 0; i < num_inputs; ++i) layout.reaches.emplace_back(input_shape(i), layout.shape);
  const auto step = [&](int operand) { return operand < 0 ? 1 : layout.reaches[operand].step(); };
  for (const FusedFunction& f : functions) {
    SM_CHECK_ARG(step(f.x) + (IsBinary(f.op) ? step(f.y) : 0) > 0, "found a function of inputs ",
                 f.x, " and ", f.y, " that are smaller than all of them, of shape ", layout.shape);
  }
  const int first = static_cast<int>(functions.size()) - of_sums;
  for (auto f = functions.begin() + first; f != functions.end(); ++f) {
    for (const int operand : {f->x, f->y, f->z}) {
      SM_CHECK_ARG(operand < 0 ? operand <= -first : input_shape(operand).num_elements() == 1,
                   "found a function of sums and operand ", operand,
                   ", expected a sum or a single number");
    }
  }
  return layout;
}

// What becomes of the last function's results.
enum class Ending : uint8_t { kAll, kSums, kMeans };

class FusedElementwise final : public Kernel {
 public:
  // `layout`: of inputs of `shapes`; both empty where shapes are not known before a run.
  FusedElementwise(std::vector<FusedFunction> functions, Ending ending, int of_sums,
                   std::vector<Shape> shapes, Layout layout)
      : functions_(std::move(functions)),
        ending_(ending),
        num_before_(functions_.size() - static_cast<size_t>(of_sums)),
        shapes_(std::move(shapes)),
        layout_(std::move(layout)) {
    PlaceResults();
    for (const FusedFunction& f : functions_) cost_ += CostOf(f.op);
  }

  Status Run(OpContext& ctx) const override {
    if (HasShapes(ctx)) return RunAs(ctx, layout_);
    SM_ASSIGN_OR_RETURN(
        const Layout layout,
        MakeLayout(functions_, static_cast<int>(functions_.size() - num_before_), ctx.num_inputs(),
                   [&](int i) -> const Shape& { return ctx.input(i).shape(); }));
    return RunAs(ctx, layout);
  }

 private:
  bool HasShapes(const OpContext& ctx) const {
    for (size_t i = 0; i < shapes_.size(); ++i) {
      if (ctx.input(static_cast<int>(i)).shape() != shapes_[i]) return false;
    }
    return !shapes_.empty();
  }

  Status RunAs(OpContext& ctx, const Layout& layout) const {
    const int64_t n = layout.shape.num_elements();
    const int64_t columns = ending_ == Ending::kAll ? 1 : layout.columns();
    SM_CHECK_ARG(columns >= 1 && columns <= kMostSummed, "found rows of ", columns,
                 ", expected 1 to ", kMostSummed);
    SM_CHECK_ARG(ctx.output(0).num_elements() == n / columns, "found inputs that give ",
                 n / columns, " results, expected ", ctx.output(0).num_elements());
    ctx.ParallelFor(
        n / columns, cost_ * static_cast<double>(columns),
        [&](int64_t begin, int64_t end) { RunPart(ctx, layout, begin * columns, end * columns); });
    return Status();
  }

  // Nanoseconds for an element.
  static double CostOf(ScalarOp op) {
    const bool arithmetic = op <= ScalarOp::kReciprocal || op >= ScalarOp::kAdd;
    return arithmetic && op != ScalarOp::kPow ? 0.1 : 1;
  }

  // Gives each result that is not the output a tile of scratch that nothing reads any more.
  void PlaceResults() {
    const int n = static_cast<int>(functions_.size());
    std::vector<int> last_use(n, -1), free;
    for (int i = 0; i < n; ++i) {
      for (int operand : {functions_[i].x, functions_[i].y, functions_[i].z}) {
        if (operand < 0) last_use[-1 - operand] = i;
      }
    }
    tile_of_.assign(n, 0);
    const bool last_is_output = ending_ == Ending::kAll || num_before_ < functions_.size();
    for (int i = 0; i < n - (last_is_output ? 1 : 0); ++i) {
      // An element may be written over that of an operand.
      for (int source = 0; source < i; ++source) {
        if (last_use[source] == i) free.push_back(tile_of_[source]);
      }
      if (free.empty()) free.push_back(num_tiles_++);
      tile_of_[i] = free.back();
      free.pop_back();
    }
  }

  // Elements [begin, end): whole rows, where they are summed.
  void RunPart(OpContext& ctx, const Layout& layout, int64_t begin, int64_t end) const {
    const auto& reaches = layout.reaches;
    const int64_t columns = ending_ == Ending::kAll ? 1 : layout.columns();
    const int64_t tile = std::min(kTile - kTile % columns, end - begin);
    int64_t floats = num_tiles_ * tile;
    for (const Reach& reach : reaches) floats += reach.Scratch(tile);
    thread_local AlignedVector<float> memory;  // bounded by kMostFused and kTile
    if (static_cast<int64_t>(memory.size()) < floats) memory.resize(floats);

    absl::InlinedVector<const float*, 8> inputs(reaches.size());
    absl::InlinedVector<Reach::Held, 8> held(reaches.size());
    float* scratch = memory.data() + num_tiles_ * tile;
    for (size_t i = 0; i < reaches.size(); ++i) {
      held[i].scratch = scratch;
      scratch += reaches[i].Scratch(tile);
    }
    absl::InlinedVector<ArrayStep, 8> steps(functions_.size());
    for (int64_t at = begin, tile_end = 0; at < end; at = tile_end) {
      tile_end = std::min(at + tile, end);
      for (const Reach& reach : reaches) tile_end = reach.TileEnd(at, tile_end);
      for (size_t i = 0; i < reaches.size(); ++i) {
        inputs[i] = reaches[i].At(ctx.in<float>(static_cast<int>(i)), at, tile_end, tile, &held[i]);
      }
      float* const out = ctx.out<float>(0) + at / columns;
      const int64_t n = tile_end - at;
      const Values values{inputs.data(), memory.data(), tile, out};
      if (ending_ == Ending::kAll) {
        RunFunctions(0, functions_.size(), layout, values, out, n, steps.data());
        continue;
      }
      float* const last = memory.data() + tile_of_[num_before_ - 1] * tile;
      RunFunctions(0, num_before_, layout, values, last, n, steps.data());
      SumRows(last, n / columns, columns, out);
      RunFunctions(num_before_, functions_.size(), layout, values, out, n / columns, steps.data());
    }
  }

  void SumRows(const float* x, int64_t rows, int64_t columns, float* sums) const {
    for (int64_t row = 0; row < rows; ++row) {
      sums[row] = Vectors().sum(x + row * columns, columns);
      if (ending_ == Ending::kMeans) sums[row] /= static_cast<float>(columns);
    }
  }

  // Where the operands of functions over one tile lie.
  struct Values {
    const float* const* inputs;
    float* tiles;  // of `tile` floats each
    int64_t tile;
    const float* sums;
  };

  // Functions [first, end) over n elements of a tile; `last` is the result of the last one.
  void RunFunctions(size_t first, size_t end, const Layout& layout, const Values& values,
                    float* last, int64_t n, ArrayStep* steps) const {
    const auto operand = [&](int from, const float** data, int64_t* step) {
      const size_t result = static_cast<size_t>(-1 - from);  // where it is one
      *data = from >= 0 ? values.inputs[from]
              : first == num_before_ && result + 1 == first
                  ? values.sums
                  : values.tiles + tile_of_[result] * values.tile;
      *step = from < 0 ? 1 : layout.reaches[from].step();
    };
    for (size_t i = first; i < end; ++i) {
      const FusedFunction& f = functions_[i];
      ArrayStep& step = steps[i];
      step.op = f.op;
      step.parameter = f.parameter;
      operand(f.x, &step.x, &step.x_step);
      const bool is_select = f.op == ScalarOp::kSelect;
      if (is_select || IsBinary(f.op)) operand(f.y, &step.y, &step.y_step);
      if (is_select) operand(f.z, &step.z, &step.z_step);
      step.result = i + 1 < end ? values.tiles + tile_of_[i] * values.tile : last;
    }
    Vectors().run_steps(steps + first, static_cast<int>(end - first), n);
  }

  std::vector<FusedFunction> functions_;
  Ending ending_;
  size_t num_before_;  // functions of elements; those of sums follow
  std::vector<Shape> shapes_;
  Layout layout_;
  std::vector<int> tile_of_;  // of each function's result, unless it is the output
  int num_tiles_ = 0;
  double cost_ = 0.2;
};

StatusOr<Shape> BroadcastInputs(const ShapeContext& ctx) {
  return BroadcastAll(ctx.num_inputs(), [&](int i) -> const Shape& { return ctx.input(i); });
}

Status ElementwiseShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(Shape out, BroadcastInputs(ctx));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status ElementwiseSumShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Shape out, BroadcastInputs(ctx));
  if (!out.known_rank()) return Status();
  SM_CHECK_ARG(out.rank() >= 1, "found numbers, expected rows of them");
  const bool keep_dims = ctx.attrs().Bool("keep_dims");
  ctx.set_output(0, keep_dims ? out.WithDim(out.rank() - 1, 1) : out.Slice(0, out.rank() - 1));
  return Status();
}

// The last `of_sums` functions are those of sums.
StatusOr<KernelPtr> Build(BuildContext& build, Ending ending, int64_t of_sums) {
  SM_ASSIGN_OR_RETURN(std::vector<FusedFunction> functions,
                      ReadFunctions(build.attrs(), build.num_inputs()));
  SM_CHECK_ARG(of_sums >= 0 && of_sums < static_cast<int64_t>(functions.size()), "found ", of_sums,
               " functions of sums, expected less than all ", functions.size());
  const int num_of_sums = static_cast<int>(of_sums);
  std::vector<Shape> shapes;
  bool known = true;
  for (int i = 0; i < build.num_inputs(); ++i) {
    shapes.push_back(build.input_shape(i));
    known = known && shapes.back().fully_known();
  }
  Layout layout;
  if (known) {
    SM_ASSIGN_OR_RETURN(layout, MakeLayout(functions, num_of_sums, build.num_inputs(),
                                           [&](int i) -> const Shape& { return shapes[i]; }));
  } else {
    shapes.clear();
  }
  return KernelPtr(new FusedElementwise(std::move(functions), ending, num_of_sums,
                                        std::move(shapes), std::move(layout)));
}

StatusOr<KernelPtr> BuildElementwise(BuildContext& build) { return Build(build, Ending::kAll, 0); }

StatusOr<KernelPtr> BuildElementwiseSum(BuildContext& build) {
  return Build(build, build.attrs().Bool("mean") ? Ending::kMeans : Ending::kSums,
               build.attrs().Int("of_sums"));
}

constexpr OpDef kOps[] = {
    {.signature = "_Elementwise(inputs: N * float) -> (y: float); N: int >= 1; program: list(int); "
                  "parameters: list(float); ops: string = ''",
     .shape = ElementwiseShape,
     .build = BuildElementwise,
     .in_place = InPlace::kAnyInput,
     .per_example = true},
    {.signature = "_ElementwiseSum(inputs: N * float) -> (y: float); N: int >= 1; "
                  "program: list(int); parameters: list(float); ops: string = ''; "
                  "mean: bool = false; keep_dims: bool = false; of_sums: int = 0",
     .shape = ElementwiseSumShape,
     .build = BuildElementwiseSum,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

void SetFunctions(const std::vector<FusedFunction>& functions, Attrs* attrs) {
  std::vector<int64_t> program;
  std::vector<float> parameters;
  for (const FusedFunction& f : functions) {
    program.insert(program.end(), {static_cast<int64_t>(f.op), f.x, f.y, f.z});
    parameters.push_back(f.parameter);
  }
  attrs->Set("program", std::move(program));
  attrs->Set("parameters", std::move(parameters));
}

Span<const OpDef> FusedElementwiseOps() { return kOps; }

}  // namespace savedmodel
