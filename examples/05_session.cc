// TensorFlow 1's view of a model: feed and fetch tensors by name, run operations, read variables.
//
//   05_session tests/data/models/tf1_ref_variables_state/model
#include <iostream>

#include "savedmodel/model.h"

int main(int argc, char** argv) {
  using savedmodel::Tensor;
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model");
  const savedmodel::Session session = model->session();

  // sess.run(["double:0", "v:0"]); ":0" may be left out.
  auto before = session.Run({}, {"double:0", "v"});
  if (!before.ok()) {
    std::cerr << before.status() << "\n";
    return 1;
  }
  std::cout << "double = " << (*before)[0].ToString() << ", v = " << (*before)[1].ToString()
            << "\n";

  // sess.run(assign_op, {"x:0": [4, 5, 6]}): an operation to run, nothing to fetch.
  const Tensor x = Tensor::Vector<float>({4, 5, 6});
  auto assigned = session.Run({{"x:0", x}}, {}, {"Assign"});
  if (!assigned.ok()) {
    std::cerr << assigned.status() << "\n";
    return 1;
  }
  // The state is the model's: a variable by its TensorFlow name has the new value.
  std::cout << "v = " << model->variable("v").value().ToString() << "\n";

  // Any tensor may be fed, also one that an operation computes: here the variable's value.
  auto fed = session.Run({{"v/read:0", Tensor::Vector<float>({1, 2, 3})}}, {"double:0"});
  std::cout << "double of a fed value = " << fed->at(0).ToString() << "\n";

  const bool as_expected = model->variable("v").value().ToString() == x.ToString() &&
                           fed->at(0).ToVector<float>() == std::vector<float>{2, 4, 6};
  return as_expected ? 0 : 1;
}
