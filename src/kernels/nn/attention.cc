// Attention in one pass over blocks of rows: their scores stay in the cache until they are used.
#include <algorithm>
#include <array>
#include <vector>

#include "src/base/aligned_vector.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/nn_ops.h"

namespace savedmodel {
namespace {

constexpr int kMostDims = 8;
// Floats of scores at a time, and the least rows of them.
constexpr int64_t kBlockFloats = 64 * 1024;
constexpr int64_t kLeastRows = 24;

// Where dimensions are in the operands' shapes: batch…, row, column.
struct AttentionAttrs {
  std::vector<int64_t> query, key, value, output;
  std::vector<int64_t> scores;  // in a bias' and a mask's
  float scale = 1, fill = 0;
  bool has_bias = false, has_mask = false;

  int rank() const { return static_cast<int>(query.size()); }
};

Status CheckPermutation(const std::vector<int64_t>& dims, size_t rank) {
  std::vector<bool> seen(rank, false);
  bool good = dims.size() == rank && rank >= 2 && rank <= kMostDims;
  for (size_t i = 0; good && i < rank; ++i) {
    good = dims[i] >= 0 && dims[i] < static_cast<int64_t>(rank) && !seen[dims[i]];
    if (good) seen[dims[i]] = true;
  }
  SM_CHECK_ARG(good, "found dimensions that are no permutation of 0 to ", rank, " - 1");
  return Status();
}

StatusOr<AttentionAttrs> ReadAttrs(const Attrs& attrs) {
  AttentionAttrs a;
  a.query = attrs.Ints("query_dims");
  a.key = attrs.Ints("key_dims");
  a.value = attrs.Ints("value_dims");
  a.output = attrs.Ints("output_dims");
  a.scores = attrs.Ints("score_dims");
  a.scale = attrs.Float("scale");
  a.fill = attrs.Float("fill");
  a.has_bias = attrs.Int("num_biases") > 0;
  a.has_mask = attrs.Int("num_masks") > 0;
  for (const auto* dims : {&a.query, &a.key, &a.value, &a.output, &a.scores}) {
    SM_RETURN_IF_ERROR(CheckPermutation(*dims, a.query.size()));
  }
  const int64_t last = a.rank() - 1;
  SM_CHECK_ARG(a.query.back() == last && a.output.back() == last,
               "found rows of the query or the output that are not consecutive");
  return a;
}

Status AttentionShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const AttentionAttrs a, ReadAttrs(ctx.attrs()));
  const int rank = a.rank();
  for (int i = 0; i < 3; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, rank));
  const Shape &query = ctx.input(0), &value = ctx.input(2);
  if (!query.known_rank() || !value.known_rank()) return Status();
  std::vector<int64_t> out(static_cast<size_t>(rank));
  for (int i = 0; i < rank - 1; ++i) out[a.output[i]] = query[static_cast<int>(a.query[i])];
  out[a.output[rank - 1]] = value[static_cast<int>(a.value[rank - 1])];
  SM_ASSIGN_OR_RETURN(Shape shape, Shape::Make(out));
  ctx.set_output(0, std::move(shape));
  return Status();
}

// Sizes of an operand's dimensions in the order batch…, row, column, and how far apart elements
// along them are.
struct View {
  std::array<int64_t, kMostDims> sizes{}, strides{};
};

View ViewOf(const Shape& shape, const std::vector<int64_t>& dims) {
  std::array<int64_t, kMostDims> strides{};
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i];
  }
  View view;
  for (size_t i = 0; i < dims.size(); ++i) {
    view.sizes[i] = shape[static_cast<int>(dims[i])];
    view.strides[i] = strides[dims[i]];
  }
  return view;
}

// Of what is broadcast to the scores, whose dimensions have `sizes`.
StatusOr<View> BroadcastView(const Shape& shape, const std::vector<int64_t>& dims,
                             const std::array<int64_t, kMostDims>& sizes) {
  const int rank = static_cast<int>(dims.size()), missing = rank - shape.rank();
  bool fits = missing >= 0;
  std::vector<int64_t> wide(static_cast<size_t>(rank), 1);
  for (int i = 0; fits && i < shape.rank(); ++i) wide[i + missing] = shape[i];
  View view = ViewOf(Shape(wide), dims);
  for (int i = 0; i < rank; ++i) {
    fits = fits && (view.sizes[i] == 1 || view.sizes[i] == sizes[i]);
    if (view.sizes[i] == 1) view.strides[i] = 0;
  }
  SM_CHECK_ARG(fits, "found a bias or mask of shape ", shape, ", which does not fit the scores");
  return view;
}

class Attention {
 public:
  static StatusOr<Attention> Make(OpContext& ctx, const AttentionAttrs& attrs) {
    Attention a;
    const int rank = attrs.rank();
    a.batch_dims_ = rank - 2;
    a.query_ = ViewOf(ctx.input(0).shape(), attrs.query);
    a.key_ = ViewOf(ctx.input(1).shape(), attrs.key);
    a.value_ = ViewOf(ctx.input(2).shape(), attrs.value);
    a.output_ = ViewOf(ctx.output(0).shape(), attrs.output);
    const int row = a.batch_dims_, column = row + 1;
    bool same =
        a.query_.sizes[column] == a.key_.sizes[column] && a.key_.sizes[row] == a.value_.sizes[row];
    for (int i = 0; i < a.batch_dims_; ++i) {
      same = same && a.query_.sizes[i] == a.key_.sizes[i] && a.key_.sizes[i] == a.value_.sizes[i];
      a.batch_ *= a.query_.sizes[i];
    }
    SM_CHECK_ARG(same, "found a query, key and value of shapes ", ctx.input(0).shape(), ", ",
                 ctx.input(1).shape(), ", ", ctx.input(2).shape(), ", which do not fit together");
    a.rows_ = a.query_.sizes[row];
    a.depth_ = a.query_.sizes[column];
    a.keys_ = a.key_.sizes[row];
    a.columns_ = a.value_.sizes[column];
    a.q_ = ctx.in<float>(0);
    a.k_ = ctx.in<float>(1);
    a.v_ = ctx.in<float>(2);
    a.out_ = ctx.out<float>(0);
    a.weights_.scale = attrs.scale;
    a.weights_.fill = attrs.fill;
    std::array<int64_t, kMostDims> sizes = a.query_.sizes;
    sizes[column] = a.keys_;
    if (attrs.has_bias) {
      SM_ASSIGN_OR_RETURN(a.bias_, BroadcastView(ctx.input(3).shape(), attrs.scores, sizes));
      a.weights_.bias = ctx.in<float>(3);
      a.weights_.bias_row_stride = a.bias_.strides[row];
      a.weights_.bias_column_stride = a.bias_.strides[column];
    }
    if (attrs.has_mask) {
      const int input = 3 + attrs.has_bias;
      SM_ASSIGN_OR_RETURN(a.mask_, BroadcastView(ctx.input(input).shape(), attrs.scores, sizes));
      a.weights_.mask = ctx.in<bool>(input);
      a.weights_.mask_row_stride = a.mask_.strides[row];
      a.weights_.mask_column_stride = a.mask_.strides[column];
    }
    return a;
  }

  void Run(OpContext& ctx) const {
    const int64_t block =
        std::min(rows_, std::max(kLeastRows, kBlockFloats / std::max<int64_t>(1, keys_)));
    const int64_t blocks = (rows_ + block - 1) / block;
    const double cost = static_cast<double>(block) * static_cast<double>(keys_) *
                        (1 + 0.04 * static_cast<double>(depth_ + columns_));
    ctx.ParallelFor(batch_ * blocks, cost, [&](int64_t begin, int64_t end) {
      for (int64_t job = begin; job < end; ++job) {
        const int64_t first = job % blocks * block;
        RunBlock(job / blocks, first, std::min(rows_, first + block));
      }
    });
  }

 private:
  // Of element (0, 0) of matrix `batch`.
  int64_t Offset(const View& view, int64_t batch) const {
    int64_t offset = 0;
    for (int i = batch_dims_ - 1; i >= 0; --i) {
      offset += batch % query_.sizes[i] * view.strides[i];
      batch /= query_.sizes[i];
    }
    return offset;
  }

  void RunBlock(int64_t batch, int64_t begin, int64_t end) const {
    constexpr int64_t kPadding = 16;  // keeps strides that are powers of two apart
    thread_local AlignedVector<float> scores;
    const int row = batch_dims_, column = row + 1;
    const int64_t stride = keys_ + kPadding;
    if (static_cast<int64_t>(scores.size()) < (end - begin) * stride) {
      scores.resize((end - begin) * stride);
    }
    const float* q = q_ + Offset(query_, batch) + begin * query_.strides[row];
    const EvenRuns queries{q, query_.strides[row]};
    RunProductSerially({.rows = end - begin,
                        .columns = keys_,
                        .depth = depth_,
                        .runs = queries,
                        .b = {k_ + Offset(key_, batch), key_.strides[column], key_.strides[row]},
                        .c = scores.data(),
                        .c_stride = stride});
    AttentionArgs args = weights_;
    args.scores = scores.data();
    args.stride = stride;
    args.columns = keys_;
    if (args.bias != nullptr) {
      args.bias += Offset(bias_, batch) + begin * args.bias_row_stride;
    }
    if (args.mask != nullptr) {
      args.mask += Offset(mask_, batch) + begin * args.mask_row_stride;
    }
    Vectors().attention_weights(args, end - begin);
    const EvenRuns weights{scores.data(), stride};
    RunProductSerially(
        {.rows = end - begin,
         .columns = columns_,
         .depth = keys_,
         .runs = weights,
         .b = {v_ + Offset(value_, batch), value_.strides[row], value_.strides[column]},
         .c = out_ + Offset(output_, batch) + begin * output_.strides[row],
         .c_stride = output_.strides[row]});
  }

  int batch_dims_ = 0;
  View query_, key_, value_, output_, bias_, mask_;
  int64_t batch_ = 1, rows_ = 0, depth_ = 0, keys_ = 0, columns_ = 0;
  const float *q_ = nullptr, *k_ = nullptr, *v_ = nullptr;
  float* out_ = nullptr;
  AttentionArgs weights_;  // without the place
};

StatusOr<KernelPtr> BuildAttention(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const AttentionAttrs attrs, ReadAttrs(build.attrs()));
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Attention attention, Attention::Make(ctx, attrs));
    if (ctx.output(0).num_elements() > 0) attention.Run(ctx);
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "_Attention(query: float, key: float, value: float, bias: num_biases * float, "
                  "mask: num_masks * bool) -> (output: float); query_dims: list(int); "
                  "key_dims: list(int); value_dims: list(int); output_dims: list(int); "
                  "score_dims: list(int); scale: float; fill: float; num_biases: int; "
                  "num_masks: int",
     .shape = AttentionShape,
     .build = BuildAttention},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> AttentionOps() { return kOps; }

}  // namespace savedmodel
