#include "src/kernels/isa/product_block.h"

#include <algorithm>
#include <utility>

#include "src/base/ceil_div.h"

namespace savedmodel {
namespace {

// Fewer rows than this read a row-major B in place: packing it would cost more than it saves.
constexpr int64_t kRowsWorthPacking = 24;
constexpr int64_t kRowsOfTile = 6;  // the fewest that a full one has
// Numbers of B that are on more pages than processors remember.
constexpr int64_t kOnNewPages = 1536 * 1024;

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
  args.on_new_pages = p.packed != nullptr && p.taps * p.depth * p.columns >= kOnNewPages;
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

// The panel after the last one: of the next part, or what the thread's next job will most likely
// begin with.
int64_t PanelAfter(const Panels& panels, bool is_last_part, int64_t panel_begin,
                   int64_t panel_end) {
  return !is_last_part ? panel_begin : panel_end < panels.size() ? panel_end : 0;
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
      if (is_last) {
        next = PanelAfter(panels, is_last_part, panel_begin, panel_end);
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

}  // namespace

ReducedRows::ReducedRows(const ReducedCode& code, const Product& p, int64_t begin, int64_t end)
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

ReducedRows::~ReducedRows() {
  std::swap(words_, ThreadScratch().words);
  std::swap(scales_, ThreadScratch().scales);
}

void ReducedRows::Reduce(int64_t begin, int64_t end) {
  code_.reduce(FindRuns(p_, begin, end), end - begin, p_.taps, p_.depth, p_.rounded,
               &words_[(begin - first_) * stride_], stride_, &scales_[begin - first_]);
}

void RunReducedBlock(const VectorCode& code, const ReducedCode& reduced, const Product& p,
                     const Panels& panels, const ReducedRows& rows, int64_t row_begin,
                     int64_t row_end, int64_t panel_begin, int64_t panel_end) {
  const int64_t parts = std::max<int64_t>(1, CeilDiv(rows.depth(), DepthOfBlock(code) * 9 / 8));
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t begin = rows.depth() * i / parts, end = rows.depth() * (i + 1) / parts;
    const bool is_last_part = i + 1 == parts;
    ReducedCode::PanelArgs args;
    args.out = OutputOf(p, row_begin, row_end, is_last_part);
    const PanelTaker take(&args.out);
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const int64_t column = panels[panel].begin, width = panels[panel].width;
      take(panels[panel]);
      args.a = rows.words(row_begin) + begin;
      args.a_stride = rows.stride();
      args.depth = end - begin;
      args.b = p.packed->words(column) + begin * width;
      const bool is_last = panel + 1 == panel_end;
      const Panels::Panel next =
          panels[is_last ? PanelAfter(panels, is_last_part, panel_begin, panel_end) : panel + 1];
      const int64_t next_begin = !is_last ? begin : is_last_part ? 0 : end;
      args.out.next =
          reinterpret_cast<const float*>(p.packed->words(next.begin) + next_begin * next.width);
      args.accumulate = i > 0;
      if (is_last_part) {
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
    const bool has_parts =
        row_end - row_begin <= kRowsOfTile && p.following == nullptr && Parts(code, p).size() > 1;
    // What is read once is read as it lies in memory: all parts of a panel before the next.
    const int64_t at_once = has_parts ? 1 : panel_end - panel_begin;
    for (int64_t n = panel_begin; n < panel_end; n += at_once) {
      RunBlockByRuns(code, p, panels, row_begin, row_end, n, n + at_once);
    }
  }
}

}  // namespace savedmodel
