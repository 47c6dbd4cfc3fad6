// Loops over functions: While and For.
#include <cstring>
#include <utility>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/control/callee.h"
#include "src/kernels/control/control_ops.h"
#include "src/kernels/control/loop.h"
#include "src/kernels/state/keep_input.h"

namespace savedmodel {
namespace {

// Shapes of the loop variables that hold before and after any number of turns of `body`, which
// takes `leading` scalars in front of them; the node's inputs have them from `first` on.
Status LoopShapes(ShapeContext& ctx, int first, int leading) {
  constexpr int kMostRounds = 8;
  const FuncAttr& body = ctx.attrs().Get<FuncAttr>("body");
  std::vector<Shape> shapes = InputShapesFrom(ctx, first);
  for (int round = 0;; ++round) {
    std::vector<Shape> arguments(leading);
    arguments.insert(arguments.end(), shapes.begin(), shapes.end());
    const auto next = ctx.InferFunction(body, arguments);
    if (!next.ok() || next->size() != shapes.size()) return Status();  // the kernel reports it
    bool changed = false;
    for (size_t i = 0; i < shapes.size(); ++i) {
      Shape wider = shapes[i].Generalize((*next)[i]);
      if (wider == shapes[i]) continue;
      changed = true;
      shapes[i] = round < kMostRounds ? std::move(wider) : Shape::Unknown();
    }
    if (!changed) break;
  }
  for (size_t i = 0; i < shapes.size(); ++i) ctx.set_output(static_cast<int>(i), shapes[i]);
  return Status();
}

// The loop variables must keep the dtypes that the node declares.
Status CheckVariables(OpContext& ctx, const std::vector<Tensor>& variables) {
  for (size_t i = 0; i < variables.size(); ++i) {
    const DType expected = ctx.output_dtype(static_cast<int>(i));
    SM_CHECK_ARG(variables[i].dtype() == expected, "the loop body returned dtype ",
                 variables[i].dtype(), " for variable ", i, ", expected ", expected);
  }
  return Status();
}

StatusOr<std::vector<Tensor>> TakeVariables(OpContext& ctx, int first) {
  std::vector<Tensor> variables(ctx.num_outputs());
  for (size_t i = 0; i < variables.size(); ++i) {
    SM_ASSIGN_OR_RETURN(variables[i], KeepInput(ctx, first + static_cast<int>(i)));
  }
  return variables;
}

Status SetOutputs(OpContext& ctx, std::vector<Tensor> variables) {
  for (size_t i = 0; i < variables.size(); ++i) {
    ctx.set_output(static_cast<int>(i), std::move(variables[i]));
  }
  return Status();
}

// A while loop, compiled.
struct WhileLoop {
  Callee cond, body;
  // Variables that go back and forth between two places: they are small, have one shape, and
  // nothing keeps them. The others are handed from turn to turn.
  std::vector<bool> placed;
  std::vector<Shape> shapes;
  bool any_placed = false;

  void ChoosePlaced(const std::vector<DType>& dtypes) {
    // Larger ones are worth being changed in place.
    constexpr int64_t kMostBytes = 4096;
    // There are two frames.
    constexpr int64_t kMostArenaBytes = 128 << 10;
    placed.assign(shapes.size(), false);
    if (body.function == nullptr || body.function->arena_bytes() > kMostArenaBytes) return;
    for (size_t i = 0; i < shapes.size(); ++i) {
      const int v = static_cast<int>(i);
      placed[i] =
          IsPlainData(dtypes[i]) && shapes[i].fully_known() &&
          shapes[i].num_elements() <= kMostBytes / static_cast<int64_t>(DTypeSize(dtypes[i])) &&
          body.function->CanBind(v) && !body.function->KeepsArgument(v) &&
          !cond.function->KeepsArgument(v);
      any_placed = any_placed || placed[i];
    }
  }
};

// The turns of one run of a loop. Odd and even turns have frames of their own, so that what is
// placed stays where it is.
class Turns {
 public:
  Turns(const WhileLoop& loop, OpContext& ctx)
      : loop_(loop), ctx_(ctx), go_on_(Tensor::View(DType::kBool, Shape(), &go_on_memory_)) {}

  Status Start() {
    SM_ASSIGN_OR_RETURN(variables_, TakeVariables(ctx_, 0));
    num_frames_ = loop_.any_placed ? 2 : 1;
    for (int f = 0; f < num_frames_; ++f) {
      SM_RETURN_IF_ERROR(cond_[f].Enter(*loop_.cond.function, ctx_.run()));
      cond_[f].BindResult(0, go_on_);
      if (loop_.body.function == nullptr) continue;
      SM_RETURN_IF_ERROR(body_[f].Enter(*loop_.body.function, ctx_.run()));
    }
    others_.resize(variables_.size());
    for (int v = 0; v < num_variables(); ++v) {
      if (loop_.placed[v]) SM_RETURN_IF_ERROR(Place(v));
    }
    return Status();
  }

  // Whether there is one more turn.
  StatusOr<bool> GoOn() {
    Stay& cond = cond_[frame_];
    for (int v = 0; v < num_variables(); ++v) {
      if (!loop_.placed[v] && loop_.cond.function->UsesArgument(v))
        cond.argument(v) = variables_[v];
    }
    SM_RETURN_IF_ERROR(cond.Run());
    StatusOr<bool> more = IsTrue(cond.result(0));
    for (int v = 0; v < num_variables(); ++v) {
      if (!loop_.placed[v]) cond.argument(v) = Tensor();  // the body may write in place
    }
    return more;
  }

  Status Turn() {
    SM_RETURN_IF_ERROR(loop_.body.error);
    Stay& body = body_[frame_];
    for (int v = 0; v < num_variables(); ++v) {
      if (!loop_.placed[v]) body.argument(v) = std::move(variables_[v]);
    }
    SM_RETURN_IF_ERROR(body.Run());
    for (int v = 0; v < num_variables(); ++v) {
      SM_RETURN_IF_ERROR(loop_.placed[v] ? KeepPlace(v) : Take(v));
    }
    frame_ = num_frames_ - 1 - frame_;
    return Status();
  }

  // The variables as the last turn left them.
  std::vector<Tensor> Finish() {
    for (int v = 0; v < num_variables() && frame_ == 1; ++v) {
      if (loop_.placed[v]) variables_[v] = std::move(others_[v]);
    }
    return std::move(variables_);
  }

 private:
  int num_variables() const { return static_cast<int>(variables_.size()); }

  // Gives variable `v` its two places: frame 0 reads variables_[v] and writes others_[v].
  Status Place(int v) {
    Tensor& first = variables_[v];
    SM_CHECK_ARG(first.shape() == loop_.shapes[v] && first.dtype() == ctx_.output_dtype(v),
                 "variable ", v, " is ", first.TypeString(), ", expected ", ctx_.output_dtype(v),
                 loop_.shapes[v]);
    if (!first.exclusive()) {
      SM_ASSIGN_OR_RETURN(first, first.Clone(ctx_.run().budget));
    }
    SM_ASSIGN_OR_RETURN(others_[v], ctx_.AllocateTemp(first.dtype(), first.shape()));
    for (int f = 0; f < 2; ++f) {
      cond_[f].argument(v) = body_[f].argument(v) = View(PlaceOf(v, f));
      body_[f].BindResult(v, PlaceOf(v, 1 - f));
    }
    return Status();
  }
  Tensor& PlaceOf(int v, int frame) { return frame == 0 ? variables_[v] : others_[v]; }
  static Tensor View(Tensor& t) { return Tensor::View(t.dtype(), t.shape(), t.raw_mutable_data()); }

  // The kernel that made the new value may have made another tensor of it.
  Status KeepPlace(int v) {
    Tensor& place = PlaceOf(v, 1 - frame_);
    const Tensor& result = body_[frame_].result(v);
    if (result.raw_data() == place.raw_data()) return Status();
    SM_CHECK_ARG(result.dtype() == place.dtype() && result.shape() == place.shape(),
                 "the loop body returned ", result.TypeString(), " for variable ", v, ", expected ",
                 place.TypeString());
    std::memcpy(place.raw_mutable_data(), result.raw_data(), result.num_bytes());
    body_[frame_].BindResult(v, place);
    return Status();
  }

  // Takes the new value of a variable that is handed on.
  Status Take(int v) {
    SM_ASSIGN_OR_RETURN(variables_[v], body_[frame_].TakeResult(v).Owned(ctx_.run().budget));
    SM_CHECK_ARG(variables_[v].dtype() == ctx_.output_dtype(v), "the loop body returned dtype ",
                 variables_[v].dtype(), " for variable ", v, ", expected ", ctx_.output_dtype(v));
    return Status();
  }

  const WhileLoop& loop_;
  OpContext& ctx_;
  bool go_on_memory_ = false;
  Tensor go_on_;
  std::vector<Tensor> variables_, others_;
  int num_frames_ = 1;
  int frame_ = 0;  // of the next turn
  Stay cond_[2], body_[2];
};

Status RunWhile(const WhileLoop& loop, OpContext& ctx) {
  Turns turns(loop, ctx);
  SM_RETURN_IF_ERROR(turns.Start());
  for (LoopGuard guard(ctx);;) {
    SM_ASSIGN_OR_RETURN(const bool more, turns.GoOn());
    if (!more) return SetOutputs(ctx, turns.Finish());
    SM_RETURN_IF_ERROR(guard.NextTurn());
    SM_RETURN_IF_ERROR(turns.Turn());
  }
}

Status WhileShape(ShapeContext& ctx) { return LoopShapes(ctx, 0, 0); }

// The shapes that hold in every turn are those of the outputs.
std::vector<Shape> VariableShapes(const BuildContext& build, int leading) {
  std::vector<Shape> shapes(leading);
  for (int i = 0; i < build.num_outputs(); ++i) shapes.push_back(build.output_shape(i));
  return shapes;
}

StatusOr<KernelPtr> BuildWhile(BuildContext& build) {
  WhileLoop loop;
  loop.shapes = VariableShapes(build, 0);
  loop.cond = CompileCallee(build, build.attrs().Get<FuncAttr>("cond"), loop.shapes, 1);
  SM_RETURN_IF_ERROR(loop.cond.error);
  loop.body =
      CompileCallee(build, build.attrs().Get<FuncAttr>("body"), loop.shapes, build.num_outputs());
  std::vector<DType> dtypes;
  for (int i = 0; i < build.num_outputs(); ++i) dtypes.push_back(build.output_dtype(i));
  loop.ChoosePlaced(dtypes);
  return MakeKernel([loop](OpContext& ctx) { return RunWhile(loop, ctx); });
}

Status ForShape(ShapeContext& ctx) {
  for (int i = 0; i < 3; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  return LoopShapes(ctx, 3, 1);
}

Status RunFor(const Callee& body, OpContext& ctx) {
  const int64_t start = ctx.IntInput(0), limit = ctx.IntInput(1), delta = ctx.IntInput(2);
  SM_CHECK_ARG((delta > 0 && start <= limit) || (delta < 0 && start >= limit) || start == limit,
               "cannot go from ", start, " to ", limit, " in steps of ", delta);
  SM_ASSIGN_OR_RETURN(std::vector<Tensor> variables, TakeVariables(ctx, 3));
  std::vector<Tensor> next(variables.size());
  LoopGuard guard(ctx);
  for (int64_t i = start; delta > 0 ? i < limit : i > limit; i += delta) {
    SM_RETURN_IF_ERROR(guard.NextTurn());
    std::vector<Tensor> arguments;
    arguments.reserve(variables.size() + 1);
    arguments.push_back(Tensor::Scalar<int32_t>(static_cast<int32_t>(i)));
    for (Tensor& t : variables) arguments.push_back(std::move(t));
    SM_RETURN_IF_ERROR(body.Run(arguments, next, ctx.run()));
    variables = std::exchange(next, std::vector<Tensor>(variables.size()));
    SM_RETURN_IF_ERROR(CheckVariables(ctx, variables));
  }
  return SetOutputs(ctx, std::move(variables));
}

StatusOr<KernelPtr> BuildFor(BuildContext& build) {
  Callee body = CompileCallee(build, build.attrs().Get<FuncAttr>("body"), VariableShapes(build, 1),
                              build.num_outputs());
  return MakeKernel([body](OpContext& ctx) { return RunFor(body, ctx); });
}

constexpr OpDef kOps[] = {
    {.signature = "For(start: int32, limit: int32, delta: int32, input: T) -> (output: T); "
                  "T: list(type) >= 0; body: func",
     .effects = Effects::kWritesState,
     .shape = ForShape,
     .build = BuildFor},
    {.signature = "StatelessWhile(input: T) -> (output: T); T: list(type) >= 0; cond: func; "
                  "body: func; output_shapes: list(shape) = []; parallel_iterations: int = 10",
     .shape = WhileShape,
     .build = BuildWhile,
     .is_long = true},
    {.signature = "While(input: T) -> (output: T); T: list(type) >= 0; cond: func; body: func; "
                  "output_shapes: list(shape) = []; parallel_iterations: int = 10",
     .effects = Effects::kWritesState,
     .shape = WhileShape,
     .build = BuildWhile},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> WhileOps() { return kOps; }

}  // namespace savedmodel
