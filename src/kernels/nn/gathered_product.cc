// Products of rows that are picked by index from a constant table with constant weights: what
// recurrent layers, convolutions and dense layers make of embeddings. A row's product is computed
// when the row is first picked, and kept for all runs.
#include "src/kernels/nn/gathered_product.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "src/base/ceil_div.h"
#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/nn_ops.h"

namespace savedmodel {
namespace {

// What the op does besides multiplying: tap t of output row i is row i * stride - before + t *
// dilation of those that a line of indices picks, where there is such a row.
struct Taps {
  int64_t count = 1, stride = 1, dilation = 1, before = 0, after = 0;

  // How many rows `rows` of a line give.
  StatusOr<int64_t> OutputRows(int64_t rows) const {
    SM_ASSIGN_OR_RETURN(
        const shape::WindowSize size,
        shape::WindowOutput(rows, count, dilation, stride, "EXPLICIT", before, after));
    return size.output;
  }
};

StatusOr<Taps> ReadTaps(const Attrs& attrs, const Shape& weights) {
  const Taps taps{weights.rank() == 3 ? weights[0] : 1, attrs.Int("stride"), attrs.Int("dilation"),
                  attrs.Int("before"), attrs.Int("after")};
  constexpr int64_t kMost = 1 << 20;
  const auto fits = [&](int64_t i, int64_t least) { return i >= least && i <= kMost; };
  SM_CHECK_ARG(fits(taps.count, 1) && fits(taps.stride, 1) && fits(taps.dilation, 1) &&
                   fits(taps.before, 0) && fits(taps.after, 0),
               "found ", taps.count, " taps, stride ", taps.stride, ", dilation ", taps.dilation,
               ", padding ", taps.before, " and ", taps.after, ", expected at most ", kMost);
  return taps;
}

Status GatheredProductShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(2, 2));
  const Shape &params = ctx.input(0), &indices = ctx.input(1), &weights = ctx.input(2);
  if (!params.fully_known() || !weights.fully_known()) return Status();
  SM_CHECK_ARG(weights.rank() <= 3 && weights[weights.rank() - 2] == params[1],
               "found weights of shape ", weights, ", expected [", params[1],
               ", columns] or [taps, ", params[1], ", columns]");
  SM_ASSIGN_OR_RETURN(const Taps taps, ReadTaps(ctx.attrs(), weights));
  if (!indices.known_rank()) return Status();
  std::vector<int64_t> out = indices.ToVector();
  if (out.back() >= 0) {
    SM_ASSIGN_OR_RETURN(out.back(), taps.OutputRows(out.back()));
  }
  out.push_back(weights[weights.rank() - 1]);
  SM_ASSIGN_OR_RETURN(const Shape shape, Shape::Make(out));
  ctx.set_output(0, shape);
  return Status();
}

// The runs of a matrix whose rows are picked from a table.
struct PickedRuns {
  const float* table = nullptr;
  int64_t depth = 0;
  const int64_t* rows = nullptr;

  void operator()(int64_t begin, int64_t end, const float** runs) const {
    for (int64_t i = begin; i < end; ++i) *runs++ = table + rows[i] * depth;
  }
};

// Products of the rows of a table with a matrix. Thread-safe.
class RowProducts {
 public:
  // Of a matrix [depth, columns].
  static StatusOr<std::shared_ptr<RowProducts>> Make(const Tensor& table, const MatrixView& matrix,
                                                     int64_t columns) {
    auto made = std::make_shared<RowProducts>();
    made->table_ = table;
    made->columns_ = columns;
    SM_ASSIGN_OR_RETURN(made->matrix_, PackedMatrix::Pack(matrix, table.shape()[1], columns));
    made->capacity_ = KeptProducts(table.shape()[0], columns);
    // Its pages come when they are written.
    SM_ASSIGN_OR_RETURN(made->kept_,
                        Tensor::Allocate(DType::kFloat, Shape({made->capacity_, columns})));
    made->place_ = std::vector<std::atomic<int32_t>>(static_cast<size_t>(table.shape()[0]));
    return made;
  }

  int64_t columns() const { return columns_; }

  // That of a row; null where it is not kept.
  const float* Find(int64_t row) const {
    const int32_t place = place_[row].load(std::memory_order_acquire);
    return place == 0 ? nullptr : kept_.data<float>() + (place - 1) * columns_;
  }

  // Keeps those of these rows, as far as there is room.
  void Keep(const std::vector<int64_t>& rows) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<int64_t> fresh;
    for (const int64_t row : rows) {
      if (Find(row) == nullptr) fresh.push_back(row);
    }
    std::sort(fresh.begin(), fresh.end());
    fresh.erase(std::unique(fresh.begin(), fresh.end()), fresh.end());
    fresh.resize(std::min(fresh.size(), static_cast<size_t>(capacity_ - used_)));
    if (fresh.empty()) return;
    float* const kept = static_cast<float*>(kept_.raw_mutable_data());
    const PickedRuns runs = RunsOf(fresh);
    RunProductSerially(ProductOf(fresh, runs, kept + used_ * columns_));
    for (const int64_t row : fresh) {
      place_[row].store(static_cast<int32_t>(++used_), std::memory_order_release);
    }
  }

  // Computes those of these rows, one after the other.
  void Compute(OpContext& ctx, const std::vector<int64_t>& rows, float* out) const {
    const PickedRuns runs = RunsOf(rows);
    RunProduct(ctx, ProductOf(rows, runs, out));
  }

 private:
  PickedRuns RunsOf(const std::vector<int64_t>& rows) const {
    return {table_.data<float>(), table_.shape()[1], rows.data()};
  }
  // The same however many others a row is computed with.
  Product ProductOf(const std::vector<int64_t>& rows, const PickedRuns& runs, float* out) const {
    return {.rows = static_cast<int64_t>(rows.size()),
            .columns = columns_,
            .depth = table_.shape()[1],
            .runs = runs,
            .packed = &matrix_,
            .c = out,
            .c_stride = columns_,
            .epilogue = &none_,
            .is_part = true};
  }

  Tensor table_;
  int64_t columns_ = 0, capacity_ = 0;
  PackedMatrix matrix_;
  Tensor kept_;                              // [capacity, columns]
  std::vector<std::atomic<int32_t>> place_;  // of each row in `kept_`, counted from 1; 0: none
  std::mutex mutex_;
  int64_t used_ = 0;  // guarded by `mutex_`
  const Epilogue none_;
};

// [depth, columns], or filters [taps, depth, columns] side by side.
StatusOr<std::shared_ptr<RowProducts>> MakeProducts(const Tensor& table, const Tensor& weights) {
  const Shape& shape = weights.shape();
  const int64_t taps = shape.rank() == 3 ? shape[0] : 1, columns = shape[shape.rank() - 1];
  const int64_t depth = table.shape()[1];
  if (taps == 1) return RowProducts::Make(table, {weights.data<float>(), columns, 1}, columns);
  std::vector<float> side_by_side;
  side_by_side.reserve(static_cast<size_t>(weights.num_elements()));
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t t = 0; t < taps; ++t) {
      const float* row = weights.data<float>() + (t * depth + k) * columns;
      side_by_side.insert(side_by_side.end(), row, row + columns);
    }
  }
  return RowProducts::Make(table, {side_by_side.data(), taps * columns, 1}, taps * columns);
}

class GatheredProduct : public Kernel {
 public:
  GatheredProduct(const Taps& taps, std::shared_ptr<RowProducts> products,
                  Span<const EpilogueStep> epilogue)
      : taps_(taps), products_(std::move(products)), epilogue_(epilogue.begin(), epilogue.end()) {}

  std::string DebugString() const override { return "products that are kept by row"; }

  Status Run(OpContext& ctx) const override {
    const Shape &indices = ctx.input(1).shape(), &out = ctx.output(0).shape();
    const int64_t line = indices[indices.rank() - 1], out_line = out[out.rank() - 2];
    const int64_t columns = out[out.rank() - 1], count = out.Product(0, out.rank() - 1);
    SM_ASSIGN_OR_RETURN(Tensor pointers,
                        ctx.AllocateTemp(DType::kInt64, Shape({indices.num_elements()})));
    const float** const rows = static_cast<const float**>(pointers.raw_mutable_data());
    SM_ASSIGN_OR_RETURN(const Tensor computed, FindRows(ctx, rows));
    Epilogue epilogue;
    SM_RETURN_IF_ERROR(epilogue.Resolve(ctx, epilogue_, out));
    const double cost = 4 + 0.03 * static_cast<double>(taps_.count * columns);
    ctx.ParallelFor(CeilDiv(count, kBlock), kBlock * cost, [&](int64_t begin, int64_t end) {
      std::vector<const float*> terms;
      for (int64_t first = begin * kBlock; first < end * kBlock; first += kBlock) {
        const int64_t last = std::min(first + kBlock, count);
        for (int64_t i = first; i < last; ++i) {
          terms.clear();
          for (int64_t t = 0; t < taps_.count; ++t) {
            const int64_t at = i % out_line * taps_.stride - taps_.before + t * taps_.dilation;
            if (at < 0 || at >= line) continue;
            terms.push_back(rows[i / out_line * line + at] + t * columns);
          }
          if (epilogue.bias != nullptr) terms.push_back(epilogue.bias);
          Vectors().pool_sum({.taps = terms.data(),
                              .num_taps = static_cast<int64_t>(terms.size()),
                              .channels = columns,
                              .y = ctx.out<float>(0) + i * columns});
        }
        epilogue.ApplySteps(ctx.out<float>(0), columns, first, last);
      }
    });
    return Status();
  }

 private:
  static constexpr int64_t kBlock = 16;  // rows that the first cache level holds

  // Where the product of each row lies that an index picks. Returns those that are not kept.
  StatusOr<Tensor> FindRows(OpContext& ctx, const float** rows) const {
    const IntReader index(ctx.input(1));
    const int64_t count = ctx.input(1).num_elements(), size = ctx.input(0).shape()[0];
    std::vector<int64_t> missing;
    for (int64_t i = 0; i < count; ++i) {
      SM_CHECK_ARG(index[i] >= 0 && index[i] < size, "indices[", i, "] is ", index[i],
                   ", expected an index in [0, ", size, ")");
      rows[i] = products_->Find(index[i]);
      if (rows[i] == nullptr) missing.push_back(index[i]);
    }
    if (missing.empty()) return Tensor();
    products_->Keep(missing);
    missing.clear();
    for (int64_t i = 0; i < count; ++i) {
      if (rows[i] == nullptr) rows[i] = products_->Find(index[i]);
      if (rows[i] == nullptr) missing.push_back(index[i]);
    }
    if (missing.empty()) return Tensor();
    const Shape shape({static_cast<int64_t>(missing.size()), products_->columns()});
    SM_ASSIGN_OR_RETURN(Tensor computed, ctx.AllocateTemp(DType::kFloat, shape));
    const float* next = computed.data<float>();
    products_->Compute(ctx, missing, static_cast<float*>(computed.raw_mutable_data()));
    for (int64_t i = 0; i < count; ++i) {
      if (rows[i] == nullptr) rows[i] = std::exchange(next, next + products_->columns());
    }
    return computed;
  }

  const Taps taps_;
  const std::shared_ptr<RowProducts> products_;
  const std::vector<EpilogueStep> epilogue_;
};

StatusOr<KernelPtr> BuildGatheredProduct(BuildContext& build) {
  const Tensor *table = build.constant_input(0), *weights = build.constant_input(2);
  SM_CHECK_ARG(table != nullptr && weights != nullptr,
               "found a table or weights that are computed, expected constants");
  SM_ASSIGN_OR_RETURN(const Taps taps, ReadTaps(build.attrs(), weights->shape()));
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const void> products,
                      build.Packed(*weights, StrCat("products with rows of ", table->raw_data()),
                                   [&]() -> StatusOr<std::shared_ptr<const void>> {
                                     SM_ASSIGN_OR_RETURN(auto made, MakeProducts(*table, *weights));
                                     return std::shared_ptr<const void>(std::move(made));
                                   }));
  auto shared = std::const_pointer_cast<RowProducts>(
      std::static_pointer_cast<const RowProducts>(std::move(products)));
  return KernelPtr(std::make_unique<GatheredProduct>(taps, std::move(shared), build.epilogue()));
}

constexpr OpDef kOps[] = {
    {.signature = "_GatheredProduct(params: float, indices: Tindices, weights: float) -> (y: "
                  "float); Tindices: {int32,int64}; stride: int = 1; dilation: int = 1; before: "
                  "int = 0; after: int = 0",
     .shape = GatheredProductShape,
     .build = BuildGatheredProduct,
     .fusion = {.accepts_epilogue = true}},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> GatheredProductOps() { return kOps; }

}  // namespace savedmodel
