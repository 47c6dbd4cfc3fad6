// One level of the compute core; compiled once per instruction set.
#include "src/kernels/isa/level/depthwise.h"
#include "src/kernels/isa/level/doubles.h"
#include "src/kernels/isa/level/fft.h"
#include "src/kernels/isa/level/gemm.h"
#include "src/kernels/isa/level/halves.h"
#include "src/kernels/isa/level/layers.h"
#include "src/kernels/isa/level/products.h"
#include "src/kernels/isa/level/recurrent.h"
#include "src/kernels/isa/level/rows.h"
#include "src/kernels/isa/level/softmax.h"
#include "src/kernels/isa/level/steps.h"
#include "src/kernels/isa/level/transpose.h"
#include "src/kernels/isa/level/winograd.h"

#define SM_STRING_INNER(x) #x
#define SM_STRING(x) SM_STRING_INNER(x)
#define SM_CONCAT_INNER(a, b) a##b
#define SM_CONCAT(a, b) SM_CONCAT_INNER(a, b)

extern "C" const savedmodel::VectorCode* SM_CONCAT(savedmodel_vector_code_, SM_LEVEL)() {
  using namespace savedmodel;
  static constexpr VectorCode kCode = {
      .name = SM_STRING(SM_LEVEL),
      .lanes = kLanes,
      .max_vectors = kMaxVectors,
      .has_short_runs = kHasShortRuns,
      .panel = Panel,
      .pack = Pack,
      .narrow = Narrow,
      .widen = Widen,
      .narrow_half = NarrowHalf,
      .widen_half = WidenHalf,
      .depthwise = Depthwise,
      .apply = Apply,
      .run_steps = RunSteps,
      .map = Map,
      .map_doubles = MapDoubles,
      .select = SelectByBools,
      .sum = SumOf,
      .all_finite = AllFinite,
      .arg_best = ArgBest,
      .arg_best_rows = ArgBestRows,
      .combine_rows = CombineRows,
      .transpose = Transpose,
      .pool_maximum = PoolMaximum,
      .pool_sum = PoolSum,
      .sum_taps = SumTaps,
      .largest_sums = LargestSums,
      .round_to_levels = RoundToLevels,
      .interpolate = Interpolate,
      .softmax = SoftmaxRows,
      .attention_weights = AttentionWeights,
      .winograd_input = WinogradInput,
      .winograd_output = WinogradOutput,
      .winograd_filter = WinogradFilter,
      .normalize = NormalizeRows,
      .normalize_channels = NormalizeChannels,
      .lstm = LstmCell,
      .gru = GruCell,
      .turn = RunTurn,
      .fft = RunFftStages<Vec, float>,
      .multiply_doubles = Multiply<double>,
      .multiply_words = Multiply<uint32_t>,
  };
  return &kCode;
}
