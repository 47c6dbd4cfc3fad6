// Plan: a graph compiled into steps over slots, for one set of input shapes.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "src/executor/inferred_shapes.h"
#include "src/graph/enterable_function.h"
#include "src/graph/graph.h"
#include "src/graph/node_context.h"

namespace savedmodel {

// Where the memory of a value comes from.
enum class Home : uint8_t {
  kConstant,  // the plan
  kArgument,  // the caller
  kArena,     // a fixed place in the run's arena
  kFixed,     // allocated for each run, shape known beforehand
  kRunTime,   // shape found, and memory allocated, when the step runs
};

// One value of the plan.
struct Slot {
  DType dtype = DType::kInvalid;
  Shape shape;
  Home home = Home::kRunTime;
  bool is_ref = false;
  // The value of one result, which nobody keeps beyond the run, so that a bound output's memory can
  // serve as its home.
  bool bindable = false;
  int64_t offset = -1;  // in the arena
  Tensor constant;
};

// One kernel call. Ranges index the plan's tables.
struct Step {
  KernelPtr kernel;
  KernelCall call;
  NodeId node = -1;
  int first_input = 0, num_inputs = 0;
  int first_output = 0, num_outputs = 0;
  int first_release = 0, num_releases = 0;
  int first_control = 0, num_controls = 0;  // steps whose deadness makes this one dead
  // Which of the frame's inferred shapes are its outputs'; -1: all are known, and those of inputs.
  int inferred = -1;
  bool allocates = false;  // some output is kFixed or kRunTime, or shapes are inferred
  bool has_arena = false;  // some output is kArena
  bool merges = false;     // runs when any input is live
  int together = 1;        // so many steps, from this one on, may run at once
};

// Memory and pointers of one run at a time. Made by Plan::MakeFrame, reused.
struct Frame : Activation {
  Tensor arena;
  std::vector<Tensor> slots;
  std::vector<Tensor*> inputs;     // of all steps, one after another
  std::vector<Tensor*> outputs;    // likewise
  std::vector<const void*> homes;  // parallel to outputs: places in the arena, null for none
  std::vector<char> dead;          // by step; empty when no value of the plan can be dead
  std::vector<InferredShapes> inferred;
};

// Immutable after Make; any number of threads may run it, each in its own frame.
class Plan final : public EnterableFunction {
 public:
  Plan() = default;
  ~Plan() override { delete spare_.load(); }
  // `graph` has been inferred for the shapes of its arguments. The plan keeps it, for messages.
  static StatusOr<std::shared_ptr<const Plan>> Make(Graph graph, const CompileEnv& env);

  int num_inputs() const override { return static_cast<int>(graph_.args.size()); }
  int num_outputs() const override { return static_cast<int>(graph_.results.size()); }
  Status Run(Span<Tensor> inputs, Span<Tensor> outputs, RunState& run) const override;

  StatusOr<Activation*> Enter(RunState& run) const override;
  void Leave(Activation* frame, bool is_clean, RunState& run) const override;
  Status RunIn(Activation* frame, RunState& run) const override;
  bool BindResult(Activation* frame, int i, const Tensor& memory) const override;
  Tensor TakeResult(Activation* frame, int i) const override;
  bool CanBind(int i) const override { return result_slot(i).bindable; }
  bool UsesArgument(int i) const override { return uses_argument_[i]; }
  bool KeepsArgument(int i) const override { return keeps_argument_[i]; }

  // For callers that keep a frame for good.
  StatusOr<std::unique_ptr<Frame>> MakeFrame() const;
  // Runs in `frame`. After a failure the frame is not to be used again.
  Status RunInFrame(Frame* frame, Span<const Tensor> inputs, RunState& run) const;
  // Result `i` after RunInFrame; shares the frame's memory.
  const Tensor& result(const Frame& frame, int i) const { return frame.slots[results_[i]]; }
  // Lets go of everything but the arena and bound results.
  void ResetFrame(Frame* frame) const;

  // Memory of frames that no run uses at the moment, here and in functions that steps call.
  int64_t idle_bytes() const;
  // Gives it up: one arena of the frames here, without value where there is none.
  Tensor DropIdleFrames() const;
  // An arena, which may be too small or without value, for the next frame.
  void OfferArena(Tensor arena) const;

  int64_t num_steps() const { return static_cast<int64_t>(steps_.size()); }
  const Slot& result_slot(int i) const { return slots_[results_[i]]; }
  int64_t arena_bytes() const override { return arena_bytes_; }
  // One step a line: node, op, input and output slots with type and home, kernel facts. Then the
  // functions that steps call, each once.
  std::string DebugString() const;

 private:
  friend class PlanBuilder;

  Status RunStep(const Step& step, Frame& frame, RunState& run) const;
  // `first` and the steps that may run with it.
  Status RunTogether(const Step* first, Frame& frame, RunState& run) const;
  // What comes before the kernel, the kernel, what comes behind.
  Status PrepareStep(const Step& step, Frame& frame, OpContext& context) const;
  Status RunStepKernel(const Step& step, OpContext& context) const;
  Status FinishStep(const Step& step, Frame& frame) const;
  OpContext ContextOf(const Step& step, Frame& frame, RunState& run) const;
  Status Allocate(const Step& step, Frame& frame, OpContext& context) const;
  // Checks output `i` of a step that is not where it was expected, and moves it there.
  Status TakeHome(const Step& step, int i, Frame& frame) const;
  bool IsDead(const Step& step, const Frame& frame) const;
  // Gives outputs of a step, dead in the last run, their places in the arena again.
  void RestoreViews(const Step& step, Frame& frame) const;
  Status Fail(const Step& step, const Status& status) const;
  std::string OwnDebugString() const;

  Graph graph_;
  std::vector<Slot> slots_;
  std::vector<Step> steps_;
  std::vector<int> input_slots_;   // of all steps, one after another
  std::vector<int> output_slots_;  // likewise
  std::vector<DType> output_types_;
  std::unique_ptr<bool[]> last_use_;  // parallel to input_slots_
  std::vector<int> releases_;
  std::vector<int> controls_;
  std::vector<int> arguments_;       // slot of each argument
  std::vector<char> uses_argument_;  // parallel to arguments_
  std::vector<char> keeps_argument_;
  bool keeps_any_argument_ = false;
  std::vector<int> results_;         // slot of each result
  std::vector<char> moved_results_;  // parallel to results_: not a constant, nor wanted again
  std::vector<int> clears_;          // slots that do not outlive a run
  int64_t arena_bytes_ = 0;
  int64_t largest_live_set_ = 0;  // the least that an arena could have
  bool can_be_dead_ = false;
  int num_inferred_ = 0;

  struct NamedPlan {
    std::string name;
    std::shared_ptr<const Plan> plan;
  };
  std::vector<NamedPlan> callees_;  // functions that steps call

  StatusOr<Tensor> MakeArena() const;
  std::unique_ptr<Frame> TakeFrame() const;
  void KeepFrame(std::unique_ptr<Frame> frame) const;

  // Frames that no run uses: one at hand, and what more there are.
  mutable std::atomic<Frame*> spare_{nullptr};
  mutable std::mutex frames_mutex_;
  mutable std::vector<std::unique_ptr<Frame>> frames_;
  mutable Tensor offered_arena_;
};

}  // namespace savedmodel
