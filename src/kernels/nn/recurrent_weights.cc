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

}  // namespace

bool LoopCell::IsPlain() const {
  const TurnKind kind = parts[0].kind;
  const bool in_order = order[0] == 0 && order[1] == 1 && order[2] == 2;
  return (kind == TurnKind::kLstm || (kind == TurnKind::kGru && in_order)) &&
         activation == ScalarOp::kTanh && gate_activation == ScalarOp::kSigmoid && gate_scale == 1;
}

StatusOr<Tensor> PackBlocks(const LoopCell& cell, const TurnPart& part, const Tensor& weights) {
  const int64_t lanes = Vectors().lanes, units = weights.shape()[0];
  const int64_t blocks = (units + lanes - 1) / lanes;
  SM_ASSIGN_OR_RETURN(Tensor packed,
                      Tensor::Allocate(DType::kFloat, Shape({blocks, units, part.gates, lanes})));
  float* to = static_cast<float*>(packed.raw_mutable_data());
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t valid = std::min(lanes, units - block * lanes);
    for (int64_t k = 0; k < units; ++k) {
      const float* row = weights.data<float>() + k * cell.gates * units + block * lanes;
      for (int g = part.first; g < part.first + part.gates; ++g, to += lanes) {
        std::copy_n(row + cell.order[g] * units, valid, to);
        std::fill(to + valid, to + lanes, 0.0f);
      }
    }
  }
  return packed;
}

StatusOr<LoopWeights> PackWeights(BuildContext& build, const LoopCell& cell) {
  LoopWeights packed;
  if (build.input_shape(0).rank() == 2) {
    SM_ASSIGN_OR_RETURN(packed.picked, RowProducts::Share(build, 0, 1));
  } else if (IsMatrix(build.constant_input(1))) {
    SM_ASSIGN_OR_RETURN(packed.input, PackMatrix(build, 1));
  }
  const Tensor* weights = build.constant_input(2);
  if (!IsMatrix(weights)) return packed;
  if (Reduced(build.precision()) != nullptr && cell.IsPlain()) {
    SM_ASSIGN_OR_RETURN(packed.reduced, PackMatrix(build, 2));
    if (packed.reduced->front().precision() != Precision::kFloat32) return packed;
    packed.reduced = nullptr;
  }
  for (const TurnPart& part : cell.parts) {
    std::string key = "recurrent blocks";
    for (int g = part.first; g < part.first + part.gates; ++g) key += StrCat(" ", cell.order[g]);
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
