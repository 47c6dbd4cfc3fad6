#include "src/kernels/nn/recurrent_weights.h"

#include <algorithm>
#include <string>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"

namespace savedmodel {
namespace {

bool IsMatrix(const Tensor* weights) {
  return weights != nullptr && weights->shape().rank() == 2 && weights->num_elements() > 0;
}

StatusOr<PackedMatrices> PackMatrix(BuildContext& build, int input) {
  const Tensor& weights = *build.constant_input(input);
  const Shape& shape = weights.shape();
  return PackConstant(build, input, "recurrent", 1, shape[0], shape[1], build.precision(),
                      [&](int64_t) {
                        return MatrixView{weights.data<float>(), shape[1], 1};
                      });
}

StatusOr<ScalarOp> ReadActivation(const Attrs& attrs, const char* name) {
  for (const auto& [op, activation] : {std::pair("Tanh", ScalarOp::kTanh),
                                       {"Sigmoid", ScalarOp::kSigmoid},
                                       {"Relu", ScalarOp::kRelu},
                                       {"Relu6", ScalarOp::kRelu6},
                                       {"Elu", ScalarOp::kElu},
                                       {"Selu", ScalarOp::kSelu},
                                       {"Softplus", ScalarOp::kSoftplus},
                                       {"Softsign", ScalarOp::kSoftsign},
                                       {"_HardSigmoid", ScalarOp::kHardSigmoid}}) {
    if (attrs.String(name) == op) return activation;
  }
  return InvalidArgument("found ", name, " '", attrs.String(name), "', expected that of a cell");
}

// 0 stands for none.
float ReadClip(const Attrs& attrs, const char* name) {
  const float most = attrs.Float(name);
  return most == 0 ? __builtin_inff() : most;
}

}  // namespace

Status LoopCell::ReadAttrs(const Attrs& attrs) {
  for (const TurnPart& part : parts) gates += part.projects() ? 0 : part.gates;
  const std::vector<int64_t>& places = attrs.Ints("order");
  SM_CHECK_ARG(static_cast<int>(places.size()) == gates, "found an order of ", places.size(),
               " gates, expected ", gates);
  for (int g = 0; g < gates; ++g) {
    SM_CHECK_ARG(places[g] >= 0 && places[g] < gates, "found gate ", places[g],
                 ", expected one in [0, ", gates, ")");
    order[g] = static_cast<int>(places[g]);
  }
  SM_ASSIGN_OR_RETURN(activation, ReadActivation(attrs, "activation"));
  SM_ASSIGN_OR_RETURN(gate_activation, ReadActivation(attrs, "gate_activation"));
  gate_scale = attrs.Float("gate_scale");
  if (is_lstm()) {
    state_clip = ReadClip(attrs, "state_clip");
    projection_clip = ReadClip(attrs, "projection_clip");
  }
  last_only = attrs.Bool("last_only");
  batch_major = attrs.Bool("batch_major");
  return Status();
}

bool LoopCell::IsPlain() const {
  const TurnKind kind = parts[0].kind;
  const bool in_order = order[0] == 0 && order[1] == 1 && order[2] == 2;
  return (kind == TurnKind::kLstm || (kind == TurnKind::kGru && in_order)) &&
         activation == ScalarOp::kTanh && gate_activation == ScalarOp::kSigmoid &&
         gate_scale == 1 && !has_peepholes && !projects() && state_clip == __builtin_inff();
}

StatusOr<Tensor> PackBlocks(const LoopCell& cell, const TurnPart& part, const Tensor& weights) {
  const int64_t lanes = Vectors().lanes, depth = weights.shape()[0], columns = weights.shape()[1];
  const int64_t units = part.projects() ? columns : columns / cell.gates;
  const int64_t blocks = (units + lanes - 1) / lanes;
  SM_ASSIGN_OR_RETURN(Tensor packed,
                      Tensor::Allocate(DType::kFloat, Shape({blocks, depth, part.gates, lanes})));
  float* to = static_cast<float*>(packed.raw_mutable_data());
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t valid = std::min(lanes, units - block * lanes);
    for (int64_t k = 0; k < depth; ++k) {
      const float* row = weights.data<float>() + k * columns + block * lanes;
      for (int g = part.first; g < part.first + part.gates; ++g, to += lanes) {
        std::copy_n(row + (part.projects() ? 0 : cell.order[g] * units), valid, to);
        std::fill(to + valid, to + lanes, 0.0f);
      }
    }
  }
  return packed;
}

int WeightsOf(const TurnPart& part) { return part.projects() ? LoopCell::kProjection : 2; }

StatusOr<LoopWeights> PackWeights(BuildContext& build, const LoopCell& cell) {
  LoopWeights packed;
  if (build.input_shape(0).rank() == 2) {
    SM_ASSIGN_OR_RETURN(packed.picked, RowProducts::Share(build, 0, 1));
  } else if (IsMatrix(build.constant_input(1))) {
    SM_ASSIGN_OR_RETURN(packed.input, PackMatrix(build, 1));
  }
  const auto is_matrix = [&](const TurnPart& part) {
    return IsMatrix(build.constant_input(WeightsOf(part)));
  };
  if (!std::all_of(cell.parts.begin(), cell.parts.end(), is_matrix)) return packed;
  if (Reduced(build.precision()) != nullptr && cell.IsPlain()) {
    SM_ASSIGN_OR_RETURN(packed.reduced, PackMatrix(build, 2));
    if (packed.reduced->front().precision() != Precision::kFloat32) return packed;
    packed.reduced = nullptr;
  }
  for (const TurnPart& part : cell.parts) {
    const Tensor* weights = build.constant_input(WeightsOf(part));
    std::string key = "recurrent blocks";
    for (int g = part.first; !part.projects() && g < part.first + part.gates; ++g) {
      key += StrCat(" ", cell.order[g]);
    }
    SM_ASSIGN_OR_RETURN(
        std::shared_ptr<const void> blocks,
        build.Packed(*weights, key, [&]() -> StatusOr<std::shared_ptr<const void>> {
          SM_ASSIGN_OR_RETURN(Tensor made, PackBlocks(cell, part, *weights));
          return std::shared_ptr<const void>(std::make_shared<const Tensor>(std::move(made)));
        }));
    packed.blocks.push_back(std::static_pointer_cast<const Tensor>(std::move(blocks)));
  }
  return packed;
}

}  // namespace savedmodel
