// Products: blocking for the caches, packing, division into jobs.
#include "src/kernels/isa/gemm.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "src/base/aligned_vector.h"
#include "src/base/ceil_div.h"

namespace savedmodel {
namespace {

// Depth of the part of a panel that is multiplied at a time, so that it stays in the first
// (narrow panels) or second cache level while rows stream past it.
int64_t DepthOfBlock(const VectorCode& code) { return code.lanes == 16 ? 768 : 384; }
// Floats of A in a block of rows, which stay in the second cache level over all panels: with a part
// of a panel beside them.
int64_t BlockFloats() {
  static const int64_t floats = [] {
    const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);  // 0 where it is not known
    return std::clamp<int64_t>(bytes, 512 * 1024, 2048 * 1024) * 3 / 8 /
           static_cast<int64_t>(sizeof(float));
  }();
  return floats;
}
// Pointers to runs that a block of rows may need.
constexpr int64_t kBlockRuns = 128 * 1024;
// Fewer rows than this read a row-major B in place: packing it would cost more than it saves.
constexpr int64_t kRowsWorthPacking = 24;

// Memory that a thread keeps for its next product; bounded by the blocking.
struct Scratch {
  std::vector<const float*> runs;
  AlignedVector<float> panel;
  AlignedVector<int32_t> words;  // of rows of A in fewer bits
  std::vector<RowScale> scales;
};
Scratch& ThreadScratch() {
  thread_local Scratch scratch;
  return scratch;
}

// Part of A's columns: taps [tap, tap + taps), of each run [offset, offset + depth).
struct Part {
  int64_t tap, taps, offset, depth;
};

// How A's columns are cut: not at all, between taps, or each run into pieces.
class Parts {
 public:
  Parts(const VectorCode& code, const Product& p) : p_(p) {
    const int64_t limit = DepthOfBlock(code), most = limit + limit / 8;
    if (p.taps * p.depth <= most) return;
    if (p.depth > most) {
      pieces_ = CeilDiv(p.depth, limit);
      groups_ = p.taps;
    } else {
      groups_ = CeilDiv(p.taps, std::max<int64_t>(1, limit / p.depth));
    }
  }

  int64_t size() const { return groups_ * pieces_; }

  Part operator[](int64_t i) const {
    if (size() == 1) return {0, p_.taps, 0, p_.depth};
    const int64_t group = i / pieces_, piece = i % pieces_;
    const int64_t tap = p_.taps * group / groups_, end = p_.taps * (group + 1) / groups_;
    const int64_t offset = p_.depth * piece / pieces_;
    return {tap, end - tap, offset, p_.depth * (piece + 1) / pieces_ - offset};
  }

 private:
  const Product& p_;
  int64_t groups_ = 1, pieces_ = 1;
};

// The first row of B that a part is multiplied with.
int64_t RowOfB(const Product& p, const Part& part) { return part.tap * p.depth + part.offset; }

bool IsFloat32(const PackedMatrix& b) { return b.precision() == Precision::kFloat32; }
// Null where the numbers that are multiplied are float32.
const ReducedCode* ReducedCodeOf(const Product& p) {
  return p.packed == nullptr ? nullptr : Reduced(p.packed->precision());
}
// Whether B is in bfloat16, but what is multiplied is float32.
bool IsWidened(const Product& p) {
  return p.packed != nullptr && !IsFloat32(*p.packed) && ReducedCodeOf(p) == nullptr;
}

// Tiles are 6 or 8 rows high.
constexpr int64_t kRowsOfTiles = 24;

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

// The thread's memory for `floats` floats of a panel.
float* PanelMemory(int64_t floats) {
  AlignedVector<float>& panel = ThreadScratch().panel;
  if (static_cast<int64_t>(panel.size()) < floats) panel.resize(floats);
  return panel.data();
}

// Points `args` to the part of B at rows [k, k + depth) and the panel's columns.
void PointToB(const VectorCode& code, const Product& p, const Panels::Panel& panel, int64_t k,
              int64_t depth, PanelArgs* args) {
  args->b_stride = panel.width;
  if (p.packed != nullptr && IsFloat32(*p.packed)) {
    args->b = p.packed->panel(panel.begin) + k * panel.width;
    return;
  }
  const bool few_rows = args->row_end - args->row_begin < kRowsWorthPacking;
  if (p.packed != nullptr) {
    const uint16_t* halves = p.packed->halves(panel.begin) + k * panel.width;
    if (few_rows && args->vectors == code.max_vectors) {
      args->halves = halves;
    } else {
      float* const widened = PanelMemory(depth * panel.width);
      code.widen(halves, depth * panel.width, widened);
      args->b = widened;
      args->halves = nullptr;
    }
    return;
  }
  const float* from = p.b.at(k, panel.begin);
  if (p.b.column_stride == 1 && panel.columns == panel.width && few_rows) {
    args->b = from;
    args->b_stride = p.b.row_stride;
    return;
  }
  float* const packed = PanelMemory(depth * panel.width);
  code.pack(from, p.b.row_stride, p.b.column_stride, depth, panel.columns, panel.width, nullptr,
            packed);
  args->b = packed;
}

// Splits an epilogue into what tiles do in registers and the steps that remain.
void SetEpilogue(const Epilogue& epilogue, PanelArgs* args) {
  args->bias = epilogue.bias;
  const VectorStep* step = epilogue.steps.data();
  const VectorStep* end = step + epilogue.steps.size();
  if (step != end && step->op == ScalarOp::kAdd && step->row_stride != 0) {
    args->residual = step->operand;
    args->residual_stride = step->row_stride;
    ++step;
  }
  TakeLimits(&step, end, &args->low, &args->high);
  args->steps = step;
  args->num_steps = static_cast<int>(end - step);
}

// What becomes of the sums of rows [row_begin, row_end), of all columns; the epilogue follows the
// last part of A's columns.
PanelArgs OutputOf(const Product& p, int64_t row_begin, int64_t row_end, bool is_last) {
  PanelArgs args = kNoPanel;
  args.c = p.c;
  args.c_stride = p.c_stride;
  args.row_begin = row_begin;
  args.row_end = row_end;
  args.all_rows = p.is_part ? INT64_MAX : p.rows;
  if (is_last && p.epilogue != nullptr) SetEpilogue(*p.epilogue, &args);
  return args;
}

// Makes `args`, which are those of all columns but for what depends on the panel, a panel's.
class PanelTaker {
 public:
  explicit PanelTaker(PanelArgs* args)
      : args_(*args), c_(args->c), bias_(args->bias), residual_(args->residual) {}

  void operator()(const Panels::Panel& panel) const {
    args_.c = c_ + panel.begin;
    args_.columns = panel.columns;
    args_.vectors = panel.vectors;
    if (bias_ != nullptr) args_.bias = bias_ + panel.begin;
    if (residual_ != nullptr) args_.residual = residual_ + panel.begin;
    args_.first_column = panel.begin;
  }

 private:
  PanelArgs& args_;
  float* const c_;
  const float* const bias_;
  const float* const residual_;
};

// The thread's memory for `n` runs.
const float** RunMemory(int64_t n) {
  std::vector<const float*>& runs = ThreadScratch().runs;
  if (static_cast<int64_t>(runs.size()) < n) runs.resize(static_cast<size_t>(n));
  return runs.data();
}

// Writes the runs of rows [begin, end) of A to the thread's memory.
const float** FindRuns(const Product& p, int64_t begin, int64_t end) {
  const float** const runs = RunMemory((end - begin) * p.taps);
  p.runs(begin, end, runs);
  return runs;
}

// Consecutive rows of A as words, with their scales, in memory that is the thread's otherwise.
class ReducedRows {
 public:
  ReducedRows(const ReducedCode& code, const Product& p, int64_t begin, int64_t end)
      : code_(code),
        p_(p),
        first_(begin),
        depth_(CeilDiv(p.taps * p.depth, code.group)),
        stride_(CeilDiv(depth_, kAligned) * kAligned + kAligned) {
    std::swap(words_, ThreadScratch().words);
    std::swap(scales_, ThreadScratch().scales);
    const size_t rows = static_cast<size_t>(end - begin), needed = rows * stride_;
    if (words_.size() < needed) words_.resize(needed);
    if (scales_.size() < rows) scales_.resize(rows);
  }
  ~ReducedRows() {
    std::swap(words_, ThreadScratch().words);
    std::swap(scales_, ThreadScratch().scales);
  }

  // Fills in rows [begin, end), by any thread.
  void Reduce(int64_t begin, int64_t end) {
    const float* const* runs = FindRuns(p_, begin, end);
    for (int64_t row = begin; row < end; ++row, runs += p_.taps) {
      code_.reduce(runs, p_.taps, p_.depth, &words_[(row - first_) * stride_],
                   &scales_[row - first_]);
    }
  }

  int64_t depth() const { return depth_; }    // in words
  int64_t stride() const { return stride_; }  // in words
  const int32_t* words(int64_t row) const { return words_.data() + (row - first_) * stride_; }
  const RowScale* scales(int64_t row) const { return scales_.data() + (row - first_); }

 private:
  static constexpr int64_t kAligned = 16;

  const ReducedCode& code_;
  const Product& p_;
  const int64_t first_, depth_, stride_;  // a stride is no power of two
  AlignedVector<int32_t> words_;
  std::vector<RowScale> scales_;
};

// The same as RunBlock, of rows that are reduced already.
void RunReducedBlock(const VectorCode& code, const ReducedCode& reduced, const Product& p,
                     const Panels& panels, const ReducedRows& rows, int64_t row_begin,
                     int64_t row_end, int64_t panel_begin, int64_t panel_end) {
  const int64_t parts = std::max<int64_t>(1, CeilDiv(rows.depth(), DepthOfBlock(code) * 9 / 8));
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t begin = rows.depth() * i / parts, end = rows.depth() * (i + 1) / parts;
    ReducedCode::PanelArgs args;
    args.out = OutputOf(p, row_begin, row_end, i + 1 == parts);
    const PanelTaker take(&args.out);
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const int64_t column = panels[panel].begin, width = panels[panel].width;
      take(panels[panel]);
      args.a = rows.words(row_begin) + begin;
      args.a_stride = rows.stride();
      args.depth = end - begin;
      args.b = p.packed->words(column) + begin * width;
      const int64_t after = panels[panel + 1 < panel_end ? panel + 1 : panel_begin].begin;
      args.out.next = reinterpret_cast<const float*>(p.packed->words(after) + begin * width);
      args.accumulate = i > 0;
      if (i + 1 == parts) {
        args.row_scales = rows.scales(row_begin);
        args.column_scales = p.packed->column_scales(column);
        args.column_sums = p.packed->column_sums(column);
      }
      reduced.panel(args);
      if (args.out.num_steps == 0) continue;
      const Epilogue of_panel = p.epilogue->FromColumn(column);
      const VectorStep* steps = of_panel.steps.data() + of_panel.steps.size() - args.out.num_steps;
      code.apply(steps, args.out.num_steps, args.out.c, p.c_stride, row_begin, row_end,
                 args.out.columns);
    }
  }
}

// The rows and the panel of `args`, line by line.
void RunLines(const VectorCode& code, const Product& p, int64_t first_column, PanelArgs args) {
  const int64_t end = args.row_end;
  for (int64_t row = args.row_begin; row < end; row = args.row_end) {
    const int64_t n = row / p.line_rows;
    args.c = (*p.line)(n) + first_column - n * p.line_rows * p.c_stride;
    args.row_begin = row;
    args.row_end = std::min(end, (n + 1) * p.line_rows);
    code.panel(args);
    args.a += (args.row_end - row) * args.taps_stride;
  }
}

// Rows [row_begin, row_end) of panels [panel_begin, panel_end), by all their runs.
void RunBlockByRuns(const VectorCode& code, const Product& p, const Panels& panels,
                    int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end) {
  const float* const* runs = FindRuns(p, row_begin, row_end);
  const Parts parts(code, p);
  for (int64_t i = 0; i < parts.size(); ++i) {
    const Part part = parts[i];
    const bool is_last_part = i + 1 == parts.size();
    PanelArgs args = OutputOf(p, row_begin, row_end, is_last_part);
    const PanelTaker take(&args);
    args.a = runs + part.tap;
    args.taps = part.taps;
    args.taps_stride = p.taps;
    args.a_offset = part.offset;
    args.depth = part.depth;
    args.accumulate = i > 0;
    const int64_t k = RowOfB(p, part);
    Panels::Panel panel = panels[panel_begin];
    for (int64_t n = panel_begin; n < panel_end; ++n) {
      const bool is_last = n + 1 == panel_end;
      int64_t next = n + 1, next_k = k;
      if (is_last) {  // the next part, or what the thread's next job will most likely begin with
        next = !is_last_part ? panel_begin : panel_end < panels.size() ? panel_end : 0;
        next_k = is_last_part ? 0 : RowOfB(p, parts[i + 1]);
      }
      const Panels::Panel after = panels[next];
      take(panel);
      PointToB(code, p, panel, k, part.taps * part.depth, &args);
      args.next = args.b;
      if (p.packed != nullptr) {
        const int64_t skipped = next_k * after.width;
        args.next = IsFloat32(*p.packed)
                        ? p.packed->panel(after.begin) + skipped
                        : reinterpret_cast<const float*>(p.packed->halves(after.begin) + skipped);
        if (is_last && is_last_part && p.following != nullptr) args.next = p.following->panel(0);
      }
      if (p.line == nullptr) {
        code.panel(args);
      } else {
        RunLines(code, p, panel.begin, args);
      }
      panel = after;
    }
  }
}

// The same of rows that have their runs at p.distances from their first ones.
void RunBlockByDistances(const VectorCode& code, const Product& p, const Panels& panels,
                         const float* const* first_runs, int64_t row_begin, int64_t row_end,
                         int64_t panel_begin, int64_t panel_end) {
  PanelArgs args = OutputOf(p, row_begin, row_end, true);
  const PanelTaker take(&args);
  args.a = first_runs;
  args.distances = p.distances;
  args.taps = p.taps;
  args.depth = p.depth;
  for (int64_t n = panel_begin; n < panel_end; ++n) {
    take(panels[n]);
    args.b = p.packed->panel(panels[n].begin);
    args.b_stride = panels[n].width;
    code.panel(args);
  }
}

// Rows [row_begin, row_end) of panels [panel_begin, panel_end).
void RunBlock(const VectorCode& code, const Product& p, const Panels& panels, int64_t row_begin,
              int64_t row_end, int64_t panel_begin, int64_t panel_end) {
  if (const ReducedCode* reduced = ReducedCodeOf(p)) {
    ReducedRows rows(*reduced, p, row_begin, row_end);
    rows.Reduce(row_begin, row_end);
    return RunReducedBlock(code, *reduced, p, panels, rows, row_begin, row_end, panel_begin,
                           panel_end);
  }
  const bool takes_distances = p.distances != nullptr && code.has_short_runs &&
                               p.packed != nullptr && IsFloat32(*p.packed) &&
                               Parts(code, p).size() == 1 &&
                               OutputOf(p, row_begin, row_end, true).residual == nullptr;
  while (takes_distances && row_begin < row_end) {
    const float** const first_runs = RunMemory(row_end - row_begin);
    const Product::Alike alike = (*p.alike)(row_begin, row_end, first_runs);
    const int64_t end = row_begin + alike.rows;
    if (alike.have_distances && alike.rows >= kRowsOfTiles) {
      RunBlockByDistances(code, p, panels, first_runs, row_begin, end, panel_begin, panel_end);
    } else {
      RunBlockByRuns(code, p, panels, row_begin, end, panel_begin, panel_end);
    }
    row_begin = end;
  }
  if (row_begin < row_end) {
    RunBlockByRuns(code, p, panels, row_begin, row_end, panel_begin, panel_end);
  }
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

void RunProduct(OpContext& ctx, const Product& p) {
  const VectorCode& code = Vectors();
  const Panels panels(code, p.columns);
  const int64_t threads = ctx.run().pool == nullptr ? 1 : ctx.run().pool->num_threads();
  const Jobs jobs = Cut(code, p, panels.size(), IsSmall(p) ? 1 : threads);
  if (jobs.blocks * jobs.groups == 1) {
    return RunBlock(code, p, panels, 0, p.rows, 0, panels.size());
  }
  const ReducedCode* reduced = ReducedCodeOf(p);
  if (reduced == nullptr || jobs.blocks > 1 || jobs.groups == 1) {
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
