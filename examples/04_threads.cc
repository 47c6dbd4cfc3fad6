// Runs one model from several threads, each with inputs and outputs bound once: no allocation and
// no lookups in the loop.
//
//   04_threads tests/data/models/tf2_child_methods/model
#include <atomic>
#include <iostream>
#include <thread>
#include <vector>

#include "savedmodel/model.h"

int main(int argc, char** argv) {
  using savedmodel::Tensor;
  savedmodel::LoadOptions options;
  options.num_threads = 1;  // the threads below keep the cores busy
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model", options);
  const savedmodel::Function f = model->Signature("serving_default");
  if (!f.status().ok()) {
    std::cerr << f.status() << "\n";
    return 1;
  }
  const std::string in = f.inputs()[0].name, out = f.outputs()[0].name;

  std::atomic<int> runs{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      auto call = f.Bind({{in, *Tensor::FromVector<float>({0, 0, 0}, {1, 3})}});
      if (!call.ok()) return;
      for (int i = 0; i < 1000; ++i) {
        float* x = call->input(in).mutable_data<float>();
        x[0] = x[1] = x[2] = static_cast<float>(t + i);
        if (!call->Run().ok()) return;
        if (call->output(out).data<float>() != nullptr) ++runs;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  std::cout << runs << " runs on " << threads.size() << " threads\n";
  return runs == 4000 ? 0 : 1;
}
