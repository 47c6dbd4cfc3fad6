// Calls a model with state from several threads, and gives each thread a state of its own.
//
//   11_state_and_clones tests/data/models/tf2_counter/model
#include <iostream>
#include <thread>
#include <vector>

#include "savedmodel/model.h"

constexpr int kThreads = 4, kCalls = 250;

// Calls count(1) kCalls times; the variable "n" counts.
static void Count(const savedmodel::Model& model) {
  const savedmodel::Function count = model.Signature("serving_default");
  for (int i = 0; i < kCalls; ++i) {
    auto n = count({{"by", savedmodel::Tensor::Scalar<int64_t>(1)}});
    if (!n.ok()) std::cerr << n.status() << "\n";
  }
}

static int64_t Counted(const savedmodel::Model& model) {
  return model.variable("n").value().values<int64_t>()[0];
}

int main(int argc, char** argv) {
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model");
  if (!model.ok()) {
    std::cerr << model.status() << "\n";
    return 1;
  }
  const int64_t start = Counted(*model);

  // One state: what any thread's call writes, all see. Updates are not lost.
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back(Count, *model);
  for (std::thread& t : threads) t.join();
  const int64_t shared = Counted(*model);
  std::cout << "one state, " << kThreads << " threads: " << shared - start << "\n";

  // A clone starts with the state of now and goes its own way. Graphs and weights are shared.
  std::vector<savedmodel::Model> clones;
  for (int t = 0; t < kThreads; ++t) clones.push_back(*model->Clone());
  threads.clear();
  for (const savedmodel::Model& clone : clones) threads.emplace_back(Count, clone);
  for (std::thread& t : threads) t.join();
  bool as_expected = shared - start == kThreads * kCalls && Counted(*model) == shared;
  for (const savedmodel::Model& clone : clones) {
    std::cout << "a clone: " << Counted(clone) - shared << "\n";
    as_expected = as_expected && Counted(clone) - shared == kCalls;
  }
  return as_expected ? 0 : 1;
}
