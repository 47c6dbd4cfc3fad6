// Fuzz target: a GraphDef, binary or text. Converts all of its functions, and runs the last node.
#include "savedmodel/model.h"
#include "src/kernels/all_ops.h"
#include "src/loader/graph_loader.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace savedmodel;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto graph = LoadGraphDef(bytes, BuiltInOps());
  if (!graph.ok() || graph->graph.num_nodes() == 0) return 0;
  for (const std::string& name : graph->functions->Names()) {
    const auto function = graph->functions->Get({name, nullptr});
    if (function.ok()) (void)(*function)->graph.TopologicalOrder();
  }
  const auto model = LoadGraphDef(bytes, fuzz::LoadLimits());
  if (!model.ok()) return 0;
  std::string last;
  for (const auto& [name, id] : graph->by_name) {
    if (id == graph->graph.num_nodes() - 1) last = name;
  }
  const auto results = model->session().Run({}, {last}, {}, fuzz::RunLimits());
  if (results.ok()) fuzz::ReadEveryByte(results->front());
  return 0;
}
