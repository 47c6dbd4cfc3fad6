// Loads a SavedModel and runs a signature.
//
//   01_run_signature tests/data/models/tf2_child_methods/model
#include <iostream>

#include "savedmodel/model.h"

int main(int argc, char** argv) {
  using savedmodel::Tensor;
  const char* path = argc > 1 ? argv[1] : "model";

  // No check is needed on the way: an error travels to the end of the chain.
  auto result = savedmodel::Load(path)->Signature("serving_default")(
      {{"x", *Tensor::FromVector<float>({1, 2, 3}, {1, 3})}});
  if (!result.ok()) {
    std::cerr << result.status() << "\n";
    return 1;
  }
  for (const auto& [name, tensor] : *result) {
    std::cout << name << " = " << tensor.ToString() << "\n";
  }
}
