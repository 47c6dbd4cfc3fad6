// Products: division into blocks that suit the caches, and into jobs for threads.
#include "src/kernels/isa/gemm.h"

#include <unistd.h>

#include <algorithm>

#include "src/base/ceil_div.h"
#include "src/base/status_macros.h"
#include "src/kernels/isa/product_block.h"

namespace savedmodel {
namespace {

// Floats that the second cache level holds, within what processors have.
int64_t SecondLevelFloats() {
  static const int64_t floats = [] {
    const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);  // 0 where it is not known
    return std::clamp<int64_t>(bytes, 512 * 1024, 2048 * 1024) /
           static_cast<int64_t>(sizeof(float));
  }();
  return floats;
}

// Floats of A in a block of rows, which stay in the second cache level over all panels: with a part
// of a panel beside them.
int64_t BlockFloats() { return SecondLevelFloats() * 3 / 8; }

// Most rows of a block.
int64_t MostRows(const VectorCode& code, const Product& p) {
  if (p.taps > kBlockRuns / kRowsOfTiles) return std::max<int64_t>(1, kBlockRuns / p.taps);
  const ReducedCode* reduced = ReducedCodeOf(p);
  const int64_t depth = reduced != nullptr  // rows are whole, but of fewer bits
                            ? p.taps * p.depth / reduced->group
                            : std::min(p.taps * p.depth, DepthOfBlock(code));
  return std::clamp<int64_t>(BlockFloats() / std::max<int64_t>(1, depth), kRowsOfTiles,
                             kBlockRuns / p.taps);
}

// Nanoseconds, more or less: of reading B, which few rows wait for, and of multiplying.
double CostOf(int64_t rows, double columns, const Product& p) {
  const double multiplication = 0.22 / Vectors().lanes, read = 0.03;
  return (read + multiplication * static_cast<double>(rows)) * columns *
         static_cast<double>(p.taps) * static_cast<double>(p.depth);
}
// Whether the product is not worth dividing among threads.
bool IsSmall(const Product& p) { return CostOf(p.rows, static_cast<double>(p.columns), p) < 5000; }

// How a product is cut into jobs: blocks of rows times groups of panels.
struct Jobs {
  int64_t blocks, groups;

  // The first row of a block. They are even, so that threads have as many rows, or the first, which
  // begins before the others, one more; of whole tiles where that adds little.
  int64_t RowOf(const Product& p, int64_t block) const {
    const int64_t row = CeilDiv(p.rows * block, blocks);
    const bool is_tall = p.rows >= 8 * kRowsOfTiles * blocks && block < blocks;
    return is_tall ? row / kRowsOfTiles * kRowsOfTiles : row;
  }
};

// Jobs for `threads` threads: several for each, where there are so many rows or panels, so that a
// late one does not keep the others waiting.
Jobs Cut(const VectorCode& code, const Product& p, int64_t panels, int64_t threads) {
  constexpr int64_t kSmallMatrix = 256 * 1024;  // floats that each thread may well read for itself
  const int64_t wanted = threads == 1 ? 1 : 4 * threads;
  if (threads == 1 && p.rows <= kRowsOfTiles && p.taps == 1) {
    // What follows finds the same, but takes as long as small products.
    return {1, 1};
  }
  Jobs jobs{};
  jobs.blocks = std::max<int64_t>(1, CeilDiv(p.rows, MostRows(code, p)));
  // Rows are what other ops are cut by; but what is shorter is read by all jobs, and widened by
  // each.
  const bool by_rows = p.rows >= kRowsOfTiles * threads && !IsWidened(p) &&
                       (p.columns <= p.rows || p.taps * p.depth * p.columns <= kSmallMatrix);
  if (!by_rows) jobs.groups = std::min(panels, CeilDiv(wanted, jobs.blocks));
  jobs.groups = std::max<int64_t>(1, jobs.groups);
  if (jobs.blocks * jobs.groups < wanted) {
    const int64_t most = by_rows ? p.rows / kRowsOfTiles : CeilDiv(p.rows, 2 * kRowsOfTiles);
    jobs.blocks =
        std::clamp(most, jobs.blocks, std::max(jobs.blocks, CeilDiv(wanted, jobs.groups)));
    jobs.groups = std::min(panels, CeilDiv(wanted, jobs.blocks));
  }
  if (jobs.groups == 1 && jobs.blocks > threads) {  // as many for each
    jobs.blocks = CeilDiv(jobs.blocks, threads) * threads;
  }
  return jobs;
}

// Whether rows of A, which jobs have in common, are reduced for all of them rather than by each:
// that is one more loop to hand over, and memory.
bool ShareRows(const Product& p, const Jobs& jobs) {
  constexpr int64_t kLeast = 512 * 1024, kMost = 8192 * 1024;  // numbers
  const int64_t numbers = p.rows * p.taps * p.depth;
  return jobs.groups > 1 &&
         (jobs.blocks == 1 || (numbers * (jobs.groups - 1) >= kLeast && numbers <= kMost));
}

// Calls run(rows, panels) of each job, with the threads of the run.
using RunJob =
    FunctionRef<void(int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end)>;
void RunJobs(OpContext& ctx, const Product& p, const Jobs& jobs, int64_t panels, RunJob run) {
  const double columns = static_cast<double>(p.columns) / static_cast<double>(jobs.groups);
  const double cost = CostOf(CeilDiv(p.rows, jobs.blocks), columns, p);
  ctx.ParallelFor(jobs.blocks * jobs.groups, cost + 100, [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) {
      const int64_t block = job / jobs.groups, group = job % jobs.groups;
      run(jobs.RowOf(p, block), jobs.RowOf(p, block + 1), panels * group / jobs.groups,
          panels * (group + 1) / jobs.groups);
    }
  });
}

}  // namespace

int64_t StagedFloats() { return std::min<int64_t>(128 * 1024, SecondLevelFloats() / 2); }

StatusOr<RoundedFloats> RoundOnce(OpContext& ctx, const PackedMatrix& packed, const float* floats,
                                  int64_t n, Tensor* memory) {
  const ReducedCode* reduced = Reduced(Precision::kBFloat16);
  if (packed.precision() != Precision::kBFloat16 || reduced == nullptr) return RoundedFloats();
  constexpr int64_t kBlock = 4096, kBehind = 64;
  SM_ASSIGN_OR_RETURN(*memory, ctx.AllocateTemp(DType::kBFloat16, Shape({n + kBehind})));
  auto* const numbers = static_cast<uint16_t*>(memory->raw_mutable_data());
  ctx.ParallelFor(CeilDiv(n, kBlock), 0.02 * kBlock, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kBlock;
    const float* run = floats + first;
    reduced->reduce(&run, 1, 1, std::min(n, end * kBlock) - first, {},
                    reinterpret_cast<int32_t*>(numbers + first), 0, nullptr);
  });
  return RoundedFloats{floats, n, numbers};
}

void RunProduct(OpContext& ctx, const Product& p) {
  const VectorCode& code = Vectors();
  const Panels panels(code, p.columns);
  const int64_t threads = ctx.run().pool == nullptr ? 1 : ctx.run().pool->num_threads();
  const Jobs jobs = Cut(code, p, panels.size(), IsSmall(p) ? 1 : threads);
  if (jobs.blocks * jobs.groups == 1) {
    return RunBlock(code, p, panels, 0, p.rows, 0, panels.size());
  }
  const ReducedCode* reduced = ReducedCodeOf(p);
  if (reduced == nullptr || !ShareRows(p, jobs)) {
    return RunJobs(ctx, p, jobs, panels.size(),
                   [&](auto... job) { RunBlock(code, p, panels, job...); });
  }
  // The jobs have their rows in common: they are reduced once.
  ReducedRows rows(*reduced, p, 0, p.rows);
  const double cost = 0.1 * static_cast<double>(p.taps) * static_cast<double>(p.depth);
  ctx.ParallelFor(p.rows, cost, [&](int64_t begin, int64_t end) { rows.Reduce(begin, end); });
  RunJobs(ctx, p, jobs, panels.size(),
          [&](auto... job) { RunReducedBlock(code, *reduced, p, panels, rows, job...); });
}

void RunProductSerially(const Product& p) {
  const VectorCode& code = Vectors();
  const Panels panels(code, p.columns);
  const Jobs jobs = Cut(code, p, panels.size(), 1);
  for (int64_t block = 0; block < jobs.blocks; ++block) {
    RunBlock(code, p, panels, jobs.RowOf(p, block), jobs.RowOf(p, block + 1), 0, panels.size());
  }
}

}  // namespace savedmodel
