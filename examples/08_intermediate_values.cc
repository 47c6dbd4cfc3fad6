// Looks inside a model: the results of a layer that is no output of the signature.
//
//   08_intermediate_values tests/data/models/keras2_sequential_dense/model
#include <algorithm>
#include <iostream>

#include "savedmodel/model.h"

int main(int argc, char** argv) {
  using savedmodel::Tensor;
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model");
  const savedmodel::Function f = model->Signature("serving_default");
  if (!f.status().ok()) {
    std::cerr << f.status() << "\n";
    return 1;
  }
  const savedmodel::TensorSpec& in = f.inputs()[0];
  const Tensor x = *Tensor::Zeros(in.dtype, {2, in.shape[1]});

  // The end of a node's name will do where one node has it; only what is fetched is computed.
  const std::string sum = "first/BiasAdd:0", relu = "first/Relu:0";
  auto inside = f.Fetch({sum, relu})({{in.name, x}});
  if (!inside.ok()) {
    std::cerr << inside.status() << "\n";
    return 1;
  }
  for (const auto& [name, tensor] : *inside) {
    std::cout << name << " = " << tensor.ToString() << "\n";
  }
  bool as_expected = true;
  for (int64_t i = 0; i < inside->at(sum).num_elements(); ++i) {
    const float before = inside->at(sum).data<float>()[i];
    as_expected = as_expected && inside->at(relu).data<float>()[i] == std::max(before, 0.0f);
  }

  // A name that several nodes end with, or none, is an error that says so.
  std::cout << f.Fetch("BiasAdd:0").status() << "\n" << f.Fetch("last/Tan:0").status() << "\n";
  return as_expected ? 0 : 1;
}
