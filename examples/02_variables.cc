// Lists the variables of a SavedModel, reads one through the object tree, and changes it.
//
//   02_variables tests/data/models/tf2_child_methods/model
#include <iostream>

#include "savedmodel/model.h"

int main(int argc, char** argv) {
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model");
  if (!model.ok()) {
    std::cerr << model.status() << "\n";
    return 1;
  }
  for (const auto& [path, variable] : model->variables()) {
    std::cout << path << "  '" << variable.name() << "'  " << variable.value().TypeString() << "\n";
  }

  // The same variable by walking the tree and by its path.
  savedmodel::Variable w = model->root()["deep"]["child"].variable("w");
  std::cout << "deep.child.w = " << w.value().ToString() << "\n";
  if (model->variable("deep.child.w").value().ToString() != w.value().ToString()) return 1;

  // Functions see the new value from their next call on.
  auto zeros = savedmodel::Tensor::Zeros(w.dtype(), w.shape());
  if (savedmodel::Status status = w.Assign(*zeros); !status.ok()) {
    std::cerr << status << "\n";
    return 1;
  }
  std::cout << "now " << w.value().ToString() << "\n";
}
