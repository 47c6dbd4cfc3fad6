#include "src/loader/graph_importer.h"

#include <google/protobuf/arena.h>

#include <utility>

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/body_importer.h"
#include "src/loader/function_library.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {
namespace {

// TensorFlow 2.21's version of the graph format. Files say what they need of it.
constexpr int kGraphVersion = 2474;

Status CheckVersions(const proto::VersionDef& versions) {
  if (versions.min_consumer() > kGraphVersion) {
    return InvalidArgument("graph: needs version ", versions.min_consumer(),
                           " of the graph format, found ", kGraphVersion,
                           " here; a newer release of the library is needed");
  }
  for (int bad : versions.bad_consumers()) {
    if (bad == kGraphVersion) {
      return InvalidArgument("graph: excludes readers of version ", kGraphVersion,
                             " of the graph format, which this library is");
    }
  }
  return Status();
}

Status Connect(const proto::NodeDef& def, NodeId id, BodyImporter& importer, Graph* graph) {
  SM_RETURN_IF_ERROR(importer.ChargeEdges(def.input_size()));
  for (const std::string& input : def.input()) {
    const bool control = !input.empty() && input[0] == '^';
    std::string_view producer;
    int32_t index = 0;
    if (control) {
      producer = std::string_view(input).substr(1);
    } else if (!SplitTensorName(input, &producer, &index)) {
      return InvalidArgument("node '", def.name(), "': input '", input,
                             "' is none of 'node', 'node:output', '^node'");
    }
    const NodeId source = importer.Find(producer);
    if (source < 0) {
      return InvalidArgument("node '", def.name(), "': input '", input, "' names node '", producer,
                             "', which the graph does not have");
    }
    Node& node = graph->node(id);
    if (control) {
      node.control_inputs.push_back(source);
    } else if (!node.control_inputs.empty()) {
      return InvalidArgument("node '", def.name(), "': input '", input,
                             "' follows a control input, expected those last");
    } else {
      node.inputs.push_back({source, index});
    }
  }
  return Status();
}

}  // namespace

StatusOr<LoadedGraph> ImportGraphDef(std::shared_ptr<ProtoFunctionLibrary> library,
                                     proto::GraphDef* graph_def, const OpRegistry& registry,
                                     const ImportOptions& options) {
  google::protobuf::Arena arena;
  if (std::string bytes; !graph_def->unparsed().empty()) {
    bytes.swap(*graph_def->mutable_unparsed());
    graph_def = google::protobuf::Arena::CreateMessage<proto::GraphDef>(&arena);
    SM_RETURN_IF_ERROR(ParseBinary(bytes, "graph", graph_def));
  }
  SM_RETURN_IF_ERROR(CheckVersions(graph_def->versions()));
  if (graph_def->node_size() > options.max_nodes) {
    return ResourceExhausted("graph: found ", graph_def->node_size(), " nodes, expected at most ",
                             options.max_nodes);
  }
  LoadedGraph loaded;
  BodyImporter importer(registry, library->index(), nullptr, &loaded.graph);
  for (proto::NodeDef& def : *graph_def->mutable_node()) {
    SM_RETURN_IF_ERROR(importer.Take(&def));
  }
  SM_RETURN_IF_ERROR(importer.ResolveOutputs());
  for (int i = 0; i < graph_def->node_size(); ++i) {
    SM_RETURN_IF_ERROR(Connect(graph_def->node(i), i, importer, &loaded.graph));
  }
  importer.Finish();
  loaded.by_name = importer.TakeNames();
  loaded.functions = std::move(library);
  return loaded;
}

}  // namespace savedmodel
