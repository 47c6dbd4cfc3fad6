// Cells of recurrent layers, and turns of their loops: products and cells in one.
#pragma once

#include "src/kernels/isa/level/layers.h"
#include "src/kernels/isa/level/tile.h"

namespace savedmodel {
namespace {

struct LstmStep {
  Vec result, state;
};
inline LstmStep StepLstm(Vec input, Vec forget, Vec candidate, Vec output, Vec state) {
  const Vec next = Sigmoid(forget) * state + Sigmoid(input) * Tanh(candidate);
  return {Sigmoid(output) * Tanh(next), next};
}

inline Vec StepGru(Vec update, Vec reset, Vec x_candidate, Vec recurrent_candidate, Vec state) {
  const Vec kept = Sigmoid(update);
  const Vec candidate = Tanh(x_candidate + Sigmoid(reset) * recurrent_candidate);
  return kept * state + (1.0f - kept) * candidate;
}

void LstmCell(const LstmArgs& a, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const float* gates = a.gates + r * 4 * a.units;
    const float* input = gates + a.order[0] * a.units;
    const float* forget = gates + a.order[1] * a.units;
    const float* candidate = gates + a.order[2] * a.units;
    const float* output = gates + a.order[3] * a.units;
    const int64_t row = r * a.units;
    ForVectors(a.units, [&](auto load, auto store) {
      const LstmStep step = StepLstm(load(input), load(forget) + a.forget_bias, load(candidate),
                                     load(output), load(a.state + row));
      store(a.next_state + row, step.state);
      store(a.result + row, step.result);
    });
  }
}

void GruCell(const GruArgs& a, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const float* x = a.x + r * 3 * a.units;
    const float* h = a.recurrent + r * 3 * a.units;
    const int64_t row = r * a.units;
    ForVectors(a.units, [&](auto load, auto store) {
      store(a.result + row,
            StepGru(load(x) + load(h), load(x + a.units) + load(h + a.units), load(x + 2 * a.units),
                    load(h + 2 * a.units), load(a.state + row)));
    });
  }
}

// What becomes of the products of one row and a vector of units, beginning at `unit`.
struct LstmTurn {
  static constexpr int kGates = 4;

  template <class Load, class Store>
  static __attribute__((always_inline)) void Finish(const TurnArgs& p, Vec (&sums)[kGates],
                                                    int64_t row, int64_t unit, Load&& load,
                                                    Store&& store) {
    const float* x = p.x + row * kGates * p.units + unit;
#pragma GCC unroll 4
    for (int g = 0; g < kGates; ++g) {
      const int64_t gate = p.order[g] * p.units;
      if (p.bias != nullptr) sums[g] += load(p.bias + gate + unit);
      sums[g] += load(x + gate);
    }
    const int64_t at = row * p.units + unit;
    const LstmStep step =
        StepLstm(sums[0], sums[1] + p.forget_bias, sums[2], sums[3], load(p.state + at));
    store(p.next_state + at, step.state);
    store(p.next_hidden + at, step.result);
  }
};

struct GruTurn {
  static constexpr int kGates = 3;

  template <class Load, class Store>
  static __attribute__((always_inline)) void Finish(const TurnArgs& p, Vec (&sums)[kGates],
                                                    int64_t row, int64_t unit, Load&& load,
                                                    Store&& store) {
    Vec x[kGates];
#pragma GCC unroll 4
    for (int g = 0; g < kGates; ++g) {
      const int64_t column = p.order[g] * p.units + unit;
      x[g] = load(p.x + row * kGates * p.units + column);
      if (p.input_bias != nullptr) x[g] += load(p.input_bias + column);
      if (p.bias != nullptr) sums[g] += load(p.bias + column);
    }
    const int64_t at = row * p.units + unit;
    store(p.next_hidden + at,
          StepGru(x[0] + sums[0], x[1] + sums[1], x[2], sums[2], load(p.hidden + at)));
  }
};

// The same for `count` rows from `row` on. A function of its own, so that the products' loop has
// all registers.
template <class Cell>
__attribute__((noinline)) void FinishRows(const TurnArgs& p, Vec (*sums)[Cell::kGates], int count,
                                          int64_t row, int64_t unit) {
  const int64_t n = p.units - unit;
  for (int r = 0; r < count; ++r) {
    if (n >= kLanes) {
      Cell::Finish(p, sums[r], row + r, unit, Load, Store);
    } else {
      Cell::Finish(
          p, sums[r], row + r, unit, [n](const float* from) { return LoadSome(from, n); },
          [n](float* to, Vec v) { StoreSome(to, v, n); });
    }
  }
}

// A vector of units, beginning at `unit`, of some rows. Sums are kept kCopies times, as in Tile.
template <class Cell, int kRows, int kCopies>
void TurnTile(const TurnArgs& p, const float* weights, int64_t unit, int64_t row, Ahead ahead) {
  constexpr int kGates = Cell::kGates, kWidth = kGates * kLanes;
  Vec sums[kCopies][kRows][kGates];
#pragma GCC unroll 4
  for (int i = 0; i < kCopies; ++i) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int g = 0; g < kGates; ++g) sums[i][r][g] = Vec{};
    }
  }
  const int64_t depth = p.units;
  const float* b;
  const float* rows[kRows];
  const auto add = [&](int64_t k, Vec(&into)[kRows][kGates]) __attribute__((always_inline)) {
    Vec row_b[kGates];
#pragma GCC unroll 4
    for (int g = 0; g < kGates; ++g) row_b[g] = Load(b + g * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vec x = Splat(rows[r][k]);
#pragma GCC unroll 4
      for (int g = 0; g < kGates; ++g) into[r][g] += x * row_b[g];
    }
    b += kWidth;
  };
  const auto add_units = [&](int64_t k, int64_t end) {
    b = weights + k * kWidth;
    for (; k + 4 <= end; k += 4) {
      for (int i = 0; i < ahead.lines; ++i, ahead.from += kLine) {
        __builtin_prefetch(ahead.from, 0, 2);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) add(k + i, sums[i % kCopies]);
    }
    for (; k < end; ++k) add(k, sums[0]);
  };
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) rows[r] = p.hidden + (row + r) * depth;
  // The units that the turn before computed at its end come last.
  const int64_t last = p.backward || depth < kLanes ? 0 : kLanes;
  add_units(last, depth);
  add_units(0, last);
  Vec results[kRows][kGates];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < kGates; ++g) {
      results[r][g] = sums[0][r][g];
#pragma GCC unroll 4
      for (int i = 1; i < kCopies; ++i) results[r][g] += sums[i][r][g];
    }
  }
  FinishRows<Cell>(p, results, kRows, row, unit);
}

template <class Cell, int kRows>
void CallTurnTile(int rows, const TurnArgs& p, const float* weights, int64_t unit, int64_t row,
                  Ahead ahead) {
  if (rows == kRows) {
    if (kRows == 1 && p.is_alone) {
      TurnTile<Cell, kRows, 2>(p, weights, unit, row, ahead);
    } else {
      TurnTile<Cell, kRows, 1>(p, weights, unit, row, ahead);
    }
  } else if constexpr (kRows > 1) {
    CallTurnTile<Cell, kRows - 1>(rows, p, weights, unit, row, ahead);
  }
}

template <class Cell>
void Turn(const TurnArgs& p, int64_t block_begin, int64_t block_end) {
  constexpr int kWidth = Cell::kGates * kLanes;
  const int64_t size = p.units * kWidth;
  for (int64_t i = block_begin; i < block_end; ++i) {
    const int64_t block = p.backward ? block_begin + block_end - 1 - i : i;
    const float* weights = p.weights + block * size;
    const bool last = i + 1 == block_end;
    const float* next = last ? weights : p.backward ? weights - size : weights + size;
    TileRows<Cell::kGates>(p.rows, p.units, next, [&](int64_t row, int n, Ahead ahead) {
      CallTurnTile<Cell, MaxRows(Cell::kGates)>(n, p, weights, block * kLanes, row, ahead);
    });
  }
}

}  // namespace
}  // namespace savedmodel
