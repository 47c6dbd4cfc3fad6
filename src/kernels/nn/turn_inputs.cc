#include "src/kernels/nn/turn_inputs.h"

#include <algorithm>

#include "src/base/status_macros.h"

namespace savedmodel {

Status TurnInputs::Prepare(int64_t threads) {
  if (!Multiplies()) return Status();
  const auto [turns, batch, inputs, gates, batch_major, indices] = sizes_;
  if (products_ != nullptr) {
    SM_ASSIGN_OR_RETURN(picked_, products_->Pick(ctx_, ctx_.input(indices)));
    if (batch == 1) return Status();  // turns take them from where they are
  }
  chunk_ = turns;
  if (batch >= threads) {
    // As many rows as the input weights have: reading those again is no more than what they make.
    constexpr int64_t kMostRows = 1024;
    const int64_t rows = products_ != nullptr ? 0 : std::min(inputs, kMostRows);
    chunk_ = std::min(turns, rows * threads / batch + 1);
  }
  SM_ASSIGN_OR_RETURN(made_, ctx_.AllocateTemp(DType::kFloat, Shape({chunk_, batch, gates})));
  return Status();
}

void TurnInputs::Make(int64_t t, int64_t first, int64_t rows, bool divide) {
  if (!Multiplies() || t % chunk_ != 0) return;
  if (products_ != nullptr) return Copy(t, first, rows);
  const auto runs = [&](int64_t begin, int64_t end, const float** to) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t turn = t + i / rows, row = first + i % rows;
      const int64_t at = sizes_.batch_major ? row * sizes_.turns + turn : turn * sizes_.batch + row;
      *to++ = ctx_.in<float>(0) + at * sizes_.inputs;
    }
  };
  Epilogue epilogue;
  epilogue.bias = bias_;
  const Product product{.rows = std::min(chunk_, sizes_.turns - t) * rows,
                        .columns = sizes_.gates,
                        .depth = sizes_.inputs,
                        .runs = runs,
                        .packed = packed_,
                        .b = {packed_ == nullptr ? ctx_.in<float>(1) : nullptr, sizes_.gates, 1},
                        .c = Made(t, first, rows),
                        .c_stride = sizes_.gates,
                        .epilogue = &epilogue,
                        .is_part = true};
  divide ? RunProduct(ctx_, product) : RunProductSerially(product);
}

// Puts the products of several rows together.
void TurnInputs::Copy(int64_t t, int64_t first, int64_t rows) {
  if (rows == 1) return;
  float* to = Made(t, first, rows);
  for (int64_t turn = t; turn < std::min(t + chunk_, sizes_.turns); ++turn) {
    for (int64_t row = first; row < first + rows; ++row) {
      to = std::copy_n(picked_.rows()[turn * sizes_.batch + row], sizes_.gates, to);
    }
  }
}

const float* TurnInputs::Of(int64_t t, int64_t first, int64_t rows) {
  const int64_t row = t * sizes_.batch + first;
  if (!Multiplies()) return ctx_.in<float>(0) + row * sizes_.gates;
  if (products_ != nullptr && rows == 1) return picked_.rows()[row];
  return Made(t, first, rows);
}

float* TurnInputs::Made(int64_t t, int64_t first, int64_t rows) {
  float* const begin = static_cast<float*>(made_.raw_mutable_data());
  return begin + (chunk_ * first + t % chunk_ * rows) * sizes_.gates;
}

}  // namespace savedmodel
