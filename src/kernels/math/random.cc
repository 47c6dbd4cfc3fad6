// Uniform, normal, truncated normal and integer random tensors: stateless, and with a generator
// kept in the op or in a variable.
#include "savedmodel/resource.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/math/philox.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// ------------------------------------------------------------------------------------ stateless

// Inputs shape, seed.
template <Distribution distribution>
Status RunStateless(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator, PhiloxFromSeed(ctx.input(1)));
  return FillRandom(ctx, distribution, generator, ctx.output(0));
}

// Inputs shape, key, counter, algorithm.
template <Distribution distribution>
Status RunStatelessV2(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator,
                      PhiloxFromKey(ctx.input(1), ctx.input(2), ctx.input(3)));
  return FillRandom(ctx, distribution, generator, ctx.output(0));
}

Status RunStatelessInt(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator, PhiloxFromSeed(ctx.input(1)));
  return FillUniformInt(ctx, generator, ctx.input(2), ctx.input(3), ctx.output(0));
}

Status RunStatelessIntV2(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator,
                      PhiloxFromKey(ctx.input(1), ctx.input(2), ctx.input(3)));
  return FillUniformInt(ctx, generator, ctx.input(4), ctx.input(5), ctx.output(0));
}

Status KeyCounterShape(ShapeContext& ctx) {
  ctx.set_output(0, Shape({1}));
  ctx.set_output(1, Shape({2}));
  if (ctx.num_outputs() > 2) ctx.set_output(2, Shape());
  return Status();
}

// Outputs key and counter, and in one of the two ops the algorithm.
Status RunKeyCounter(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator, PhiloxFromSeed(ctx.input(0)));
  *ctx.out<uint64_t>(0) = generator.key();
  ctx.out<uint64_t>(1)[0] = generator.counter_low();
  ctx.out<uint64_t>(1)[1] = generator.counter_high();
  return Status();
}

Status RunKeyCounterAlg(OpContext& ctx) {
  SM_RETURN_IF_ERROR(RunKeyCounter(ctx));
  *ctx.out<int32_t>(2) = 1;
  return Status();
}

Status RunGetAlg(OpContext& ctx) {
  *ctx.out<int32_t>(0) = 1;
  return Status();
}

// ---------------------------------------------------------------------- generator kept in the op

template <Distribution distribution>
StatusOr<KernelPtr> BuildStateful(BuildContext& build) {
  return MakeKernel([state = StatefulPhilox(build)](OpContext& ctx) {
    Tensor& out = ctx.output(0);
    return FillRandom(ctx, distribution, state.Reserve(ctx, out.num_elements()), out);
  });
}

StatusOr<KernelPtr> BuildStatefulInt(BuildContext& build) {
  return MakeKernel([state = StatefulPhilox(build)](OpContext& ctx) {
    Tensor& out = ctx.output(0);
    return FillUniformInt(ctx, state.Reserve(ctx, out.num_elements()), ctx.input(1), ctx.input(2),
                          out);
  });
}

// ------------------------------------------------------------------- generator kept in a variable

// The variable holds the counter's two halves and the key. Gives the generator and advances the
// variable by `outputs` elements.
StatusOr<Philox> ReserveFromVariable(OpContext& ctx, uint64_t outputs) {
  auto* variable = dynamic_cast<VariableResource*>(ctx.in<ResourceRef>(0)->get());
  SM_CHECK_ARG(variable != nullptr, "the generator's resource is not a variable");
  Philox generator(0, 0);
  SM_RETURN_IF_ERROR(variable->Update([&](Tensor& state) -> Status {
    SM_CHECK_ARG(
        state.dtype() == DType::kInt64 && state.shape().rank() == 1 && state.num_elements() >= 3,
        "the generator's state is ", state.TypeString(),
        ", expected int64 and at least 3 elements");
    const int64_t* s = state.data<int64_t>();
    generator = Philox(static_cast<uint64_t>(s[2]), static_cast<uint64_t>(s[0]),
                       static_cast<uint64_t>(s[1]));
    Philox next = generator;
    next.Skip(outputs * kReservedWords);
    int64_t* to = state.mutable_data<int64_t>();
    if (to == nullptr) return ResourceExhausted("no memory for the generator's state");
    to[0] = static_cast<int64_t>(next.counter_low());
    to[1] = static_cast<int64_t>(next.counter_high());
    return Status();
  }));
  return generator;
}

Status ShapeFromInput1(ShapeContext& ctx) { return RandomShapeFromInput(ctx, 1); }
Status ShapeFromInput2(ShapeContext& ctx) { return RandomShapeFromInput(ctx, 2); }

// Inputs resource, algorithm, shape.
template <Distribution distribution>
Status RunFromVariable(OpContext& ctx) {
  SM_CHECK_ARG(ctx.input(1).num_elements() == 1, "algorithm must be a scalar, not ",
               ctx.input(1).shape());
  SM_RETURN_IF_ERROR(CheckRandomAlgorithm(ctx.IntInput(1)));
  SM_ASSIGN_OR_RETURN(const Philox generator,
                      ReserveFromVariable(ctx, ctx.output(0).num_elements()));
  return FillRandom(ctx, distribution, generator, ctx.output(0));
}

// Inputs resource, shape.
Status RunStatefulStandardNormal(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator,
                      ReserveFromVariable(ctx, ctx.output(0).num_elements()));
  return FillRandom(ctx, Distribution::kNormal, generator, ctx.output(0));
}

Status RunIntFromVariable(OpContext& ctx) {
  SM_CHECK_ARG(ctx.input(1).num_elements() == 1, "algorithm must be a scalar, not ",
               ctx.input(1).shape());
  SM_RETURN_IF_ERROR(CheckRandomAlgorithm(ctx.IntInput(1)));
  SM_ASSIGN_OR_RETURN(const Philox generator,
                      ReserveFromVariable(ctx, ctx.output(0).num_elements()));
  return FillUniformInt(ctx, generator, ctx.input(3), ctx.input(4), ctx.output(0));
}

Status RngSkipShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  if (ctx.num_outputs() > 0) ctx.set_output(0, Shape({3}));
  return Status();
}

// Inputs resource, algorithm, number of elements to skip. RngReadAndSkip gives the old state.
Status RunRngSkip(OpContext& ctx) {
  SM_RETURN_IF_ERROR(CheckRandomAlgorithm(ctx.IntInput(1)));
  const uint64_t delta = ctx.input(2).dtype() == DType::kUInt64
                             ? *ctx.in<uint64_t>(2)
                             : static_cast<uint64_t>(ctx.IntInput(2));
  SM_RETURN_IF_ERROR(ReserveFromVariable(ctx, delta).status());
  return Status();
}

Status RunRngReadAndSkip(OpContext& ctx) {
  SM_RETURN_IF_ERROR(CheckRandomAlgorithm(ctx.IntInput(1)));
  SM_ASSIGN_OR_RETURN(const Philox generator, ReserveFromVariable(ctx, *ctx.in<uint64_t>(2)));
  int64_t* state = ctx.out<int64_t>(0);
  state[0] = static_cast<int64_t>(generator.counter_low());
  state[1] = static_cast<int64_t>(generator.counter_high());
  state[2] = static_cast<int64_t>(generator.key());
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature =
         "RandomStandardNormal(shape: T) -> (output: dtype); seed: int = 0; seed2: int = 0; "
         "dtype: {half,bfloat16,float,double}; T: {int32,int64}",
     .effects = Effects::kRandom,
     .shape = RandomShape,
     .build = BuildStateful<Distribution::kNormal>},
    {.signature =
         "RandomUniform(shape: T) -> (output: dtype); seed: int = 0; seed2: int = 0; dtype: "
         "{half,bfloat16,float,double}; T: {int32,int64}",
     .effects = Effects::kRandom,
     .shape = RandomShape,
     .build = BuildStateful<Distribution::kUniform>},
    {.signature =
         "RandomUniformInt(shape: T, minval: Tout, maxval: Tout) -> (output: Tout); seed: int "
         "= 0; seed2: int = 0; Tout: {int32,int64}; T: {int32,int64}",
     .effects = Effects::kRandom,
     .shape = RandomShape,
     .build = BuildStatefulInt},
    {.signature = "RngReadAndSkip(resource: resource, alg: int32, delta: uint64) -> (value: int64)",
     .effects = Effects::kWritesState,
     .shape = RngSkipShape,
     .build = BuildPlain<RunRngReadAndSkip>},
    {.signature = "RngSkip(resource: resource, algorithm: int64, delta: int64) -> ()",
     .effects = Effects::kWritesState,
     .shape = RngSkipShape,
     .build = BuildPlain<RunRngSkip>},
    {.signature =
         "StatefulStandardNormal(resource: resource, shape: shape_dtype) -> (output: dtype); "
         "dtype: type = float; shape_dtype: type = int64",
     .effects = Effects::kWritesState,
     .shape = ShapeFromInput1,
     .build = BuildPlain<RunStatefulStandardNormal>},
    {.signature =
         "StatefulStandardNormalV2(resource: resource, algorithm: int64, shape: shape_dtype) "
         "-> (output: dtype); dtype: type = float; shape_dtype: type = int64",
     .effects = Effects::kWritesState,
     .shape = ShapeFromInput2,
     .build = BuildPlain<RunFromVariable<Distribution::kNormal>>},
    {.signature =
         "StatefulTruncatedNormal(resource: resource, algorithm: int64, shape: shape_dtype) -> "
         "(output: dtype); dtype: type = float; shape_dtype: type = int64",
     .effects = Effects::kWritesState,
     .shape = ShapeFromInput2,
     .build = BuildPlain<RunFromVariable<Distribution::kTruncatedNormal>>},
    {.signature = "StatefulUniform(resource: resource, algorithm: int64, shape: shape_dtype) -> "
                  "(output: dtype); dtype: type = float; shape_dtype: type = int64",
     .effects = Effects::kWritesState,
     .shape = ShapeFromInput2,
     .build = BuildPlain<RunFromVariable<Distribution::kUniform>>},
    {.signature =
         "StatefulUniformFullInt(resource: resource, algorithm: int64, shape: shape_dtype) -> "
         "(output: dtype); dtype: type = uint64; shape_dtype: type = int64",
     .effects = Effects::kWritesState,
     .shape = ShapeFromInput2,
     .build = BuildPlain<RunFromVariable<Distribution::kFullInt>>},
    {.signature =
         "StatefulUniformInt(resource: resource, algorithm: int64, shape: shape_dtype, minval: "
         "dtype, maxval: dtype) -> (output: dtype); dtype: type = int64; shape_dtype: type = "
         "int64",
     .effects = Effects::kWritesState,
     .shape = ShapeFromInput2,
     .build = BuildPlain<RunIntFromVariable>},
    {.signature = "StatelessRandomGetAlg() -> (alg: int32)",
     .shape = shape::Scalar,
     .build = BuildPlain<RunGetAlg>},
    {.signature =
         "StatelessRandomGetKeyCounter(seed: Tseed) -> (key: uint64, counter: uint64); Tseed: "
         "{int32,int64} = int64",
     .shape = KeyCounterShape,
     .build = BuildPlain<RunKeyCounter>},
    {.signature =
         "StatelessRandomGetKeyCounterAlg(seed: Tseed) -> (key: uint64, counter: uint64, alg: "
         "int32); Tseed: {int32,int64} = int64",
     .shape = KeyCounterShape,
     .build = BuildPlain<RunKeyCounterAlg>},
    {.signature =
         "StatelessRandomNormal(shape: T, seed: Tseed) -> (output: dtype); dtype: {half,"
         "bfloat16,float,double} = float; T: {int32,int64} = int32; Tseed: {int32,int64} = "
         "int64",
     .shape = RandomShape,
     .build = BuildPlain<RunStateless<Distribution::kNormal>>},
    {.signature =
         "StatelessRandomNormalV2(shape: Tshape, key: uint64, counter: uint64, alg: int32) -> "
         "(output: dtype); dtype: {half,bfloat16,float,double} = float; Tshape: {int32,int64} "
         "= int32",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessV2<Distribution::kNormal>>},
    {.signature =
         "StatelessRandomUniform(shape: T, seed: Tseed) -> (output: dtype); dtype: {half,"
         "bfloat16,float,double} = float; T: {int32,int64} = int32; Tseed: {int32,int64} = "
         "int64",
     .shape = RandomShape,
     .build = BuildPlain<RunStateless<Distribution::kUniform>>},
    {.signature =
         "StatelessRandomUniformFullInt(shape: T, seed: Tseed) -> (output: dtype); dtype: "
         "{int32,int64,uint32,uint64} = uint64; T: {int32,int64} = int32; Tseed: {int32,int64,"
         "uint32,uint64} = int64",
     .shape = RandomShape,
     .build = BuildPlain<RunStateless<Distribution::kFullInt>>},
    {.signature =
         "StatelessRandomUniformFullIntV2(shape: Tshape, key: uint64, counter: uint64, alg: "
         "int32) -> (output: dtype); dtype: {int32,int64,uint32,uint64} = uint64; Tshape: "
         "{int32,int64} = int32",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessV2<Distribution::kFullInt>>},
    {.signature =
         "StatelessRandomUniformInt(shape: T, seed: Tseed, minval: dtype, maxval: dtype) -> "
         "(output: dtype); dtype: {int32,int64}; T: {int32,int64}; Tseed: {int32,int64} = int64",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessInt>},
    {.signature =
         "StatelessRandomUniformIntV2(shape: Tshape, key: uint64, counter: uint64, alg: int32, "
         "minval: dtype, maxval: dtype) -> (output: dtype); dtype: {int32,int64,uint32,"
         "uint64}; Tshape: {int32,int64} = int32",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessIntV2>},
    {.signature =
         "StatelessRandomUniformV2(shape: Tshape, key: uint64, counter: uint64, alg: int32) -> "
         "(output: dtype); dtype: {half,bfloat16,float,double} = float; Tshape: {int32,int64} "
         "= int32",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessV2<Distribution::kUniform>>},
    {.signature =
         "StatelessTruncatedNormal(shape: T, seed: Tseed) -> (output: dtype); dtype: {half,"
         "bfloat16,float,double} = float; T: {int32,int64} = int32; Tseed: {int32,int64} = "
         "int64",
     .shape = RandomShape,
     .build = BuildPlain<RunStateless<Distribution::kTruncatedNormal>>},
    {.signature =
         "StatelessTruncatedNormalV2(shape: Tshape, key: uint64, counter: uint64, alg: int32) "
         "-> (output: dtype); dtype: {half,bfloat16,float,double} = float; Tshape: {int32,"
         "int64} = int32",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessV2<Distribution::kTruncatedNormal>>},
    {.signature =
         "TruncatedNormal(shape: T) -> (output: dtype); seed: int = 0; seed2: int = 0; dtype: "
         "{half,bfloat16,float,double}; T: {int32,int64}",
     .effects = Effects::kRandom,
     .shape = RandomShape,
     .build = BuildStateful<Distribution::kTruncatedNormal>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RandomOps() { return kOps; }

}  // namespace savedmodel
