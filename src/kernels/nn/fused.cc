// Products and convolutions with the steps behind them named by attributes, as TensorFlow's own
// optimizer writes them into graphs.
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/kernels/nn/layers.h"
#include "src/kernels/nn/nn_ops.h"

namespace savedmodel {
namespace {

struct NamedStep {
  std::string_view name;
  ScalarOp op;
  bool has_operand;
};
constexpr NamedStep kSteps[] = {
    {"BiasAdd", ScalarOp::kAdd, true}, {"Add", ScalarOp::kAdd, true},
    {"Relu", ScalarOp::kRelu, false},  {"Relu6", ScalarOp::kRelu6, false},
    {"Elu", ScalarOp::kElu, false},    {"LeakyRelu", ScalarOp::kLeakyRelu, false},
    {"Tanh", ScalarOp::kTanh, false},  {"Sigmoid", ScalarOp::kSigmoid, false},
};

// Attribute `fused_ops` as steps; operands are the inputs after the first two.
StatusOr<std::vector<EpilogueStep>> ReadSteps(const BuildContext& build) {
  std::vector<EpilogueStep> steps;
  int operand = 2;
  for (const std::string& name : build.attrs().Get<std::vector<std::string>>("fused_ops")) {
    const NamedStep* found = nullptr;
    for (const NamedStep& step : kSteps) {
      if (step.name == name) found = &step;
    }
    if (found == nullptr) return Unimplemented("fused op ", name);
    EpilogueStep step{.op = found->op, .parameter = build.attrs().Float("leakyrelu_alpha")};
    if (found->has_operand) step.operand = operand++;
    SM_CHECK_ARG(step.operand < build.num_inputs(), "fused op ", name, " has no input");
    steps.push_back(step);
  }
  steps.insert(steps.end(), build.epilogue().begin(), build.epilogue().end());
  return steps;
}

// The node with its named steps as fused ones.
class FusedContext final : public BuildContext {
 public:
  FusedContext(BuildContext& node, std::vector<EpilogueStep> steps)
      : node_(node), steps_(std::move(steps)) {}
  const std::string& node_name() const override { return node_.node_name(); }
  const std::string& op_name() const override { return node_.op_name(); }
  const Attrs& attrs() const override { return node_.attrs(); }
  int num_inputs() const override { return node_.num_inputs(); }
  int num_outputs() const override { return node_.num_outputs(); }
  DType input_dtype(int i) const override { return node_.input_dtype(i); }
  DType output_dtype(int i) const override { return node_.output_dtype(i); }
  const Shape& input_shape(int i) const override { return node_.input_shape(i); }
  const Shape& output_shape(int i) const override { return node_.output_shape(i); }
  const Tensor* constant_input(int i) const override { return node_.constant_input(i); }
  Span<const EpilogueStep> epilogue() const override { return steps_; }
  StatusOr<std::shared_ptr<const CompiledFunction>> CompileFunction(
      const FuncAttr& f, Span<const Shape> input_shapes) override {
    return node_.CompileFunction(f, input_shapes);
  }
  int num_threads() const override { return node_.num_threads(); }
  StatusOr<std::shared_ptr<const void>> Packed(
      const Tensor& source, const std::string& kind,
      FunctionRef<StatusOr<std::shared_ptr<const void>>()> pack) override {
    return node_.Packed(source, kind, pack);
  }

 private:
  BuildContext& node_;
  std::vector<EpilogueStep> steps_;
};

template <StatusOr<KernelPtr> (*plain)(BuildContext&)>
StatusOr<KernelPtr> BuildFused(BuildContext& build) {
  if (build.output_dtype(0) != DType::kFloat) {
    return Unimplemented("a fused op of dtype ", build.output_dtype(0));
  }
  if (build.attrs().Has("data_format") && build.attrs().String("data_format") != "NHWC") {
    return Unimplemented("a fused op of data_format ", build.attrs().String("data_format"));
  }
  if (build.attrs().Has("filter_format") && build.attrs().String("filter_format") != "HWIO") {
    return Unimplemented("a fused op of filter_format ", build.attrs().String("filter_format"));
  }
  SM_ASSIGN_OR_RETURN(std::vector<EpilogueStep> steps, ReadSteps(build));
  FusedContext fused(build, std::move(steps));
  return plain(fused);
}

constexpr OpDef kOps[] = {
    {.signature = "_FusedConv2D(input: T, filter: T, args: TArgs, host_args: num_host_args * "
                  "float) -> (output: T); T: {half,float,double,int8,qint8}; TArgs: list(type) >= "
                  "1; num_args: int >= 0; num_host_args: int >= 0 = 0; strides: list(int); "
                  "padding: {'SAME','VALID','EXPLICIT'}; explicit_paddings: list(int) = []; "
                  "data_format: {'NHWC','NCHW','NCHW_VECT_C'} = 'NHWC'; "
                  "filter_format: {'HWIO','OIHW','OIHW_VECT_I'} = 'HWIO'; "
                  "dilations: list(int) = [1, 1, 1, 1]; use_cudnn_on_gpu: bool = true; "
                  "fused_ops: list(string) = []; epsilon: float = 0.0001; "
                  "leakyrelu_alpha: float = 0.2",
     .shape = Conv2DShape,
     .build = BuildFused<BuildConv2D>,
     .fusion = {.accepts_epilogue = true}},
    {.signature = "_FusedMatMul(a: T, b: T, args: num_args * T) -> (product: T); "
                  "transpose_a: bool = false; transpose_b: bool = false; "
                  "T: {bfloat16,half,float}; num_args: int >= 0; fused_ops: list(string) = []; "
                  "epsilon: float = 0.0001; leakyrelu_alpha: float = 0.2",
     .shape = MatMulShape,
     .build = BuildFused<BuildMatMul>,
     .fusion = {.accepts_epilogue = true}},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> FusedOps() { return kOps; }

}  // namespace savedmodel
