// Cells of recurrent layers, and turns of their loops: products and cells in one.
#pragma once

#include "src/kernels/isa/level/layers.h"
#include "src/kernels/isa/level/steps.h"
#include "src/kernels/isa/level/tile.h"

namespace savedmodel {
namespace {

// tanh(x) / divisor, for divisors in [1, 2^126]. One over a sigmoid is one: 1 + Decay.
inline Vec TanhOver(Vec divisor, Vec x) {
  const Quotient tanh = TanhQuotient(x);
  return tanh.above * Inverse(tanh.below * divisor);
}

struct LstmStep {
  Vec result, state;
};
inline LstmStep StepLstm(Vec input, Vec forget, Vec candidate, Vec output, Vec state) {
  const Vec next = Sigmoid(forget) * state + TanhOver(1.0f + Decay(input), candidate);
  return {TanhOver(1.0f + Decay(output), next), next};
}

// k * state + (1 - k) * tanh(candidate), where k = 1 / (1 + decay).
inline Vec NextGruState(Vec decay, Vec candidate, Vec state) {
  const Quotient tanh = TanhQuotient(candidate);
  return (tanh.below * state + decay * tanh.above) * Inverse(tanh.below * (1.0f + decay));
}
inline Vec StepGru(Vec update, Vec reset, Vec x_candidate, Vec recurrent_candidate, Vec state) {
  return NextGruState(Decay(update), x_candidate + Sigmoid(reset) * recurrent_candidate, state);
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

// What becomes of the products of `count` rows from `row` on and a vector of units, beginning at
// `unit`. In steps, each for all rows: within one row most instructions wait for the one before.
struct LstmTurn {
  static constexpr bool kFitsRegisters = true;  // one row
  static constexpr int kGates = 4;

  template <class Load, class Store>
  static __attribute__((always_inline)) void Finish(const TurnArgs& p, Vec (*sums)[kGates],
                                                    int count, int64_t row, int64_t unit,
                                                    Load&& load, Store&& store) {
    for (int r = 0; r < count; ++r) {
      const float* x = p.x + (row + r) * p.x_stride + unit;
      Vec gates[kGates];
#pragma GCC unroll 4
      for (int g = 0; g < kGates; ++g) {
        const int64_t gate = p.order[g] * p.units;
        gates[g] = sums[r][g] + load(x + gate);
        if (p.bias != nullptr) gates[g] += load(p.bias + gate + unit);
      }
      sums[r][0] = 1.0f + Decay(gates[0]);
      sums[r][1] = Sigmoid(gates[1]);
      sums[r][2] = gates[2];
      sums[r][3] = 1.0f + Decay(gates[3]);
    }
    for (int r = 0; r < count; ++r) {
      const int64_t at = (row + r) * p.units + unit;
      sums[r][2] = sums[r][1] * load(p.state + at) + TanhOver(sums[r][0], sums[r][2]);
      store(p.next_state + at, sums[r][2]);
    }
    for (int r = 0; r < count; ++r) {
      store(p.next_hidden + (row + r) * p.units + unit, TanhOver(sums[r][3], sums[r][2]));
    }
  }
};

struct GruTurn {
  static constexpr bool kFitsRegisters = true;  // one row
  static constexpr int kGates = 3;

  template <class Load, class Store>
  static __attribute__((always_inline)) void Finish(const TurnArgs& p, Vec (*sums)[kGates],
                                                    int count, int64_t row, int64_t unit,
                                                    Load&& load, Store&& store) {
    for (int r = 0; r < count; ++r) {
      Vec x[kGates], products[kGates];
#pragma GCC unroll 4
      for (int g = 0; g < kGates; ++g) {
        const int64_t column = p.order[g] * p.units + unit;
        x[g] = load(p.x + (row + r) * p.x_stride + column);
        products[g] = sums[r][g];
        if (p.input_bias != nullptr) x[g] += load(p.input_bias + column);
        if (p.bias != nullptr) products[g] += load(p.bias + column);
      }
      sums[r][0] = Decay(x[0] + products[0]);
      sums[r][1] = x[2] + Sigmoid(x[1] + products[1]) * products[2];
    }
    for (int r = 0; r < count; ++r) {
      const int64_t at = (row + r) * p.units + unit;
      store(p.next_hidden + at, NextGruState(sums[r][0], sums[r][1], load(p.hidden + at)));
    }
  }
};

// y[i] = op(scale * y[i]) of n vectors.
inline void Activate(ScalarOp op, float scale, Vec* y, int n) {
  if (scale != 1) {
    for (int i = 0; i < n; ++i) y[i] *= scale;
  }
  float* const values = reinterpret_cast<float*>(y);
  Map(op, 0, values, values, n * kLanes);
}

// Turns with any activations. Gate g's values of all rows are together.
template <int kCount>
struct GateValues {
  static constexpr int kRows = MaxRows(kCount);
  Vec of[kCount][kRows];

  // The sums of x, products and bias.
  template <class Load>
  GateValues(const TurnArgs& p, Vec (*sums)[kCount], int count, int64_t row, int64_t unit,
             Load&& load) {
    for (int g = 0; g < kCount; ++g) {
      const int64_t column = p.order[g] * p.units + unit;
      for (int r = 0; r < count; ++r) {
        of[g][r] = sums[r][g] + load(p.x + (row + r) * p.x_stride + column);
        if (p.bias != nullptr) of[g][r] += load(p.bias + column);
      }
    }
  }
  inline __attribute__((always_inline)) void Open(const TurnArgs& p, int gate, int count) {
    Activate(p.gate_activation, p.gate_scale, of[gate], count);
  }
  inline __attribute__((always_inline)) void Fill(const TurnArgs& p, int gate, int count) {
    Activate(p.activation, 1, of[gate], count);
  }
};

inline Vec Clip(Vec x, float most) { return AtLeast(AtMost(x, most), -most); }

struct AnyLstmTurn {
  static constexpr bool kFitsRegisters = false;
  static constexpr int kGates = 4;

  template <class Load, class Store>
  static __attribute__((always_inline)) void Finish(const TurnArgs& p, Vec (*sums)[kGates],
                                                    int count, int64_t row, int64_t unit,
                                                    Load&& load, Store&& store) {
    GateValues<kGates> gates(p, sums, count, row, unit, load);
    Vec state[MaxRows(kGates)];
    for (int r = 0; r < count; ++r) state[r] = load(p.state + (row + r) * p.units + unit);
    const auto open = [&](int gate, int peephole) __attribute__((noinline)) {
      if (p.peepholes != nullptr) {
        const Vec weights = load(p.peepholes + peephole * p.units + unit);
        for (int r = 0; r < count; ++r) gates.of[gate][r] += weights * state[r];
      }
      gates.Open(p, gate, count);
    };
    open(0, 0);
    open(1, 1);
    gates.Fill(p, 2, count);
    Vec* const next = gates.of[0];
    for (int r = 0; r < count; ++r) {
      next[r] = Clip(gates.of[1][r] * state[r] + gates.of[0][r] * gates.of[2][r], p.clip);
      state[r] = next[r];
      store(p.next_state + (row + r) * p.units + unit, next[r]);
    }
    open(3, 2);
    gates.Fill(p, 0, count);
    for (int r = 0; r < count; ++r) {
      store(p.next_hidden + (row + r) * p.units + unit, gates.of[3][r] * next[r]);
    }
  }
};

struct AnyGruTurn {
  static constexpr bool kFitsRegisters = false;
  static constexpr int kGates = 3;

  template <class Load, class Store>
  static __attribute__((always_inline)) void Finish(const TurnArgs& p, Vec (*sums)[kGates],
                                                    int count, int64_t row, int64_t unit,
                                                    Load&& load, Store&& store) {
    const int64_t candidate = p.order[2] * p.units + unit;
    Vec products[MaxRows(kGates)];
    for (int r = 0; r < count; ++r) {
      products[r] = sums[r][2];
      if (p.bias != nullptr) products[r] += load(p.bias + candidate);
    }
    GateValues<kGates> gates(p, sums, count, row, unit, load);
    if (p.input_bias != nullptr) {
      for (int g = 0; g < 2; ++g) {
        const Vec bias = load(p.input_bias + p.order[g] * p.units + unit);
        for (int r = 0; r < count; ++r) gates.of[g][r] += bias;
      }
    }
    for (int g = 0; g < 2; ++g) gates.Open(p, g, count);
    for (int r = 0; r < count; ++r) {
      Vec x = load(p.x + (row + r) * p.x_stride + candidate);
      if (p.input_bias != nullptr) x += load(p.input_bias + candidate);
      gates.of[2][r] = x + gates.of[1][r] * products[r];
    }
    gates.Fill(p, 2, count);
    for (int r = 0; r < count; ++r) {
      const int64_t at = (row + r) * p.units + unit;
      const Vec update = gates.of[0][r];
      store(p.next_hidden + at, update * load(p.hidden + at) + (1.0f - update) * gates.of[2][r]);
    }
  }
};

struct GruGatesTurn {
  static constexpr bool kFitsRegisters = false;
  static constexpr int kGates = 2;

  template <class Load, class Store>
  static __attribute__((always_inline)) void Finish(const TurnArgs& p, Vec (*sums)[kGates],
                                                    int count, int64_t row, int64_t unit,
                                                    Load&& load, Store&& store) {
    GateValues<kGates> gates(p, sums, count, row, unit, load);
    for (int g = 0; g < kGates; ++g) gates.Open(p, g, count);
    for (int r = 0; r < count; ++r) {
      const int64_t at = (row + r) * p.units + unit;
      store(p.next_state + at, gates.of[0][r]);
      store(p.next_hidden + at, gates.of[1][r] * load(p.hidden + at));
    }
  }
};

// The last gate of a cell in parts, the one that a cell has, or a projection.
struct OneGateTurn {
  static constexpr bool kFitsRegisters = false;
  static constexpr int kGates = 1;

  template <class Load, class Store>
  static __attribute__((always_inline)) void Finish(const TurnArgs& p, Vec (*sums)[kGates],
                                                    int count, int64_t row, int64_t unit,
                                                    Load&& load, Store&& store) {
    const int64_t at = row * p.units + unit;
    if (p.kind == TurnKind::kProjection) {
      for (int r = 0; r < count; ++r) {
        store(p.next_hidden + at + r * p.units, Clip(sums[r][0], p.clip));
      }
      return;
    }
    GateValues<kGates> gates(p, sums, count, row, unit, load);
    gates.Fill(p, 0, count);
    for (int r = 0; r < count; ++r) {
      const int64_t i = at + r * p.units;
      Vec value = gates.of[0][r];
      if (p.kind == TurnKind::kGruCandidate) {
        const Vec update = load(p.state + i);
        value = update * load(p.kept + i) + (1.0f - update) * value;
      }
      store(p.next_hidden + i, value);
    }
  }
};

// A function of its own, so that the products' loop has all registers.
template <class Cell>
__attribute__((noinline)) void FinishRows(const TurnArgs& p, Vec (*sums)[Cell::kGates], int count,
                                          int64_t row, int64_t unit) {
  const int64_t n = p.units - unit;
  if (n < kLanes) {
    Cell::Finish(
        p, sums, count, row, unit, [n](const float* from) { return LoadSome(from, n); },
        [n](float* to, Vec v) { StoreSome(to, v, n); });
  } else if (Cell::kFitsRegisters && count == 1) {
    Cell::Finish(p, sums, 1, row, unit, Load, Store);
  } else {
    Cell::Finish(p, sums, count, row, unit, Load, Store);
  }
}

// Products of some rows and the weights of a vector of units. Sums are kept kCopies times, as in
// Tile.
template <int kGates, int kRows, int kCopies>
void TurnTile(const TurnArgs& p, const float* weights, int64_t row, Ahead ahead,
              Vec (*results)[kGates]) {
  constexpr int kWidth = kGates * kLanes;
  Vec sums[kCopies][kRows][kGates];
#pragma GCC unroll 4
  for (int i = 0; i < kCopies; ++i) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int g = 0; g < kGates; ++g) sums[i][r][g] = Vec{};
    }
  }
  const int64_t depth = p.depth;
  const float* b;
  const float* rows[kRows];
  const auto add = [&](int64_t k, Vec(&into)[kRows][kGates]) __attribute__((always_inline)) {
    // What there are more of is loaded one at a time: not all find room beside the sums.
    if constexpr (kRows < kGates) {
      Vec x[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) x[r] = Splat(rows[r][k]);
#pragma GCC unroll 4
      for (int g = 0; g < kGates; ++g) {
        const Vec gate_b = Load(b + g * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) AddProduct<kRows * kGates>(&into[r][g], x[r], gate_b);
      }
    } else {
      AddRowOfPanel(rows, k, b, into);
    }
    b += kWidth;
  };
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) rows[r] = p.hidden + (row + r) * depth;
  // The units that the turn before computed at its end come last.
  const int64_t last = p.backward || depth < kLanes ? 0 : kLanes;
  for (int64_t k = last, end = depth, part = 0; part < 2; ++part, k = 0, end = last) {
    b = weights + k * kWidth;
    for (; k + 4 <= end; k += 4) {
      FetchLines(&ahead);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) add(k + i, sums[i % kCopies]);
    }
    for (; k < end; ++k) add(k, sums[0]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int g = 0; g < kGates; ++g) {
      results[r][g] = sums[0][r][g];
#pragma GCC unroll 4
      for (int i = 1; i < kCopies; ++i) results[r][g] += sums[i][r][g];
    }
  }
}

template <int kGates, int kRows>
void CallTurnTile(int rows, const TurnArgs& p, const float* weights, int64_t row, Ahead ahead,
                  Vec (*results)[kGates]) {
  if (rows == kRows) {
    if (kRows == 1 && p.is_alone) {
      TurnTile < kGates, kRows, kGates<3 ? 4 : 2>(p, weights, row, ahead, results);
    } else {
      TurnTile<kGates, kRows, 1>(p, weights, row, ahead, results);
    }
  } else if constexpr (kRows > 1) {
    CallTurnTile<kGates, kRows - 1>(rows, p, weights, row, ahead, results);
  }
}

template <class Cell>
void Turn(const TurnArgs& p, int64_t block_begin, int64_t block_end) {
  constexpr int kGates = Cell::kGates, kWidth = kGates * kLanes;
  const int64_t size = p.depth * kWidth;
  Vec sums[MaxRows(kGates)][kGates];
  for (int64_t i = block_begin; i < block_end; ++i) {
    const int64_t block = p.backward ? block_begin + block_end - 1 - i : i;
    const float* weights = p.weights + block * size;
    const bool last = i + 1 == block_end;
    const float* next = last ? weights : p.backward ? weights - size : weights + size;
    TileRows<kGates, kMostLinesOfSecondLevel>(
        p.rows, p.depth, next, [&](int64_t row, int n, Ahead ahead) {
          CallTurnTile<kGates, MaxRows(kGates)>(n, p, weights, row, ahead, sums);
          FinishRows<Cell>(p, sums, n, row, block * kLanes);
        });
  }
}

void RunTurn(const TurnArgs& p, int64_t block_begin, int64_t block_end) {
  const bool plain = p.activation == ScalarOp::kTanh && p.gate_activation == ScalarOp::kSigmoid &&
                     p.gate_scale == 1 && p.peepholes == nullptr && p.clip == __builtin_inff();
  switch (p.kind) {
    case TurnKind::kLstm:
      return plain ? Turn<LstmTurn>(p, block_begin, block_end)
                   : Turn<AnyLstmTurn>(p, block_begin, block_end);
    case TurnKind::kGru:
      return plain ? Turn<GruTurn>(p, block_begin, block_end)
                   : Turn<AnyGruTurn>(p, block_begin, block_end);
    case TurnKind::kGruGates:
      return Turn<GruGatesTurn>(p, block_begin, block_end);
    case TurnKind::kGruCandidate:
    case TurnKind::kRnn:
    case TurnKind::kProjection:
      return Turn<OneGateTurn>(p, block_begin, block_end);
  }
}

}  // namespace
}  // namespace savedmodel
