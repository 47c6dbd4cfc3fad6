// Loads what tf.compat.v1.train.Saver writes: a MetaGraphDef and a checkpoint beside it.
//
//   09_meta_graph tests/data/models/meta_graph_saver_v2/model/ckpt-3
#include <iostream>

#include "savedmodel/model.h"

int main(int argc, char** argv) {
  using savedmodel::Tensor;
  const std::string prefix = argc > 1 ? argv[1] : "ckpt-3";

  // saver = import_meta_graph(prefix + ".meta"); saver.restore(sess, prefix)
  auto model = savedmodel::LoadMetaGraph(prefix + ".meta", prefix);
  if (!model.ok()) {
    std::cerr << model.status() << "\n";
    return 1;
  }
  // A partitioned variable appears by its parts.
  for (const auto& [name, variable] : model->variables()) {
    std::cout << name << "  " << variable.value().TypeString() << "\n";
  }

  const Tensor x = *Tensor::FromVector<float>({1, 2, 3, 4, 5}, {1, 5});
  auto by_session = model->session().Run({{"x:0", x}}, {"y:0", "z:0"});
  if (!by_session.ok()) {
    std::cerr << by_session.status() << "\n";
    return 1;
  }
  std::cout << "y = " << (*by_session)[0].ToString() << "\nz = " << (*by_session)[1].ToString()
            << "\n";

  // A function from tensors to tensors, as wrap_function(...).prune("x:0", "y:0") makes one: for
  // many calls of the same kind.
  const savedmodel::Function f = model->Prune({"x:0"}, {"y:0"});
  auto by_function = f({{f.inputs()[0].name, x}});
  if (!by_function.ok()) {
    std::cerr << by_function.status() << "\n";
    return 1;
  }
  return by_function->begin()->second.ToString() == (*by_session)[0].ToString() ? 0 : 1;
}
