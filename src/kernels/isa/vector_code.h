// The compute core: code that exists once per instruction set, behind one table of functions.
//
// The table's functions are compiled from the same sources (level/) with other flags for each
// level; everything but a level's entry is local to its object, so that no code compiled for a
// newer processor can be linked into what runs everywhere. Plain pointers only in this interface.
#pragma once

#include <cstdint>

#include "savedmodel/op.h"
#include "src/kernels/isa/fft_stage.h"

namespace savedmodel {

// A scalar function applied to each element of a matrix that is still in cache: y = f(y), or
// y = f(y, operand[row * row_stride + column * column_stride]).
struct VectorStep {
  ScalarOp op = ScalarOp::kNone;
  bool operand_first = false;
  float parameter = 0;
  const float* operand = nullptr;
  int64_t row_stride = 0;
  int64_t column_stride = 0;
};

// A scalar function of arrays: result[i] = f(x[i * x_step]) or f(x[i * x_step], y[i * y_step]), or
// of z, too. Steps are 0 or 1, of two operands not both 0; of three x's is 1. `result` may be an
// operand of step 1.
struct ArrayStep {
  ScalarOp op = ScalarOp::kNone;
  float parameter = 0;
  const float* x = nullptr;
  const float* y = nullptr;
  const float* z = nullptr;
  int64_t x_step = 1, y_step = 1, z_step = 1;
  float* result = nullptr;
};

// Rows [row_begin, row_end) and the columns of one panel of a product of A and B, where row r of
// A is a sequence of `taps` runs of `depth` consecutive floats:
//   c[r][j] (+)= sum over t, k of a[r * taps_stride + t][a_offset + k] * b[(t * depth + k)][j]
struct PanelArgs {
  const float* const* a = nullptr;  // row r, tap t at a[(r - row_begin) * taps_stride + t]
  int64_t taps = 1, taps_stride = 1, a_offset = 0, depth = 0;
  // Where it is not null: row r, tap t at a[r - row_begin] + distances[t]. Of at least 24 rows, a B
  // of float32 whose rows follow one another, and nothing to add but the bias.
  const int64_t* distances = nullptr;
  const float* b = nullptr;
  // B in bfloat16, instead of b: only in the widest panels.
  const uint16_t* halves = nullptr;
  int64_t b_stride = 0;  // numbers from one k to the next
  float* c = nullptr;    // row 0, first column of the panel
  int64_t c_stride = 0;
  int64_t row_begin = 0, row_end = 0;
  int64_t all_rows = 0;         // of the product that these rows are a part of
  int64_t columns = 0;          // valid ones, at most lanes * vectors
  int vectors = 1;              // width of the panel in vectors
  bool accumulate = false;      // c += instead of c =
  const float* next = nullptr;  // read after this panel: fetched into the cache meanwhile
  bool on_new_pages = false;    // whether the processor must look up the pages of what is next
  // Applied after the last part, in this order:
  const float* bias = nullptr;      // of the panel's columns
  const float* residual = nullptr;  // row 0, first column of the panel; added
  int64_t residual_stride = 0;
  float low = -__builtin_inff(), high = __builtin_inff();  // limits of the result
  const VectorStep* steps = nullptr;
  int num_steps = 0;
  int64_t first_column = 0;  // of the panel, for the steps' operands
};
// A copy of this, which no compiler sees through, takes half as long as a new one, which compilers
// clear by an instruction that is slow to start.
extern const PanelArgs kNoPanel;

// Some rows of outputs of a depthwise convolution with one filter per channel. Rows may be every
// n-th column of others: that is how windows with a dilation of n become dense.
struct DepthwiseArgs {
  // Input row of tap k of output row r's window at [r * rows_stride + k]; null where it is padding.
  const float* const* rows = nullptr;
  int64_t rows_stride = 0;
  int out_rows = 1;
  int64_t window_rows = 0, window_columns = 0;
  int64_t channels = 0, in_width = 0, out_width = 0;
  int64_t stride = 1, dilation = 1, left = 0;  // input column of output column 0's first tap
  int64_t column_step = 0;        // floats from a column to the next, of the input and the output
  int64_t out_row_step = 0;       // floats from an output row to the next
  const float* filter = nullptr;  // [window_rows][window_columns][channels]
  float* out = nullptr;
  const float* bias = nullptr;
  float low = -__builtin_inff(), high = __builtin_inff();  // limits of the result
};

// Outputs of a line of rows, each of `taps` parts of `columns` floats: the sum of part t of row i *
// stride - before + t * dilation, where there is such a row, for all t in this order, then the bias
// (null: 0).
struct TapSumArgs {
  const float* const* rows = nullptr;
  int64_t num_rows = 0, taps = 1, columns = 0;
  int64_t stride = 1, dilation = 1, before = 0;
  const float* bias = nullptr;
};

// Some pixels that are next to each other: y[p * channels + c] is made of all
// taps[t][p * step + c].
struct PoolArgs {
  const float* const* taps = nullptr;
  int64_t num_taps = 0, channels = 0;
  int64_t pixels = 1, step = 0;
  const float* weights = nullptr;  // of the taps; null: 1
  float scale = 1;
  float* y = nullptr;
};

// How Winograd's way cuts a convolution with stride 1 into tiles: F(m x m, 3 x 3), m 2 or 4, F(2 x
// 2, 5 x 5), or in one dimension F(m, r), m + r = 9. A tile's inputs become as many frequencies;
// products with those of the filter become its outputs.
struct WinogradTile {
  int rows = 0, columns = 0;  // outputs; 0: no tile
  int window_rows = 0, window_columns = 0;

  bool is_line() const { return rows == 1 || columns == 1; }
  int in_rows() const { return rows + window_rows - 1; }
  int in_columns() const { return columns + window_columns - 1; }
  int frequencies() const { return in_rows() * in_columns(); }
  explicit operator bool() const { return rows != 0; }
};

// One tile, of all channels.
struct WinogradArgs {
  int64_t channels = 0;
  const float* const* pixels = nullptr;  // of the input, row by row
  float* frequencies = nullptr;          // frequency f, channel c at f * frequency_stride + c
  int64_t frequency_stride = 0;
  float* out = nullptr;  // first output pixel, of `channels` floats
  int64_t out_row_stride = 0, out_column_stride = 0;
  int64_t out_rows = 0, out_columns = 0;  // of the tile that exist
  const float* bias = nullptr;
  float low = -__builtin_inff(), high = __builtin_inff();  // limits of the result
};

// Frequencies of some filters of such a convolution, those of `columns` output channels; computed
// in double and rounded.
struct WinogradFilterArgs {
  const float* filter = nullptr;  // tap t, input channel k at (t * depth + k) * row_stride
  int64_t row_stride = 0, depth = 0, columns = 0;
  const float* scale = nullptr;    // of each column; null: 1
  int64_t width = 0;               // of the panels; what `columns` leave becomes 0
  float* const* panels = nullptr;  // one of [depth][width] for each frequency
};

// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta of each row, mean and variance the
// row's.
struct NormalizeArgs {
  const float* x = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  float* y = nullptr;
  int64_t columns = 0;
  float epsilon = 0;
};

// y = x * (bias + alpha * sum of squares of the channels within `radius`)^-beta, of pixels.
struct ChannelNormArgs {
  int64_t channels = 0, radius = 0;
  float bias = 0, alpha = 0, beta = 0;
  // Scratch: room for the squares of each pixel, with `radius` zeros before and behind them.
  float* squares = nullptr;
};

// Attention's weights from its scores, in place: the softmax of each row of scale * score + bias,
// or `fill` where the mask says no.
struct AttentionArgs {
  float* scores = nullptr;
  int64_t stride = 0, columns = 0;
  float scale = 1, fill = 0;
  const float* bias = nullptr;  // null for none
  int64_t bias_row_stride = 0, bias_column_stride = 0;
  const bool* mask = nullptr;  // null for none
  int64_t mask_row_stride = 0, mask_column_stride = 0;
};

// One step of a long short-term memory. A row of `gates` has four blocks of `units`
// pre-activations; order[k] says which block is the input, forget, candidate and output gate's.
struct LstmArgs {
  const float* gates = nullptr;
  const float* state = nullptr;
  float* result = nullptr;
  float* next_state = nullptr;
  int64_t units = 0;
  int order[4] = {0, 1, 2, 3};
  float forget_bias = 0;
};

// One step of a gated recurrent unit whose reset gate is applied to the recurrent product. Rows of
// `x` and `recurrent` have three blocks of `units`: update, reset, candidate.
struct GruArgs {
  const float* x = nullptr;
  const float* recurrent = nullptr;
  const float* state = nullptr;
  float* result = nullptr;
  int64_t units = 0;
};

// Kinds of turns of loops over recurrent cells, by what they compute of `products` of the hidden
// state and the weights. Activations are those of TurnArgs.
enum class TurnKind : uint8_t {
  kLstm,          // gates: input, forget, candidate, output
  kGru,           // update, reset, candidate; the reset gate is applied to the candidate's product
  kGruGates,      // update, reset: next_state is the update gate, next_hidden reset * hidden
  kGruCandidate,  // candidate, of what kGruGates made: `hidden`, `state`; the hidden state is
                  // `kept`
  kRnn,           // one gate, which is the next hidden state
  kProjection,    // the product alone, clipped, is the next hidden state
};

// A turn of a loop over recurrent cells: the products of the hidden state and the recurrent
// weights, and the cells, a vector of units at a time. Blocks are of as many units as a vector has
// lanes.
struct TurnArgs {
  TurnKind kind = TurnKind::kLstm;
  // For each block and k, `lanes` columns of each gate in the cell's order, filled up with zeros.
  const float* weights = nullptr;
  const float* bias = nullptr;        // of the products, a gate's units together; null for none
  const float* x = nullptr;           // rows as those of a cell's gates, to be added
  int64_t x_stride = 0;               // from row to row
  const float* input_bias = nullptr;  // to be added to x; null for none; for kGru
  const float* hidden = nullptr;
  const float* state = nullptr;  // of a long short-term memory
  const float* kept = nullptr;
  float* next_hidden = nullptr;
  float* next_state = nullptr;
  int64_t rows = 0, units = 0;
  int64_t depth = 0;  // of the hidden state; `units` where it is not projected
  // Of a long short-term memory: weights of its state that the input, the forget and, of the next
  // state, the output gate get, each [units]; null for none.
  const float* peepholes = nullptr;
  float clip = __builtin_inff();  // of the magnitude of next_state or of what is projected
  bool is_alone = false;          // the row is the whole batch
  // From the last block to the first: turns go to and fro, so that one finds in cache what the
  // last read, and is not kept waiting by the units that the last computed at its end.
  bool backward = false;
  int order[4] = {0, 1, 2, 3};  // where gates are in x, bias and input_bias
  // Of the candidate and a long short-term memory's result; of gates, each times `gate_scale`.
  ScalarOp activation = ScalarOp::kTanh, gate_activation = ScalarOp::kSigmoid;
  float gate_scale = 1;
};

struct VectorCode {
  const char* name;
  int lanes;            // floats in a vector: a power of two
  int max_vectors;      // of the widest panel: 3, or a power of two
  bool has_short_runs;  // whether panels may have `distances`
  void (*panel)(const PanelArgs& args);
  // Copies columns [0, columns) of `depth` rows of b, at row_stride and column_stride, times the
  // column's scale (null: 1), into a panel of `width` columns, the rest of which become 0.
  void (*pack)(const float* b, int64_t row_stride, int64_t column_stride, int64_t depth,
               int64_t columns, int64_t width, const float* scale, float* panel);
  // n floats, a multiple of `lanes`, rounded to bfloat16, ties to even; and back.
  void (*narrow)(const float* x, int64_t n, uint16_t* y);
  void (*widen)(const uint16_t* x, int64_t n, float* y);
  void (*narrow_half)(const float* x, int64_t n, uint16_t* y);
  void (*widen_half)(const uint16_t* x, int64_t n, float* y);
  void (*depthwise)(const DepthwiseArgs& args);
  // Applies steps to rows [row_begin, row_end) of a matrix with `columns` columns.
  void (*apply)(const VectorStep* steps, int num_steps, float* c, int64_t c_stride,
                int64_t row_begin, int64_t row_end, int64_t columns);
  // One step after the other, each over n elements.
  void (*run_steps)(const ArrayStep* steps, int num_steps, int64_t n);
  // y[i] = op(x[i]); y may be x.
  void (*map)(ScalarOp op, float parameter, const float* x, float* y, int64_t n);
  // The same of doubles; false, and nothing done, of functions that it has not for them.
  bool (*map_doubles)(ScalarOp op, const double* x, double* y, int64_t n);
  // z[i] = condition[i] ? x[i * x_step] : y[i * y_step]; steps are 0 or 1.
  void (*select)(const bool* condition, const float* x, int64_t x_step, const float* y,
                 int64_t y_step, float* z, int64_t n);
  float (*sum)(const float* x, int64_t n);
  // Whether no number is infinite or NaN.
  bool (*all_finite)(const float* x, int64_t n);
  // Index of the first of the largest (`is_max`) or smallest of n floats, NaN never; 0 where none
  // is beyond the lowest, or highest, finite one.
  int64_t (*arg_best)(bool is_max, const float* x, int64_t n);
  // The same of each column of `rows` rows; less than 2^31 rows.
  void (*arg_best_rows)(bool is_max, const float* x, int64_t row_stride, int64_t rows,
                        int64_t columns, int32_t* results);
  // results[j] = op(results[j], x[r * row_stride + j]) for `rows` rows of `columns` columns, row by
  // row. `op` is kAdd, kMaximum or kMinimum, which give NaN where one of the elements is NaN.
  void (*combine_rows)(ScalarOp op, const float* x, int64_t row_stride, int64_t rows,
                       int64_t columns, float* results);
  // out[r * out_stride + c] = in[c * in_stride + r], bit by bit.
  void (*transpose)(const float* in, int64_t in_stride, int64_t rows, int64_t columns, float* out,
                    int64_t out_stride);
  // The largest of the taps, NaN never; their sum by weight, times the scale.
  void (*pool_maximum)(const PoolArgs& args);
  void (*pool_sum)(const PoolArgs& args);
  // Outputs [begin, end) of a line, of `columns` floats each.
  void (*sum_taps)(const TapSumArgs& args, int64_t begin, int64_t end, float* y);
  // Columns [begin, end) of the largest of a line's outputs, NaN where there is one; y has them.
  void (*largest_sums)(const TapSumArgs& args, int64_t outputs, int64_t begin, int64_t end,
                       float* y);
  // y[i] = low + scale * floor((x[i] within [low, high] - low) / scale + 1 / 2); NaN stays.
  void (*round_to_levels)(const float* x, int64_t n, float low, float high, float scale, float* y);
  // y[i] = a[i] + (b[i] - a[i]) * weight.
  void (*interpolate)(const float* a, const float* b, float weight, int64_t n, float* y);
  // y = softmax(x), or its logarithm, of each row; y may be x.
  void (*softmax)(const float* x, float* y, int64_t rows, int64_t columns, bool log);
  void (*attention_weights)(const AttentionArgs& args, int64_t rows);
  // From pixels to frequencies, and from frequencies to outputs.
  void (*winograd_input)(const WinogradTile& tile, const WinogradArgs& args);
  void (*winograd_output)(const WinogradTile& tile, const WinogradArgs& args);
  void (*winograd_filter)(const WinogradTile& tile, const WinogradFilterArgs& args);
  void (*normalize)(const NormalizeArgs& args, int64_t row_begin, int64_t row_end);
  void (*normalize_channels)(const ChannelNormArgs& args, const float* x, int64_t pixels, float* y);
  void (*lstm)(const LstmArgs& args, int64_t row_begin, int64_t row_end);
  void (*gru)(const GruArgs& args, int64_t row_begin, int64_t row_end);
  void (*turn)(const TurnArgs& args, int64_t block_begin, int64_t block_end);
  // Transforms `lanes` lines in stages, to and fro between x and y, which are aligned to vectors;
  // returns where the result is.
  float* (*fft)(const FftStage<float>* stages, int num_stages, float* x, float* y);
  // c = a * b for a [rows, depth] and b [depth, columns]. Words wrap around.
  void (*multiply_doubles)(const double* a, const double* b, double* c, int64_t rows, int64_t depth,
                           int64_t columns);
  void (*multiply_words)(const uint32_t* a, const uint32_t* b, uint32_t* c, int64_t rows,
                         int64_t depth, int64_t columns);
};

// How a row of A is quantised: a value is `scale` times the difference of its number and `zero`.
struct RowScale {
  float scale = 0;
  int32_t zero = 0;
};

// Floats that are in bfloat16, too. Up to a vector behind the last one may be read.
struct RoundedFloats {
  const float* floats = nullptr;
  int64_t count = 0;
  const uint16_t* numbers = nullptr;

  // The numbers of a run of the floats; null for another one's.
  const uint16_t* Find(const float* run) const {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(run) - reinterpret_cast<uintptr_t>(floats);
    return offset < static_cast<uintptr_t>(count) * sizeof(float) ? numbers + offset / sizeof(float)
                                                                  : nullptr;
  }
};

// Products of numbers with fewer bits than floats have. Rows of A and of packed matrices are words
// of 32 bits, each of `group` numbers of consecutive k; the last may be filled up with zeros.
struct ReducedCode {
  // Rows [out.row_begin, out.row_end) and the columns of one panel, `depth` words deep.
  struct PanelArgs {
    const int32_t* a = nullptr;  // row out.row_begin
    int64_t a_stride = 0, depth = 0;
    const int32_t* b = nullptr;
    bool accumulate = false;  // to the sums that were written of the words before these
    // Of int8. Without scales of rows, sums are written as they are.
    const RowScale* row_scales = nullptr;  // of row out.row_begin
    const float* column_scales = nullptr;  // of the panel's columns, all of its vectors
    const int32_t* column_sums = nullptr;  // of the panel's numbers
    savedmodel::PanelArgs out;             // what becomes of the sums, but for the steps
  };
  int group;
  int64_t max_depth;  // in numbers
  void (*panel)(const PanelArgs& args);
  // Makes words, `stride` of them apart, of rows of A that are `taps` runs of `depth` floats each.
  // Up to a vector of words behind a row's may be written, too. Of bfloat16, runs may be `rounded`.
  void (*reduce)(const float* const* runs, int64_t rows, int64_t taps, int64_t depth,
                 const RoundedFloats& rounded, int32_t* words, int64_t stride, RowScale* scales);
  // Makes a panel of words from one of `depth` rows of `width` floats. Columns have scales and sums
  // where the numbers are quantised; a scale is not finite where a value is not.
  void (*pack)(const float* panel, int64_t depth, int64_t width, int32_t* words,
               float* column_scales, int32_t* column_sums);
};

// Null where the processor, or the level that SAVEDMODEL_ISA names, has no such products. Null for
// bfloat16 on Intel's processors, which are twice as quick with float32, too, unless SAVEDMODEL_ISA
// is avx512_bf16.
const ReducedCode* Reduced(Precision precision);

// The best level that this processor has, or the one that the environment variable SAVEDMODEL_ISA
// names (portable, avx2, avx512, avx512_bf16), if the processor has it. Chosen once.
const VectorCode& Vectors();

}  // namespace savedmodel

// The entries of the levels; null functions do not occur.
extern "C" {
const savedmodel::VectorCode* savedmodel_vector_code_portable();
const savedmodel::VectorCode* savedmodel_vector_code_avx2();
const savedmodel::VectorCode* savedmodel_vector_code_avx512();
const savedmodel::ReducedCode* savedmodel_vector_code_avx512_bf16();
const savedmodel::ReducedCode* savedmodel_vector_code_avx512_vnni();
const savedmodel::ReducedCode* savedmodel_vector_code_avx2_vnni();
}
