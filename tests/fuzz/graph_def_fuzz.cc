// Fuzz target: a GraphDef, binary or text, with all of its functions.
#include "src/kernels/all_ops.h"
#include "src/loader/graph_loader.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto graph = savedmodel::LoadGraphDef(
      std::string_view(reinterpret_cast<const char*>(data), size), savedmodel::BuiltInOps());
  if (!graph.ok()) return 0;
  (void)graph->graph.TopologicalOrder();
  for (const std::string& name : graph->functions->Names()) {
    const auto function = graph->functions->Get({name, nullptr});
    if (function.ok()) (void)(*function)->graph.TopologicalOrder();
  }
  return 0;
}
