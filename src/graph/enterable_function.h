// Functions that control-flow kernels run in place: arguments and results stay where they lie from
// run to run.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Where the arguments and results of one run at a time lie.
struct Activation {
  std::vector<Tensor*> arguments;
  std::vector<Tensor*> results;
};

// A compiled function with memory to run in, which one caller at a time holds. Thread-safe.
class EnterableFunction : public CompiledFunction {
 public:
  // Memory for any number of runs, charged to the budget of `run` until Leave.
  virtual StatusOr<Activation*> Enter(RunState& run) const = 0;
  // Takes the memory back. It is used again if `is_clean`: no run in it has failed.
  virtual void Leave(Activation* frame, bool is_clean, RunState& run) const = 0;
  // Runs on the arguments in `frame`. Those that are Views stay there, others may be moved from.
  virtual Status RunIn(Activation* frame, RunState& run) const = 0;
  // Makes `memory` the place of result `i` until Leave, when CanBind and the shapes are equal. A
  // run may still put another tensor there.
  virtual bool BindResult(Activation* frame, int i, const Tensor& memory) const = 0;
  // Result `i` of the last run, moved out where nothing else needs it; in ascending order. It is a
  // View where it is an argument that is one.
  virtual Tensor TakeResult(Activation* frame, int i) const = 0;

  // What Enter takes of the budget.
  virtual int64_t arena_bytes() const = 0;
  // Result `i` has a known shape, and nothing keeps it beyond the run.
  virtual bool CanBind(int i) const = 0;
  virtual bool UsesArgument(int i) const = 0;
  // Something may keep argument `i` beyond the run: of a View it would keep a copy.
  virtual bool KeepsArgument(int i) const = 0;
};

// A time inside of a function: any number of runs in one place.
class Stay {
 public:
  Stay() = default;
  Stay(const Stay&) = delete;
  Stay& operator=(const Stay&) = delete;
  ~Stay() {
    if (frame_ != nullptr) function_->Leave(frame_, is_clean_, *run_);
  }

  // Once. `function` and `run` must outlive this.
  Status Enter(const EnterableFunction& function, RunState& run) {
    StatusOr<Activation*> frame = function.Enter(run);
    if (!frame.ok()) return frame.status();
    function_ = &function;
    run_ = &run;
    frame_ = *frame;
    return Status();
  }
  Tensor& argument(int i) { return *frame_->arguments[i]; }
  const Tensor& result(int i) const { return *frame_->results[i]; }
  bool BindResult(int i, const Tensor& memory) { return function_->BindResult(frame_, i, memory); }
  Tensor TakeResult(int i) { return function_->TakeResult(frame_, i); }
  Status Run() {
    is_clean_ = false;
    Status status = function_->RunIn(frame_, *run_);
    is_clean_ = status.ok();
    return status;
  }

 private:
  const EnterableFunction* function_ = nullptr;
  RunState* run_ = nullptr;
  Activation* frame_ = nullptr;
  bool is_clean_ = true;
};

}  // namespace savedmodel
