// Loops over recurrent cells against the formulas of the cells, in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

struct Sizes {
  int64_t turns, batch, inputs, units;  // 0 inputs: rows are not multiplied by weights
  bool last_only, constant_weights, batch_major = false;
  int64_t table_rows = 0;                       // where rows are picked from a table
  enum { kNone, kZeros, kKeeps } mask = kNone;  // and what masked outputs are
};

Tensor Numbers(const std::vector<int64_t>& dims, int seed) {
  auto t = Tensor::Allocate(DType::kFloat, Shape(dims));
  const std::vector<float> values = Random(t->num_elements(), seed);
  std::copy(values.begin(), values.end(), static_cast<float*>(t->raw_mutable_data()));
  return *t;
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

class RecurrentLoopTest : public testing::TestWithParam<Sizes> {
 protected:
  // A node "y" of `op` with constants and states of these sizes.
  void MakeInputs(const std::string& op, const std::string& attrs, int64_t gates,
                  const std::vector<std::vector<int64_t>>& constants,
                  const std::vector<int64_t>& states) {
    const Sizes& s = GetParam();
    outputs_ = states[0];
    std::string uses;
    const auto add = [&](const Tensor& value, bool constant) {
      const std::string name = "in" + std::to_string(values_.size());
      graph_ += "node { name: '" + name + "' op: 'Placeholder' attr { key: 'dtype' value { type: " +
                (value.dtype() == DType::kFloat  ? "DT_FLOAT"
                 : value.dtype() == DType::kBool ? "DT_BOOL"
                                                 : "DT_INT32") +
                " } } "
                "attr { key: 'shape' value { shape {";
      for (const int64_t d : value.shape().ToVector()) {
        graph_ += " dim { size: " + std::to_string(d) + " }";
      }
      graph_ += " } } } }\n";
      uses += " input: '" + name + "'";
      (constant ? constants_ : inputs_)[name + ":0"] = value;
      if (!constant) feeds_.push_back(name + ":0");
      values_.push_back(value);
    };
    const int64_t columns = gates * s.units;
    const std::vector<int32_t> rows = PickedRows();
    const int64_t inputs = s.inputs == 0 ? columns : s.inputs;
    if (s.table_rows > 0) {
      add(Numbers({s.table_rows, inputs}, 1), true);
    } else if (s.batch_major) {
      add(Numbers({s.batch, s.turns, inputs}, 1), false);
    } else {
      add(Numbers({s.turns, s.batch, inputs}, 1), false);
    }
    add(s.inputs == 0 ? Numbers({0}, 1) : Numbers({s.inputs, columns}, 9), s.constant_weights);
    add(Numbers({outputs_, columns}, 2), s.constant_weights);
    for (const std::vector<int64_t>& dims : constants) {
      add(Numbers(dims, 3 + static_cast<int>(dims[0] % 7)), dims.size() == 1 || s.constant_weights);
    }
    for (size_t i = 0; i < states.size(); ++i) {
      add(Numbers({s.batch, states[i]}, 5 + static_cast<int>(i)), false);
    }
    add(*Tensor::FromVector(rows, {static_cast<int64_t>(rows.size())}), s.table_rows == 0);
    add(Mask(), s.mask == Sizes::kNone);
    masked_ = static_cast<int>(values_.size());
    add(s.mask == Sizes::kKeeps ? Numbers({s.batch, outputs_}, 8) : Numbers({0}, 8), false);
    graph_ += "node { name: 'y' op: '" + op + "'" + uses + " " + attrs +
              "attr { key: 'last_only' value { b: " + (s.last_only ? "true" : "false") +
              " } } attr { key: 'batch_major' value { b: " + (s.batch_major ? "true" : "false") +
              " } } }";
  }

  // Which rows of a table are the input of the turns.
  static std::vector<int32_t> PickedRows() {
    const Sizes& s = GetParam();
    std::vector<int32_t> rows;
    for (int64_t i = 0; s.table_rows > 0 && i < s.turns * s.batch; ++i) {
      rows.push_back(static_cast<int32_t>(i * 5 % s.table_rows));
    }
    return rows;
  }

  // Rows that are masked at the beginning, at the end, in between, always.
  static bool IsMasked(int64_t t, int64_t r) {
    const Sizes& s = GetParam();
    return s.mask != Sizes::kNone &&
           (t < r % 3 || t > s.turns - r % 4 || (t + r) % 5 == 2 || r == 4);
  }
  static Tensor Mask() {
    const Sizes& s = GetParam();
    const bool none = s.mask == Sizes::kNone;
    auto mask = Tensor::Allocate(DType::kBool, none ? Shape({0}) : Shape({s.turns, s.batch}));
    for (int64_t i = 0; i < mask->num_elements(); ++i) {
      static_cast<bool*>(mask->raw_mutable_data())[i] = !IsMasked(i / s.batch, i % s.batch);
    }
    return *mask;
  }
  // Puts a turn's output behind those before.
  void AddOutput(int64_t t, const std::vector<double>& hidden, std::vector<double>* outputs) const {
    const int64_t n = GetParam().batch * outputs_;
    for (int64_t i = 0; i < n; ++i) {
      const bool keeps = GetParam().mask == Sizes::kKeeps;
      const double kept = !keeps ? 0 : t == 0 ? In(masked_, i) : (*outputs)[(t - 1) * n + i];
      outputs->push_back(IsMasked(t, i / outputs_) ? kept : hidden[i]);
    }
  }

  StatusOr<std::vector<Tensor>> Run(int threads, int outputs, const RunOptions& run = {},
                                    Precision precision = Precision::kFloat32) {
    LoadOptions options;
    options.num_threads = threads;
    options.precision = precision;
    const auto model = LoadGraphDef(graph_, options, {"", constants_});
    if (!model.ok()) return model.status();
    std::vector<std::string> fetches;
    for (int i = 0; i < outputs; ++i) fetches.push_back("y:" + std::to_string(i));
    const auto results = model->Prune(feeds_, fetches)(inputs_, run);
    if (!results.ok()) return results.status();
    std::vector<Tensor> values;
    for (const std::string& name : fetches) values.push_back(results->at(name));
    return values;
  }

  float In(int input, int64_t i) const { return values_[input].data<float>()[i]; }
  // 0 where input `input` is an empty bias.
  double Bias(int input, int64_t i) const {
    return values_[input].num_elements() == 0 ? 0 : In(input, i);
  }
  // Column j of the product of the hidden state of row r and the weights, with the bias.
  double Product(const std::vector<double>& hidden, int64_t r, int64_t j, int64_t columns) const {
    double sum = Bias(3, j);
    for (int64_t k = 0; k < outputs_; ++k) {
      sum += hidden[r * outputs_ + k] * In(2, k * columns + j);
    }
    return sum;
  }
  // Column j of what row r gets of the input in turn t.
  double OfInput(int64_t t, int64_t r, int64_t j, int64_t columns) const {
    const Sizes& s = GetParam();
    int64_t row = s.batch_major ? r * s.turns + t : t * s.batch + r;
    if (s.table_rows > 0) row = PickedRows()[row];
    if (s.inputs == 0) return In(0, row * columns + j);
    double sum = 0;
    for (int64_t k = 0; k < s.inputs; ++k) {
      sum += static_cast<double>(In(0, row * s.inputs + k)) * In(1, k * columns + j);
    }
    return sum;
  }

  // Results for any number of threads, the same bit for bit, are near `outputs` of all turns and
  // the last states.
  void ExpectResults(const std::vector<double>& outputs,
                     const std::vector<std::vector<double>>& states, double tolerance = 1e-5) {
    const Sizes& s = GetParam();
    const int count = 1 + static_cast<int>(states.size());
    const auto one = Run(1, count);
    ASSERT_TRUE(one.ok()) << one.status();
    const int64_t skipped = s.last_only ? (s.turns - 1) * s.batch * outputs_ : 0;
    ASSERT_EQ((*one)[0].shape(), Shape({s.last_only ? 1 : s.turns, s.batch, outputs_}));
    for (int64_t i = 0; i < (*one)[0].num_elements(); ++i) {
      ASSERT_NEAR((*one)[0].data<float>()[i], outputs[skipped + i], tolerance) << i;
    }
    for (int o = 1; o < count; ++o) {
      ASSERT_EQ((*one)[o].shape(), Shape({s.batch, o == 1 ? outputs_ : s.units}));
      for (int64_t i = 0; i < (*one)[o].num_elements(); ++i) {
        ASSERT_NEAR((*one)[o].data<float>()[i], states[o - 1][i], tolerance) << o << ": " << i;
      }
    }
    for (const int threads : {2, 3, 8}) {
      const auto many = Run(threads, count);
      ASSERT_TRUE(many.ok()) << many.status();
      for (int o = 0; o < count; ++o) {
        for (int64_t i = 0; i < (*one)[o].num_elements(); ++i) {
          ASSERT_EQ((*many)[o].data<float>()[i], (*one)[o].data<float>()[i])
              << threads << " threads, " << o << ": " << i;
        }
      }
    }
  }

  std::vector<double> InitialState(int input) const {
    const float* p = values_[input].data<float>();
    return std::vector<double>(p, p + values_[input].num_elements());
  }

  // Loops whose gates are `open` of sums and whose candidates `squash`.
  struct LstmParts {
    bool has_peepholes = false;
    int64_t outputs = 0;  // of the projection; 0 without one
    double state_clip = INFINITY, projection_clip = INFINITY;
  };
  void CheckLstm(const std::string& activations, double (*open)(double), double (*squash)(double),
                 const LstmParts& parts);
  void CheckGru(const std::string& activations, double (*open)(double), double (*squash)(double),
                bool reset_after);

  std::string graph_;
  std::vector<std::string> feeds_;
  TensorMap inputs_, constants_;
  std::vector<Tensor> values_;
  int64_t outputs_ = 0;  // in a row of the hidden state
  int masked_ = 0;       // the input with what the first masked output is
};

constexpr char kLstmAttrs[] = "attr { key: 'order' value { list { i: 0 i: 2 i: 1 i: 3 } } } ";

// Activations, and the attributes that name them.
using Function = double (*)(double);
double Softsign(double x) { return x / (1 + std::abs(x)); }
double Clip(double x, double most) { return std::min(std::max(x, -most), most); }
double HardSigmoid(double x) { return std::min(std::max(0.2 * x + 0.5, 0.0), 1.0); }
constexpr char kOtherActivations[] =
    "attr { key: 'activation' value { s: 'Softsign' } } "
    "attr { key: 'gate_activation' value { s: '_HardSigmoid' } } "
    "attr { key: 'gate_scale' value { f: 1.2 } } ";

void RecurrentLoopTest::CheckLstm(const std::string& activations, Function open, Function squash,
                                  const LstmParts& parts) {
  const Sizes& s = GetParam();
  const int64_t columns = 4 * s.units, outputs = parts.outputs == 0 ? s.units : parts.outputs;
  const bool projects = parts.outputs != 0;
  MakeInputs("_LstmLoop", kLstmAttrs + activations, 4,
             {{s.units % 2 == 0 ? columns : 0},
              {parts.has_peepholes ? 3 * s.units : 0},
              projects ? std::vector<int64_t>{s.units, outputs} : std::vector<int64_t>{0}},
             {outputs, s.units});
  std::vector<double> hidden = InitialState(6), state = InitialState(7), all;
  for (int64_t t = 0; t < s.turns; ++t) {
    std::vector<double> made(state.size()), next(hidden.size());
    for (int64_t i = 0; i < s.batch * s.units; ++i) {
      const int64_t r = i / s.units;
      if (IsMasked(t, r)) continue;
      // The order says: input, candidate, forget, output.
      const auto gate = [&](int64_t block, int64_t peephole) {
        const int64_t j = block * s.units + i % s.units;
        const bool peeps = parts.has_peepholes && peephole >= 0;
        return OfInput(t, r, j, columns) + Product(hidden, r, j, columns) +
               (peeps ? In(4, peephole * s.units + i % s.units) * state[i] : 0);
      };
      state[i] = Clip(open(gate(2, 1)) * state[i] + open(gate(0, 0)) * squash(gate(1, -1)),
                      parts.state_clip);
      made[i] = open(gate(3, 2)) * squash(state[i]);
    }
    for (int64_t i = 0; i < s.batch * outputs; ++i) {
      const int64_t r = i / outputs;
      double sum = 0;
      for (int64_t k = 0; projects && k < s.units; ++k) {
        sum += made[r * s.units + k] * In(5, k * outputs + i % outputs);
      }
      next[i] = IsMasked(t, r) ? hidden[i] : projects ? Clip(sum, parts.projection_clip) : made[i];
    }
    hidden = next;
    AddOutput(t, hidden, &all);
  }
  // A projection sums up the errors of as many values as there are units.
  ExpectResults(all, {hidden, state}, projects ? 1e-4 : 1e-5);
}

TEST_P(RecurrentLoopTest, Lstm) { CheckLstm("", Sigmoid, std::tanh, {}); }
TEST_P(RecurrentLoopTest, LstmOfOtherActivations) {
  CheckLstm(kOtherActivations, HardSigmoid, Softsign, {});
}
TEST_P(RecurrentLoopTest, LstmWithPeepholes) {
  CheckLstm("", Sigmoid, std::tanh, {.has_peepholes = true});
}
TEST_P(RecurrentLoopTest, LstmProjected) {
  CheckLstm("attr { key: 'projection_clip' value { f: 0.5 } } ", Sigmoid, std::tanh,
            {.outputs = 1 + GetParam().units / 2, .projection_clip = 0.5});
}
TEST_P(RecurrentLoopTest, LstmOfAllParts) {
  const std::string clips =
      "attr { key: 'state_clip' value { f: 0.25 } } "
      "attr { key: 'projection_clip' value { f: 0.125 } } ";
  CheckLstm(clips + kOtherActivations, HardSigmoid, Softsign,
            {.has_peepholes = true,
             .outputs = GetParam().units + 9,
             .state_clip = 0.25,
             .projection_clip = 0.125});
}

// The order says: reset, update, candidate.
constexpr char kGruAttrs[] = "attr { key: 'order' value { list { i: 1 i: 0 i: 2 } } } ";

void RecurrentLoopTest::CheckGru(const std::string& activations, Function open, Function squash,
                                 bool reset_after) {
  const Sizes& s = GetParam();
  const int64_t columns = 3 * s.units;
  const std::string reset = std::string("attr { key: 'reset_after' value { b: ") +
                            (reset_after ? "true" : "false") + " } } ";
  MakeInputs("_GruLoop", kGruAttrs + activations + reset, 3,
             {{s.units % 2 == 0 ? columns : 0}, {s.units % 3 == 0 || !reset_after ? 0 : columns}},
             {s.units});
  std::vector<double> hidden = InitialState(5), outputs;
  for (int64_t t = 0; t < s.turns; ++t) {
    const auto sum = [&](const std::vector<double>& factor, int64_t i, int64_t block) {
      const int64_t r = i / s.units, j = block * s.units + i % s.units;
      return OfInput(t, r, j, columns) + Bias(4, j) + Product(factor, r, j, columns);
    };
    std::vector<double> next(hidden.size()), reset_hidden(hidden.size());
    for (int64_t i = 0; i < s.batch * s.units; ++i) {
      reset_hidden[i] = open(sum(hidden, i, 0)) * hidden[i];
    }
    for (int64_t i = 0; i < s.batch * s.units; ++i) {
      const int64_t r = i / s.units, j = 2 * s.units + i % s.units;
      if (IsMasked(t, r)) {
        next[i] = hidden[i];
        continue;
      }
      const double update = open(sum(hidden, i, 1));
      const double candidate = reset_after
                                   ? OfInput(t, r, j, columns) + Bias(4, j) +
                                         open(sum(hidden, i, 0)) * Product(hidden, r, j, columns)
                                   : sum(reset_hidden, i, 2);
      next[i] = update * hidden[i] + (1 - update) * squash(candidate);
    }
    hidden = next;
    AddOutput(t, hidden, &outputs);
  }
  ExpectResults(outputs, {hidden});
}

TEST_P(RecurrentLoopTest, Gru) { CheckGru("", Sigmoid, std::tanh, true); }
TEST_P(RecurrentLoopTest, GruOfOtherActivations) {
  CheckGru(kOtherActivations, HardSigmoid, Softsign, true);
}
TEST_P(RecurrentLoopTest, GruResetBefore) { CheckGru("", Sigmoid, std::tanh, false); }
TEST_P(RecurrentLoopTest, GruResetBeforeOfOtherActivations) {
  CheckGru(kOtherActivations, HardSigmoid, Softsign, false);
}

TEST_P(RecurrentLoopTest, Rnn) {
  const Sizes& s = GetParam();
  MakeInputs("_RnnLoop",
             "attr { key: 'order' value { list { i: 0 } } } "
             "attr { key: 'activation' value { s: 'Sigmoid' } } ",
             1, {{s.units % 2 == 0 ? s.units : 0}}, {s.units});
  std::vector<double> hidden = InitialState(4), outputs;
  for (int64_t t = 0; t < s.turns; ++t) {
    std::vector<double> next(hidden.size());
    for (int64_t i = 0; i < s.batch * s.units; ++i) {
      const int64_t r = i / s.units, j = i % s.units;
      next[i] = IsMasked(t, r)
                    ? hidden[i]
                    : Sigmoid(OfInput(t, r, j, s.units) + Product(hidden, r, j, s.units));
    }
    hidden = next;
    AddOutput(t, hidden, &outputs);
  }
  ExpectResults(outputs, {hidden});
}

// In bfloat16 and int8 results, all between -1 and 1, stay near those of float32.
TEST_P(RecurrentLoopTest, FewerBits) {
  const int64_t units = GetParam().units;
  MakeInputs("_LstmLoop", kLstmAttrs, 4, {{4 * units}, {0}, {0}}, {units, units});
  const auto exact = Run(2, 3);
  ASSERT_TRUE(exact.ok()) << exact.status();
  for (const Precision precision : {Precision::kBFloat16, Precision::kInt8}) {
    const auto one = Run(1, 3, {}, precision), many = Run(3, 3, {}, precision);
    ASSERT_TRUE(one.ok() && many.ok()) << one.status() << many.status();
    for (int64_t i = 0; i < (*one)[0].num_elements(); ++i) {
      ASSERT_NEAR((*one)[0].data<float>()[i], (*exact)[0].data<float>()[i], 0.1) << i;
      ASSERT_EQ((*one)[0].data<float>()[i], (*many)[0].data<float>()[i]) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    AllSizes, RecurrentLoopTest,
    testing::Values(Sizes{1, 1, 0, 1, false, true}, Sizes{3, 1, 3, 5, false, true},
                    Sizes{4, 1, 0, 128, false, true}, Sizes{4, 1, 7, 128, false, true},
                    Sizes{5, 1, 10, 131, true, true}, Sizes{3, 2, 0, 100, false, false},
                    Sizes{3, 2, 4, 100, false, false}, Sizes{4, 7, 0, 33, false, true},
                    Sizes{9, 7, 5, 33, false, true, true}, Sizes{8, 8, 16, 64, true, true},
                    Sizes{3, 8, 0, 64, true, true}, Sizes{3, 0, 4, 8, false, true},
                    Sizes{2, 19, 1, 48, false, false}, Sizes{4, 1, 6, 33, false, true, false, 7},
                    Sizes{4, 2, 6, 100, false, true, false, 4},
                    Sizes{6, 9, 6, 33, true, true, false, 20},
                    Sizes{5, 1, 5, 100, false, true, false, 0, Sizes::kZeros},
                    Sizes{5, 1, 5, 100, true, true, false, 0, Sizes::kKeeps},
                    Sizes{6, 2, 0, 40, false, true, false, 0, Sizes::kKeeps},
                    Sizes{9, 9, 6, 33, false, true, false, 20, Sizes::kKeeps},
                    Sizes{6, 5, 6, 33, true, false, true, 0, Sizes::kZeros}));

using RecurrentLoopLimitsTest = RecurrentLoopTest;

// With any number of threads a loop ends at its deadline, far from its last turn.
TEST_P(RecurrentLoopLimitsTest, Deadline) {
  const int64_t units = GetParam().units;
  MakeInputs("_LstmLoop", kLstmAttrs, 4, {{0}, {0}, {0}}, {units, units});
  RunOptions options;
  options.timeout = std::chrono::milliseconds(50);
  for (const int threads : {1, 2}) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(Run(threads, 3, options).status().code(), StatusCode::kDeadlineExceeded);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  }
}

INSTANTIATE_TEST_SUITE_P(Long, RecurrentLoopLimitsTest,
                         testing::Values(Sizes{4000, 1, 0, 1024, true, true}));

}  // namespace
}  // namespace savedmodel
