#include "src/loader/graph_loader.h"

#include <google/protobuf/arena.h>

#include <charconv>
#include <utility>

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/function_library.h"
#include "src/loader/graph_importer.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {

StatusOr<LoadedGraph> LoadGraphDef(std::string_view bytes_or_text, const OpRegistry& registry) {
  auto arena = std::make_shared<google::protobuf::Arena>();
  auto* graph = google::protobuf::Arena::CreateMessage<proto::GraphDef>(arena.get());
  SM_RETURN_IF_ERROR(ParseBinaryOrText(bytes_or_text, "graph", graph));
  SM_ASSIGN_OR_RETURN(
      std::shared_ptr<ProtoFunctionLibrary> library,
      ProtoFunctionLibrary::Make(std::move(arena), graph->library(), registry, ImportOptions()));
  return ImportGraphDef(std::move(library), graph, registry);
}

StatusOr<const LoadedGraph*> MainGraph::Get() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (import_ != nullptr) {
    graph_ = std::exchange(import_, nullptr)();
  }
  if (!graph_.ok()) return graph_.status();
  return &*graph_;
}

bool SplitTensorName(std::string_view text, std::string_view* node, int32_t* index) {
  const size_t colon = text.rfind(':');
  *node = text.substr(0, colon);
  *index = 0;
  if (colon == std::string_view::npos) return !node->empty();
  const char* end = text.data() + text.size();
  const auto r = std::from_chars(text.data() + colon + 1, end, *index);
  return r.ec == std::errc() && r.ptr == end && *index >= 0 && !node->empty();
}

}  // namespace savedmodel
