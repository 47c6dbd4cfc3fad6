// Runs the first signature of a model with an input of [1,3]: all that a host needs to link.
#include <savedmodel/model.h>

#include <iostream>

int main(int argc, char** argv) {
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model");
  const auto f = model->Signature("serving_default");
  const std::string name = f.inputs().empty() ? "" : f.inputs()[0].name;
  auto x = savedmodel::Tensor::FromVector<float>({1, 2, 3}, {1, 3});
  auto result = f({{name, *x}});
  if (!result.ok()) {
    std::cerr << result.status() << "\n";
    return 1;
  }
  std::cout << result->begin()->second.ToString() << "\n";
}
