// Cells of recurrent layers of the compute core against their formulas in double, on the level that
// SAVEDMODEL_ISA picks.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const std::vector<float> kGates = {0,    -0.0f, 1e-40f, -1e-6f, 3e-4f,     -0.02f,    0.7f,
                                   -3,   8.5f,  -20,    86.9f,  -87.1f,    1000,      -3e38f,
                                   kNan, 1e30f, -1e30f, 3e38f,  kInfinity, -kInfinity};

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

void ExpectNear(float got, double expected, int64_t i) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(got)) << i << ": " << got;
  } else {
    EXPECT_NEAR(got, expected, 1e-6 * std::abs(expected) + 1e-37) << i;
  }
}

// Every pair of those values, `before` of the four or three numbers of a unit before it.
struct Pairs {
  explicit Pairs(int blocks, int first, int second) {
    for (const float a : kGates) {
      for (const float b : kGates) {
        values.resize(values.size() + blocks, 0.25f);
        values[values.size() - blocks + first] = a;
        values[values.size() - blocks + second] = b;
      }
    }
    units = static_cast<int64_t>(values.size()) / blocks;
    rows.resize(values.size());
    for (int64_t u = 0; u < units; ++u) {
      for (int k = 0; k < blocks; ++k) rows[k * units + u] = values[u * blocks + k];
    }
  }

  std::vector<float> values, rows;  // by unit, by block
  int64_t units = 0;
};

TEST(CellsTest, Lstm) {
  for (int first = 0; first < 4; ++first) {
    for (int second = first + 1; second < 4; ++second) {
      const Pairs x(4, first, second);
      std::vector<float> result(x.units), next(x.units), state(x.units, -0.75f);
      LstmArgs args;
      args.gates = x.rows.data();
      args.state = state.data();
      args.result = result.data();
      args.next_state = next.data();
      args.units = x.units;
      Vectors().lstm(args, 0, 1);
      for (int64_t u = 0; u < x.units; ++u) {
        const float* gate = &x.values[u * 4];
        const double kept = Sigmoid(gate[1]) * -0.75, added = Sigmoid(gate[0]) * std::tanh(gate[2]);
        // Where they cancel, a sum is only as near as what it is of.
        if (std::isnan(kept + added)) {
          EXPECT_TRUE(std::isnan(next[u])) << u;
        } else {
          EXPECT_NEAR(next[u], kept + added, 1e-6 * (std::abs(kept) + std::abs(added)) + 1e-37);
        }
        ExpectNear(result[u], Sigmoid(gate[3]) * std::tanh(next[u]), u);
      }
    }
  }
}

TEST(CellsTest, Gru) {
  for (int first = 0; first < 3; ++first) {
    for (int second = first + 1; second < 3; ++second) {
      const Pairs x(3, first, second);
      std::vector<float> result(x.units), state(x.units, 0.75f);
      const std::vector<float> recurrent(3 * x.units, 0.0f);
      GruArgs args;
      args.x = x.rows.data();
      args.recurrent = recurrent.data();
      args.state = state.data();
      args.result = result.data();
      args.units = x.units;
      Vectors().gru(args, 0, 1);
      for (int64_t u = 0; u < x.units; ++u) {
        const float* gate = &x.values[u * 3];
        const double kept = Sigmoid(gate[0]), left = Sigmoid(-static_cast<double>(gate[0]));
        // A reset gate that is no number makes the candidate none.
        const double candidate = std::tanh(gate[2] + Sigmoid(gate[1]) * 0.0);
        const double expected = kept * 0.75 + left * candidate;
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(result[u])) << u;
        } else {
          EXPECT_NEAR(result[u], expected, 1e-6 * (kept + left * std::abs(candidate)) + 1e-37) << u;
        }
      }
    }
  }
}

}  // namespace
}  // namespace savedmodel
