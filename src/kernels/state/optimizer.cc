// Optimizer steps: Apply* and ResourceApply*, as models with a training function have them.
#include <algorithm>
#include <cmath>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/state/variable_input.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

struct Options {
  bool nesterov = false, update_slots = true, multiply_linear_by_lr = false;
};

template <class A>
A Sign(A x) {
  return x > 0 ? A(1) : x < 0 ? A(-1) : A(0);
}

// One element of a step. `g` is the gradient, `s` are the scalars in the order of the inputs, `var`
// is the variable, `m` are its slots.
template <class A>
struct Element {
  A g;
  const A* s;
  A* var;
  A* m;
  const Options& options;
};

template <class A>
void GradientDescent(const Element<A>& e) {
  *e.var -= e.g * e.s[0];
}

template <class A>
void Momentum(const Element<A>& e) {
  const A lr = e.s[0], momentum = e.s[1];
  e.m[0] = e.m[0] * momentum + e.g;
  *e.var -= e.options.nesterov ? e.g * lr + e.m[0] * momentum * lr : e.m[0] * lr;
}

template <class A>
void KerasMomentum(const Element<A>& e) {
  const A lr = e.s[0], momentum = e.s[1];
  e.m[0] = e.m[0] * momentum - e.g * lr;
  *e.var += e.options.nesterov ? e.m[0] * momentum - e.g * lr : e.m[0];
}

template <class A>
void Adam(const Element<A>& e) {
  const A beta1 = e.s[3], beta2 = e.s[4], epsilon = e.s[5];
  const A alpha = e.s[2] * std::sqrt(A(1) - e.s[1]) / (A(1) - e.s[0]);
  e.m[0] += (e.g - e.m[0]) * (A(1) - beta1);
  e.m[1] += (e.g * e.g - e.m[1]) * (A(1) - beta2);
  const A step = e.options.nesterov ? e.g * (A(1) - beta1) + beta1 * e.m[0] : e.m[0];
  *e.var -= step * alpha / (std::sqrt(e.m[1]) + epsilon);
}

template <class A>
void AdamWithAmsgrad(const Element<A>& e) {
  const A alpha = e.s[2] * std::sqrt(A(1) - e.s[1]) / (A(1) - e.s[0]);
  e.m[0] += (e.g - e.m[0]) * (A(1) - e.s[3]);
  e.m[1] += (e.g * e.g - e.m[1]) * (A(1) - e.s[4]);
  e.m[2] = std::max(e.m[2], e.m[1]);
  *e.var -= e.m[0] * alpha / (std::sqrt(e.m[2]) + e.s[5]);
}

template <class A>
void AdaMax(const Element<A>& e) {
  e.m[0] += (e.g - e.m[0]) * (A(1) - e.s[2]);
  e.m[1] = std::max(e.s[3] * e.m[1], std::abs(e.g));
  *e.var -= e.s[1] / (A(1) - e.s[0]) * (e.m[0] / (e.m[1] + e.s[4]));
}

template <class A>
void RMSProp(const Element<A>& e) {
  e.m[0] += (e.g * e.g - e.m[0]) * (A(1) - e.s[1]);
  e.m[1] = e.m[1] * e.s[2] + e.g * e.s[0] / std::sqrt(e.s[3] + e.m[0]);
  *e.var -= e.m[1];
}

template <class A>
void CenteredRMSProp(const Element<A>& e) {
  e.m[1] += (e.g * e.g - e.m[1]) * (A(1) - e.s[1]);
  e.m[0] += (e.g - e.m[0]) * (A(1) - e.s[1]);
  e.m[2] = e.m[2] * e.s[2] + e.g * e.s[0] / std::sqrt(e.m[1] - e.m[0] * e.m[0] + e.s[3]);
  *e.var -= e.m[2];
}

template <class A>
void Adagrad(const Element<A>& e) {
  if (e.options.update_slots) e.m[0] += e.g * e.g;
  *e.var -= e.g * e.s[0] / std::sqrt(e.m[0]);
}

template <class A>
void AdagradV2(const Element<A>& e) {
  if (e.options.update_slots) e.m[0] += e.g * e.g;
  *e.var -= e.g * e.s[0] / (std::sqrt(e.m[0]) + e.s[1]);
}

template <class A>
void Adadelta(const Element<A>& e) {
  const A rho = e.s[1], epsilon = e.s[2];
  e.m[0] = e.m[0] * rho + e.g * e.g * (A(1) - rho);
  const A update = std::sqrt(e.m[1] + epsilon) / std::sqrt(e.m[0] + epsilon) * e.g;
  *e.var -= update * e.s[0];
  e.m[1] = e.m[1] * rho + update * update * (A(1) - rho);
}

template <class A>
void AddSign(const Element<A>& e) {
  e.m[0] = e.m[0] * e.s[3] + e.g * (A(1) - e.s[3]);
  *e.var -= e.s[0] * (e.s[1] + e.s[2] * Sign(e.g) * Sign(e.m[0])) * e.g;
}

template <class A>
void PowerSign(const Element<A>& e) {
  e.m[0] = e.m[0] * e.s[3] + e.g * (A(1) - e.s[3]);
  *e.var -= e.s[0] * std::exp(e.s[1] * e.s[2] * Sign(e.g) * Sign(e.m[0])) * e.g;
}

template <class A>
void FtrlStep(const Element<A>& e, A shrinkage, A lr_power) {
  const A lr = e.s[0], l1 = e.s[1], l2 = e.s[2];
  const auto power = [&](A x) {
    return lr_power == A(-0.5) ? std::sqrt(x) : std::pow(x, -lr_power);
  };
  const A old_power = power(e.m[0]), new_power = power(e.m[0] + e.g * e.g);
  const A shrunk = e.g + A(2) * shrinkage * *e.var;
  const bool by_lr = e.options.multiply_linear_by_lr;
  const A sigma = (new_power - old_power) / (by_lr ? A(1) : lr);
  e.m[1] += (by_lr ? shrunk * lr : shrunk) - sigma * *e.var;
  const A limit = by_lr ? l1 * lr : l1;
  const A quadratic = by_lr ? new_power + A(2) * l2 * lr : new_power / lr + A(2) * l2;
  *e.var = std::abs(e.m[1]) > limit ? (limit * Sign(e.m[1]) - e.m[1]) / quadratic : A(0);
  e.m[0] += e.g * e.g;
}

template <class A>
void Ftrl(const Element<A>& e) {
  FtrlStep(e, A(0), e.s[3]);
}

template <class A>
void FtrlV2(const Element<A>& e) {
  FtrlStep(e, e.s[3], e.s[4]);
}

// How an op's inputs are laid out: the variable, its slots, then scalars with the gradient at
// `gradient` among them.
struct Rule {
  std::string_view name;
  int slots = 0;
  int gradient = 0;
  void (*float_step)(const Element<float>&) = nullptr;
  void (*double_step)(const Element<double>&) = nullptr;
};

constexpr Rule kRules[] = {
    {"AdaMax", 2, 5, AdaMax<float>, AdaMax<double>},
    {"Adadelta", 2, 3, Adadelta<float>, Adadelta<double>},
    {"Adagrad", 1, 1, Adagrad<float>, Adagrad<double>},
    {"AdagradV2", 1, 2, AdagradV2<float>, AdagradV2<double>},
    {"Adam", 2, 6, Adam<float>, Adam<double>},
    {"AdamWithAmsgrad", 3, 6, AdamWithAmsgrad<float>, AdamWithAmsgrad<double>},
    {"AddSign", 1, 4, AddSign<float>, AddSign<double>},
    {"CenteredRMSProp", 3, 4, CenteredRMSProp<float>, CenteredRMSProp<double>},
    {"Ftrl", 2, 0, Ftrl<float>, Ftrl<double>},
    {"FtrlV2", 2, 0, FtrlV2<float>, FtrlV2<double>},
    {"GradientDescent", 0, 1, GradientDescent<float>, GradientDescent<double>},
    {"KerasMomentum", 1, 1, KerasMomentum<float>, KerasMomentum<double>},
    {"Momentum", 1, 1, Momentum<float>, Momentum<double>},
    {"PowerSign", 1, 4, PowerSign<float>, PowerSign<double>},
    {"RMSProp", 2, 4, RMSProp<float>, RMSProp<double>},
};

// Runs the step on copies of the variable and its slots, and assigns them.
template <class T>
Status RunStep(OpContext& ctx, const Rule& rule, const Options& options) {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  constexpr int kMostSlots = 3;
  const int first = rule.slots + 1;
  const Tensor& gradient = ctx.input(first + rule.gradient);
  std::vector<A> scalars;
  for (int i = first; i < ctx.num_inputs(); ++i) {
    if (i == first + rule.gradient) continue;
    SM_CHECK_ARG(ctx.input(i).shape().rank() == 0, "input ", i, " has shape ", ctx.input(i).shape(),
                 ", expected a scalar");
    scalars.push_back(static_cast<A>(*ctx.in<T>(i)));
  }
  Tensor values[kMostSlots + 1];
  T* data[kMostSlots + 1] = {};
  for (int i = 0; i < first; ++i) {
    SM_ASSIGN_OR_RETURN(VariableResource * variable, VariableInput(ctx, i, DTypeOf<T>::value));
    SM_ASSIGN_OR_RETURN(const Tensor old, variable->Read());
    SM_CHECK_ARG(old.shape() == gradient.shape(), "variable '", variable->name(), "' has shape ",
                 old.shape(), ", the gradient ", gradient.shape());
    SM_ASSIGN_OR_RETURN(values[i], old.Clone(ctx.run().budget));
    data[i] = values[i].template mutable_data<T>();
  }
  const auto step = [&] {
    if constexpr (std::is_same_v<A, double>) {
      return rule.double_step;
    } else {
      return rule.float_step;
    }
  }();
  const T* g = gradient.data<T>();
  ctx.ParallelFor(gradient.num_elements(), 10, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      A var = static_cast<A>(data[0][i]);
      A slots[kMostSlots] = {};
      for (int k = 0; k < rule.slots; ++k) slots[k] = static_cast<A>(data[k + 1][i]);
      step({static_cast<A>(g[i]), scalars.data(), &var, slots, options});
      data[0][i] = static_cast<T>(var);
      for (int k = 0; k < rule.slots; ++k) data[k + 1][i] = static_cast<T>(slots[k]);
    }
  });
  for (int i = 0; i < first; ++i) {
    SM_ASSIGN_OR_RETURN(VariableResource * variable, VariableInput(ctx, i, DTypeOf<T>::value));
    SM_RETURN_IF_ERROR(variable->Assign(std::move(values[i])));
  }
  return Status();
}

StatusOr<KernelPtr> BuildApply(BuildContext& build) {
  std::string_view name = build.op_name();
  name.remove_prefix(name.find("Apply") + 5);
  const Rule* rule = nullptr;
  for (const Rule& r : kRules) {
    if (r.name == name) rule = &r;
  }
  if (rule == nullptr) return Internal("no optimizer rule ", name);
  Options options;
  options.nesterov = build.attrs().Bool("use_nesterov");
  if (build.attrs().Has("update_slots")) options.update_slots = build.attrs().Bool("update_slots");
  options.multiply_linear_by_lr = build.attrs().Bool("multiply_linear_by_lr");
  const DType dtype = build.attrs().Type("T");
  return MakeKernel(
      [rule, options, dtype, reference = ReturnsReference(build)](OpContext& ctx) -> Status {
        SM_RETURN_IF_ERROR(VisitDType<kFloats>(dtype, [&](auto tag) {
          return RunStep<typename decltype(tag)::type>(ctx, *rule, options);
        }));
        return reference ? ForwardHandle(ctx) : Status();
      });
}

constexpr OpDef kOps[] = {
    {.signature = "ApplyAdaMax(var: Ref(T), m: Ref(T), v: Ref(T), beta1_power: T, lr: T, "
                  "beta1: T, beta2: T, epsilon: T, grad: T) -> (out: Ref(T)); T: {float,double,"
                  "bfloat16,half}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyAdadelta(var: Ref(T), accum: Ref(T), accum_update: Ref(T), lr: T, rho: "
                  "T, epsilon: T, grad: T) -> (out: Ref(T)); T: {float,double,bfloat16,half}; "
                  "use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyAdagrad(var: Ref(T), accum: Ref(T), lr: T, grad: T) -> (out: Ref(T)); "
                  "T: {float,double,bfloat16,half}; use_locking: bool = false; update_slots: "
                  "bool = true",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyAdagradV2(var: Ref(T), accum: Ref(T), lr: T, epsilon: T, grad: T) -> "
                  "(out: Ref(T)); T: {float,double,bfloat16,half}; use_locking: bool = false; "
                  "update_slots: bool = true",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyAdam(var: Ref(T), m: Ref(T), v: Ref(T), beta1_power: T, beta2_power: T,"
                  " lr: T, beta1: T, beta2: T, epsilon: T, grad: T) -> (out: Ref(T)); T: "
                  "{float,double,bfloat16,half}; use_locking: bool = false; use_nesterov: bool "
                  "= false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyAddSign(var: Ref(T), m: Ref(T), lr: T, alpha: T, sign_decay: T, beta: "
                  "T, grad: T) -> (out: Ref(T)); T: {float,double,bfloat16,half}; use_locking: "
                  "bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyCenteredRMSProp(var: Ref(T), mg: Ref(T), ms: Ref(T), mom: Ref(T), lr: "
                  "T, rho: T, momentum: T, epsilon: T, grad: T) -> (out: Ref(T)); T: {float,"
                  "double,bfloat16,half}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyFtrl(var: Ref(T), accum: Ref(T), linear: Ref(T), grad: T, lr: T, l1: T,"
                  " l2: T, lr_power: T) -> (out: Ref(T)); T: {float,double,bfloat16,half}; "
                  "use_locking: bool = false; multiply_linear_by_lr: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyFtrlV2(var: Ref(T), accum: Ref(T), linear: Ref(T), grad: T, lr: T, l1: "
                  "T, l2: T, l2_shrinkage: T, lr_power: T) -> (out: Ref(T)); T: {float,double,"
                  "bfloat16,half}; use_locking: bool = false; multiply_linear_by_lr: bool = "
                  "false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyGradientDescent(var: Ref(T), alpha: T, delta: T) -> (out: Ref(T)); T: "
                  "{float,double,bfloat16,half}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyMomentum(var: Ref(T), accum: Ref(T), lr: T, grad: T, momentum: T) -> "
                  "(out: Ref(T)); T: {float,double,bfloat16,half}; use_locking: bool = false; "
                  "use_nesterov: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyPowerSign(var: Ref(T), m: Ref(T), lr: T, logbase: T, sign_decay: T, "
                  "beta: T, grad: T) -> (out: Ref(T)); T: {float,double,bfloat16,half}; "
                  "use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ApplyRMSProp(var: Ref(T), ms: Ref(T), mom: Ref(T), lr: T, rho: T, momentum: "
                  "T, epsilon: T, grad: T) -> (out: Ref(T)); T: {float,double,bfloat16,half}; "
                  "use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildApply},
    {.signature = "ResourceApplyAdaMax(var: resource, m: resource, v: resource, beta1_power: T,"
                  " lr: T, beta1: T, beta2: T, epsilon: T, grad: T) -> (); T: {float,double,"
                  "bfloat16,half}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyAdadelta(var: resource, accum: resource, accum_update: "
                  "resource, lr: T, rho: T, epsilon: T, grad: T) -> (); T: {float,double,"
                  "bfloat16,half}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyAdagrad(var: resource, accum: resource, lr: T, grad: T) -> (); "
                  "T: {float,double,bfloat16,half}; use_locking: bool = false; update_slots: "
                  "bool = true",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyAdagradV2(var: resource, accum: resource, lr: T, epsilon: T, "
                  "grad: T) -> (); T: {float,double,bfloat16,half}; use_locking: bool = false; "
                  "update_slots: bool = true",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyAdam(var: resource, m: resource, v: resource, beta1_power: T, "
                  "beta2_power: T, lr: T, beta1: T, beta2: T, epsilon: T, grad: T) -> (); T: "
                  "{float,double,bfloat16,half}; use_locking: bool = false; use_nesterov: bool "
                  "= false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyAdamWithAmsgrad(var: resource, m: resource, v: resource, vhat: "
                  "resource, beta1_power: T, beta2_power: T, lr: T, beta1: T, beta2: T, "
                  "epsilon: T, grad: T) -> (); T: {float,double,bfloat16,half}; use_locking: "
                  "bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyAddSign(var: resource, m: resource, lr: T, alpha: T, "
                  "sign_decay: T, beta: T, grad: T) -> (); T: {float,double,bfloat16,half}; "
                  "use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyCenteredRMSProp(var: resource, mg: resource, ms: resource, "
                  "mom: resource, lr: T, rho: T, momentum: T, epsilon: T, grad: T) -> (); T: "
                  "{float,double,bfloat16,half}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyFtrl(var: resource, accum: resource, linear: resource, grad: T,"
                  " lr: T, l1: T, l2: T, lr_power: T) -> (); T: {float,double,bfloat16,half}; "
                  "use_locking: bool = false; multiply_linear_by_lr: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyFtrlV2(var: resource, accum: resource, linear: resource, grad: "
                  "T, lr: T, l1: T, l2: T, l2_shrinkage: T, lr_power: T) -> (); T: {float,"
                  "double,bfloat16,half}; use_locking: bool = false; multiply_linear_by_lr: "
                  "bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyGradientDescent(var: resource, alpha: T, delta: T) -> (); T: "
                  "{float,double,bfloat16,half}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyKerasMomentum(var: resource, accum: resource, lr: T, grad: T, "
                  "momentum: T) -> (); T: {float,double,bfloat16,half}; use_locking: bool = "
                  "false; use_nesterov: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyMomentum(var: resource, accum: resource, lr: T, grad: T, "
                  "momentum: T) -> (); T: {float,double,bfloat16,half}; use_locking: bool = "
                  "false; use_nesterov: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyPowerSign(var: resource, m: resource, lr: T, logbase: T, "
                  "sign_decay: T, beta: T, grad: T) -> (); T: {float,double,bfloat16,half}; "
                  "use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
    {.signature = "ResourceApplyRMSProp(var: resource, ms: resource, mom: resource, lr: T, "
                  "rho: T, momentum: T, epsilon: T, grad: T) -> (); T: {float,double,bfloat16,"
                  "half}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildApply},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> OptimizerOps() { return kOps; }

}  // namespace savedmodel
