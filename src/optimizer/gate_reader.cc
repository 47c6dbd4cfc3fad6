#include "src/optimizer/gate_reader.h"

#include <algorithm>

namespace savedmodel {

// Columns [first, first + units) of `v`, a sum of what the cell gets of its input, the recurrent
// product and biases.
bool GateReader::Read(NodeOutput v, int64_t first, int64_t units, GateSum* gate) {
  const Node* sum = As(v, "AddV2", 2);
  if (sum == nullptr) sum = As(v, "BiasAdd", 2);
  if (sum != nullptr) {
    const NodeOutput a = sum->inputs[0], b = sum->inputs[1];
    return Read(a, first, units, gate) && Read(b, first, units, gate);
  }
  if (const Tensor* bias = Constant(v)) {
    const int64_t n = bias->num_elements();
    const bool row = n == 1 || (n >= first + units && bias->shape()[bias->shape().rank() - 1] == n);
    if (!row || bias->dtype() != DType::kFloat) return false;
    gate->biases.push_back({*bias, n == 1 ? 0 : first});
    return true;
  }
  if (const int list = body_.ListOfItem(v, time_); list >= 0) {
    if (gate->input || previous_.node >= 0 || (input_ >= 0 && input_ != list)) return false;
    input_ = list;
    gate->input = first;
    return true;
  }
  if (As(v, "Mul", 2) != nullptr) return ReadPeephole(v, first, units, gate);
  if (const Node* product = As(v, "MatMul", 2)) return ReadProduct(*product, first, units, gate);
  const Node* part = As(v, "Split", 2);
  if (part == nullptr) part = As(v, "SplitV", 3);
  if (part == nullptr) part = As(v, "StridedSlice", 4);
  return part != nullptr && ReadPart(*part, v, first, units, gate);
}

// `v` is a part of the columns of a matrix.
bool GateReader::ReadPart(const Node& split, NodeOutput v, int64_t first, int64_t units,
                          GateSum* gate) {
  const bool slices = split.op == "StridedSlice", sizes = split.op == "SplitV";
  const NodeOutput whole = split.inputs[slices || sizes ? 0 : 1];
  if (graph_->shape(whole).rank() != 2 || graph_->shape(v).rank() != 2 || graph_->shape(v)[1] < 0) {
    return false;
  }
  if (slices) {
    const int64_t begin = FirstColumn(split);
    return begin >= 0 && Read(whole, first + begin, units, gate);
  }
  if (!IsAxis(Constant(split.inputs[sizes ? 2 : 0]), 1, 2)) return false;
  for (int i = 0; i < v.index; ++i) {
    const int64_t columns = graph_->shape({v.node, i})[1];
    if (columns < 0) return false;
    first += columns;
  }
  return Read(whole, first, units, gate);
}

// `v` is a row of weights times a state.
bool GateReader::ReadPeephole(NodeOutput v, int64_t first, int64_t units, GateSum* gate) {
  return !gate->peephole && first == 0 && Either(v, "Mul", [&](NodeOutput row, NodeOutput of) {
    const Tensor* weights = Constant(row);
    if (weights == nullptr || weights->dtype() != DType::kFloat ||
        weights->shape() != Shape({units})) {
      return false;
    }
    gate->peephole = *weights;
    gate->peeped = of;
    return true;
  });
}

bool GateReader::ReadProduct(const Node& product, int64_t first, int64_t units, GateSum* gate) {
  const Tensor* weights = Constant(product.inputs[1]);
  if (weights == nullptr || weights->shape().rank() != 2 || weights->shape()[1] < first + units ||
      product.attrs.Bool("transpose_a") || product.attrs.Bool("transpose_b")) {
    return false;
  }
  const Node* both = As(product.inputs[0], "ConcatV2", 3);
  if (both == nullptr) return AddProduct(product.inputs[0], {*weights, first}, gate);
  const Shape a = graph_->shape(both->inputs[0]);
  const int64_t rows = weights->shape()[0];
  return IsAxis(Constant(both->inputs[2]), 1, 2) && a.rank() == 2 && a[1] > 0 && a[1] < rows &&
         AddProduct(both->inputs[0], {weights->Rows(0, a[1]), first}, gate) &&
         AddProduct(both->inputs[1], {weights->Rows(a[1], rows), first}, gate);
}

bool GateReader::AddProduct(NodeOutput factor, Columns weights, GateSum* gate) {
  const bool previous = previous_.node >= 0 && factor == previous_;
  std::optional<Columns>* to = previous ? &gate->previous : &gate->recurrent;
  if (to->has_value()) return false;
  *to = std::move(weights);
  if (!previous) gate->factor = factor;
  return true;
}

// The gates' columns side by side in `order`; without value where their rows differ.
Tensor JoinColumns(const std::vector<const Columns*>& gates, const std::vector<int64_t>& order,
                   int64_t units) {
  const Tensor& whole = gates[0]->values;
  const int64_t rows = whole.shape()[0], count = static_cast<int64_t>(gates.size());
  bool is_whole = whole.shape()[1] == count * units;
  for (size_t g = 0; g < gates.size(); ++g) {
    const Tensor& values = gates[g]->values;
    if (values.dtype() != DType::kFloat || values.shape()[0] != rows) return Tensor();
    is_whole = is_whole && values.raw_data() == whole.raw_data() &&
               values.shape() == whole.shape() && gates[g]->first == order[g] * units;
  }
  if (is_whole) return whole;
  StatusOr<Tensor> joined = Tensor::Allocate(DType::kFloat, Shape({rows, count * units}));
  if (!joined.ok()) return Tensor();
  float* const to = static_cast<float*>(joined->raw_mutable_data());
  for (size_t g = 0; g < gates.size(); ++g) {
    const int64_t width = gates[g]->values.shape()[1];
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(gates[g]->values.data<float>() + r * width + gates[g]->first, units,
                  to + (r * count + order[g]) * units);
    }
  }
  return *joined;
}

// The sums of the gates' biases side by side; without value where there are none.
Tensor JoinBiases(const std::vector<std::vector<Columns>>& gates, const std::vector<int64_t>& order,
                  int64_t units) {
  std::vector<float> joined(gates.size() * static_cast<size_t>(units));
  bool any = false;
  for (size_t g = 0; g < gates.size(); ++g) {
    for (const Columns& bias : gates[g]) {
      any = true;
      const float* const from = bias.values.data<float>() + bias.first;
      const bool is_number = bias.values.num_elements() == 1;
      for (int64_t u = 0; u < units; ++u) {
        joined[static_cast<size_t>(order[g] * units + u)] += from[is_number ? 0 : u];
      }
    }
  }
  return any ? Tensor::Vector(joined) : Tensor();
}

}  // namespace savedmodel
