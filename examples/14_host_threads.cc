// Lets a model run on threads that the host program has already: here those of a oneTBB arena.
//
//   14_host_threads tests/data/models/tf2_child_methods/model
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <iostream>
#include <memory>

#include "savedmodel/model.h"
#include "savedmodel/thread_pool.h"

class ArenaPool final : public savedmodel::ThreadPool {
 public:
  explicit ArenaPool(int num_threads) : arena_(num_threads) {}

  int num_threads() const override { return arena_.max_concurrency(); }

  void Run(int64_t n, savedmodel::FunctionRef<void(int64_t)> fn) override {
    arena_.execute([&] { tbb::parallel_for(int64_t{0}, n, [&](int64_t i) { fn(i); }); });
  }

 private:
  tbb::task_arena arena_;
};

int main(int argc, char** argv) {
  using savedmodel::Tensor;
  savedmodel::LoadOptions options;
  options.thread_pool = std::make_shared<ArenaPool>(2);
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model", options);
  const savedmodel::Function f = model->Signature("serving_default");
  if (!f.status().ok()) {
    std::cerr << f.status() << "\n";
    return 1;
  }
  auto outputs = f({{f.inputs()[0].name, *Tensor::FromVector<float>({1, 2, 3}, {1, 3})}});
  if (!outputs.ok()) {
    std::cerr << outputs.status() << "\n";
    return 1;
  }
  for (const auto& [name, value] : *outputs) std::cout << name << " = " << value.ToString() << "\n";
  return 0;
}
