// Function: calls by name, plans and bound calls. Calls by structure are in polymorphic.cc.
#include <cstring>

#include "savedmodel/model.h"
#include "src/api/model_impl.h"
#include "src/base/denormals.h"
#include "src/base/status_macros.h"

namespace savedmodel {
namespace api {

// A plan with a frame of its own and the caller's tensors.
struct BoundState {
  Status error;
  std::shared_ptr<const FunctionImpl> function;
  std::vector<Tensor> inputs;   // in the function's order
  std::vector<Tensor> outputs;  // likewise
  std::shared_ptr<const Plan> plan;
  std::unique_ptr<Frame> frame;
  std::vector<char> in_place;  // the frame writes output i where it lies
  uint64_t change_count = 0;
  RunState run;

  Status Prepare();
  Status Run(const RunOptions& options);
  int64_t IndexOf(const std::vector<TensorSpec>& specs, const std::string& key) const {
    for (size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].name == key) return static_cast<int64_t>(i);
    }
    return -1;
  }
};

Status BoundState::Prepare() {
  SM_RETURN_IF_ERROR(function->executable->CheckDTypes(inputs));
  std::vector<Shape> shapes;
  for (const Tensor& t : inputs) shapes.push_back(t.shape());
  change_count = VariableResource::ChangeCount();
  SM_ASSIGN_OR_RETURN(plan, function->executable->PlanFor(shapes, run));
  if (outputs.size() != static_cast<size_t>(plan->num_outputs())) {
    return InvalidArgument(function->name, ": the graph has ", plan->num_outputs(),
                           " results, its signature ", outputs.size());
  }
  SM_ASSIGN_OR_RETURN(frame, plan->MakeFrame());
  in_place.assign(outputs.size(), false);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Slot& slot = plan->result_slot(static_cast<int>(i));
    if (!IsPlainData(slot.dtype) || !slot.shape.fully_known()) continue;
    if (!outputs[i].has_value()) {
      SM_ASSIGN_OR_RETURN(outputs[i], Tensor::Allocate(slot.dtype, slot.shape));
    }
    in_place[i] = plan->BindResult(frame.get(), static_cast<int>(i), outputs[i]);
  }
  return Status();
}

Status BoundState::Run(const RunOptions& options) {
  FlushDenormals flush;
  if (change_count != VariableResource::ChangeCount()) {
    const uint64_t now = VariableResource::ChangeCount();
    if (function->executable->IsStale(change_count)) SM_RETURN_IF_ERROR(Prepare());
    change_count = now;
  }
  function->model->context.SetLimits(options, &run);
  Status status = plan->RunInFrame(frame.get(), inputs, run);
  if (!status.ok()) {
    SM_RETURN_IF_ERROR(Prepare());  // the old frame is in no known state
    return status.At(function->name);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& result = plan->result(*frame, static_cast<int>(i));
    SM_RETURN_IF_ERROR(function->executable->CheckResult(static_cast<int>(i), result));
    if (in_place[i] && result.raw_data() == outputs[i].raw_data()) continue;
    if (in_place[i] || (outputs[i].has_value() && outputs[i].shape() == result.shape() &&
                        IsPlainData(result.dtype()))) {
      if (result.num_bytes() > 0) {
        std::memcpy(outputs[i].raw_mutable_data(), result.raw_data(), result.num_bytes());
      }
      if (in_place[i]) plan->BindResult(frame.get(), static_cast<int>(i), outputs[i]);
    } else {
      outputs[i] = result;
    }
  }
  plan->ResetFrame(frame.get());
  return Status();
}

namespace {

void AddName(const std::string& name, std::string* names) {
  *names += (names->empty() ? "'" : ", '") + name + "'";
}
std::string NamesOf(const std::vector<TensorSpec>& specs) {
  std::string names;
  for (const TensorSpec& spec : specs) AddName(spec.name, &names);
  return names.empty() ? "none" : names;
}
std::string NamesOf(const TensorMap& tensors) {
  std::string names;
  for (const auto& [name, tensor] : tensors) AddName(name, &names);
  return names.empty() ? "none" : names;
}

Status CheckInput(const TensorSpec& spec, const Tensor& t) {
  if (t.dtype() != spec.dtype) {
    return InvalidArgument("input '", spec.name, "': found ", t.TypeString(), ", expected ",
                           spec.dtype, spec.shape);
  }
  if (!t.shape().CompatibleWith(spec.shape)) {
    return InvalidArgument("input '", spec.name, "': found shape ", t.shape(), ", expected ",
                           spec.shape, "; ? stands for any size");
  }
  return Status();
}

}  // namespace

// A function whose inputs have names can be called, bound and planned by them.
Status CheckFlat(const FunctionImpl& f) {
  if (f.executable != nullptr) return Status();
  return FailedPrecondition("function ", f.name, " has ", f.traces.size(),
                            " traces with structured arguments; call it with Function::Call");
}

StatusOr<std::vector<Tensor>> OrderInputs(const FunctionImpl& f, const TensorMap& inputs) {
  std::vector<Tensor> ordered;
  ordered.reserve(f.inputs.size());
  size_t used = 0;
  for (const TensorSpec& spec : f.inputs) {
    auto it = inputs.find(spec.name);
    for (auto alias = f.aliases.begin(); it == inputs.end() && alias != f.aliases.end(); ++alias) {
      if (alias->second == spec.name) it = inputs.find(alias->first);
    }
    if (it == inputs.end()) {
      auto fallback = f.defaults.find(spec.name);
      if (fallback != f.defaults.end()) {
        ordered.push_back(fallback->second);
        continue;
      }
      return InvalidArgument("input '", spec.name, "' is missing; found inputs ", NamesOf(inputs),
                             ", expected ", NamesOf(f.inputs));
    }
    SM_RETURN_IF_ERROR(CheckInput(spec, it->second));
    ordered.push_back(it->second);
    ++used;
  }
  if (used != inputs.size()) {
    for (const auto& [name, tensor] : inputs) {
      bool known = f.aliases.count(name) > 0;
      for (const TensorSpec& spec : f.inputs) known = known || spec.name == name;
      if (!known) {
        return InvalidArgument("found input '", name, "', expected inputs ", NamesOf(f.inputs));
      }
    }
  }
  return ordered;
}

}  // namespace api

Function Function::FromError(const Status& status) {
  return Function(api::FailedFunction("", status));
}

Status Function::status() const {
  if (impl_ == nullptr) return FailedPrecondition("an empty Function; get one from a Model");
  return impl_->error;
}

std::string Function::name() const { return impl_ == nullptr ? "" : impl_->name; }

std::vector<TensorSpec> Function::inputs() const {
  return impl_ == nullptr ? std::vector<TensorSpec>() : impl_->inputs;
}

std::vector<TensorSpec> Function::outputs() const {
  return impl_ == nullptr ? std::vector<TensorSpec>() : impl_->outputs;
}

StatusOr<TensorMap> Function::operator()(const TensorMap& inputs, const RunOptions& options) const {
  SM_RETURN_IF_ERROR(status());
  SM_RETURN_IF_ERROR(api::CheckFlat(*impl_));
  StatusOr<std::vector<Tensor>> ordered = api::OrderInputs(*impl_, inputs);
  if (!ordered.ok()) return ordered.status().At(impl_->name);
  RunState run = impl_->model->context.MakeRun(options);
  std::vector<Tensor> outputs(impl_->outputs.size());
  SM_RETURN_IF_ERROR(impl_->executable->Run(*ordered, outputs, run));
  TensorMap result;
  for (size_t i = 0; i < outputs.size(); ++i) {
    result.emplace(impl_->outputs[i].name, std::move(outputs[i]));
  }
  return result;
}

Function Function::Fetch(const std::vector<std::string>& tensors) const {
  if (!status().ok()) return *this;
  if (tensors.empty()) return FromError(InvalidArgument(impl_->name, ": Fetch of no tensors"));
  auto fetched = std::make_shared<api::FunctionImpl>(*impl_);
  fetched->returns_list = true;
  fetched->outputs.clear();
  if (impl_->executable != nullptr) {
    auto executable = impl_->model->Fetched(*impl_->executable, tensors);
    if (!executable.ok()) return FromError(executable.status().At(impl_->name));
    fetched->executable = *executable;
    std::vector<TensorSpec> inputs;
    (*executable)->Describe({}, tensors, &inputs, &fetched->outputs);
  }
  // Traces differ in what is inside of them: those stay that have the tensors.
  fetched->traces.clear();
  Status error;
  for (api::Trace trace : impl_->traces) {
    auto own = impl_->model->Concrete(trace.function);
    if (!own.ok()) return FromError(own.status().At(impl_->name));
    auto executable = impl_->model->Fetched(**own, tensors);
    if (executable.ok()) {
      trace.executable = *executable;
      fetched->traces.push_back(std::move(trace));
    } else if (error.ok()) {
      error = executable.status();
    }
  }
  if (fetched->traces.empty() && !error.ok()) return FromError(error.At(impl_->name));
  return Function(std::move(fetched));
}

Status Function::Prepare(const std::map<std::string, Shape>& shapes) const {
  return PlanText(shapes).status();
}

StatusOr<std::string> Function::PlanText(const std::map<std::string, Shape>& shapes) const {
  SM_RETURN_IF_ERROR(status());
  SM_RETURN_IF_ERROR(api::CheckFlat(*impl_));
  std::vector<Shape> ordered;
  for (const TensorSpec& spec : impl_->inputs) {
    auto it = shapes.find(spec.name);
    ordered.push_back(it == shapes.end() ? spec.shape : it->second);
  }
  RunState run = impl_->model->context.MakeRun(RunOptions());
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const Plan> plan, impl_->executable->PlanFor(ordered, run));
  return plan->DebugString();
}

StatusOr<BoundCall> Function::Bind(TensorMap inputs, TensorMap outputs) const {
  SM_RETURN_IF_ERROR(status());
  SM_RETURN_IF_ERROR(api::CheckFlat(*impl_));
  auto state = std::make_shared<api::BoundState>();
  state->function = impl_;
  state->run = impl_->model->context.MakeRun(RunOptions());
  StatusOr<std::vector<Tensor>> ordered = api::OrderInputs(*impl_, inputs);
  if (!ordered.ok()) return ordered.status().At(impl_->name);
  state->inputs = std::move(ordered).value();
  state->outputs.resize(impl_->outputs.size());
  for (auto& [name, tensor] : outputs) {
    const int64_t i = state->IndexOf(impl_->outputs, name);
    if (i < 0) {
      return InvalidArgument(impl_->name, ": found output '", name, "', expected outputs ",
                             api::NamesOf(impl_->outputs));
    }
    state->outputs[i] = std::move(tensor);
  }
  inputs.clear();  // so that the bound tensors are the caller's and this call's alone
  SM_RETURN_IF_ERROR(state->Prepare());
  for (size_t i = 0; i < state->outputs.size(); ++i) {
    const Slot& slot = state->plan->result_slot(static_cast<int>(i));
    const Tensor& bound = state->outputs[i];
    if (bound.has_value() && (bound.dtype() != slot.dtype || bound.shape() != slot.shape)) {
      return InvalidArgument(impl_->name, ": output '", impl_->outputs[i].name, "' is bound to ",
                             bound.TypeString(), ", but is ", slot.dtype, slot.shape);
    }
  }
  BoundCall call;
  call.state_ = std::move(state);
  return call;
}

BoundCall BoundCall::FromError(const Status& status) {
  BoundCall call;
  call.state_ = std::make_shared<api::BoundState>();
  call.state_->error = status;
  return call;
}

const Status& BoundCall::status() const {
  static const Status* const empty = new Status(StatusCode::kFailedPrecondition,
                                                "an empty BoundCall; get one from Function::Bind");
  return state_ == nullptr ? *empty : state_->error;
}

Tensor& BoundCall::input(const std::string& key) {
  static thread_local Tensor nothing;
  nothing = Tensor();
  if (state_ == nullptr || state_->function == nullptr) return nothing;
  const int64_t i = state_->IndexOf(state_->function->inputs, key);
  return i < 0 ? nothing : state_->inputs[i];
}

const Tensor& BoundCall::output(const std::string& key) const {
  static const Tensor* const nothing = new Tensor();
  if (state_ == nullptr || state_->function == nullptr) return *nothing;
  const int64_t i = state_->IndexOf(state_->function->outputs, key);
  return i < 0 ? *nothing : state_->outputs[i];
}

Status BoundCall::Run(const RunOptions& options) {
  SM_RETURN_IF_ERROR(status());
  return state_->Run(options);
}

}  // namespace savedmodel
