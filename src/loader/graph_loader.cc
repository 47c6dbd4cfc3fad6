#include "src/loader/graph_loader.h"

#include <google/protobuf/arena.h>

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/graph_importer.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {

StatusOr<LoadedGraph> LoadGraphDef(std::string_view bytes_or_text, const OpRegistry& registry) {
  auto arena = std::make_shared<google::protobuf::Arena>();
  auto* graph = google::protobuf::Arena::CreateMessage<proto::GraphDef>(arena.get());
  SM_RETURN_IF_ERROR(ParseBinaryOrText(bytes_or_text, "graph", graph));
  return ImportGraphDef(std::move(arena), graph, registry);
}

}  // namespace savedmodel
