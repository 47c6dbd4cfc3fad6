// Calls functions that hang in the object tree, as their Python owner would.
//
//   03_attached_function tests/data/models/tf2_child_methods/model
#include <iostream>

#include "savedmodel/model.h"

int main(int argc, char** argv) {
  using savedmodel::Tensor;
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model");
  const Tensor x = *Tensor::FromVector<float>({1, 2, 3}, {1, 3});

  // model(x), model.left(x), model.stack[1](x)
  for (const auto& object : {model->root(), model->root()["left"], model->root()["stack"][1]}) {
    auto y = object.function("__call__").Call({x});
    if (!y.ok()) {
      std::cerr << y.status() << "\n";
      return 1;
    }
    std::cout << object.path() << "(x) = " << y->tensor().ToString() << "\n";
  }

  // What cannot be called says why.
  auto wrong = model->function("left.__call__").Call({Tensor::Scalar(std::string("text"))});
  std::cout << "left('text'): " << wrong.status() << "\n";
  return wrong.ok() ? 1 : 0;
}
