// Which entries of an object-based checkpoint belong to which objects.
#include <map>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "proto/savedmodel_model.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/object_graph.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {
namespace {

constexpr char kGraphKey[] = "_CHECKPOINTABLE_OBJECT_GRAPH";
constexpr char kValueAttribute[] = "VARIABLE_VALUE";

Status CheckId(int id, int count) {
  if (id >= 0 && id < count) return Status();
  return DataLoss("checkpoint object graph: found a reference to node ", id,
                  ", expected one below ", count);
}

}  // namespace

StatusOr<std::vector<CheckpointNode>> ReadCheckpointObjects(const CheckpointReader& checkpoint) {
  std::vector<CheckpointNode> nodes;
  if (checkpoint.Find(kGraphKey) == nullptr) return nodes;
  SM_ASSIGN_OR_RETURN(const Tensor text, checkpoint.Read(kGraphKey));
  const Span<const std::string> strings = text.values<std::string>();
  if (strings.size() != 1)
    return DataLoss(kGraphKey, " is ", text.TypeString(), ", not one string");
  proto::TrackableObjectGraph graph;
  SM_RETURN_IF_ERROR(ParseBinary(strings[0], kGraphKey, &graph));
  const int count = graph.nodes_size();
  nodes.reserve(count);
  for (const auto& proto : graph.nodes()) {
    CheckpointNode node;
    for (const auto& child : proto.children()) {
      SM_RETURN_IF_ERROR(CheckId(child.node_id(), count));
      node.children.push_back({child.local_name(), child.node_id()});
    }
    for (const auto& attribute : proto.attributes()) {
      node.attributes.push_back(
          {attribute.name(), attribute.full_name(), attribute.checkpoint_key()});
    }
    for (const auto& slot : proto.slot_variables()) {
      SM_RETURN_IF_ERROR(CheckId(slot.original_variable_node_id(), count));
      SM_RETURN_IF_ERROR(CheckId(slot.slot_variable_node_id(), count));
      node.slots.push_back(
          {slot.original_variable_node_id(), slot.slot_name(), slot.slot_variable_node_id()});
    }
    nodes.push_back(std::move(node));
  }
  return nodes;
}

std::vector<int> MatchCheckpointObjects(const ObjectGraph& objects,
                                        const std::vector<CheckpointNode>& checkpoint, int root) {
  std::vector<int> matches(objects.nodes.size(), -1);
  if (objects.nodes.empty() || checkpoint.empty()) return matches;
  std::vector<int> pending;
  const auto match = [&](int object, int saved) {
    if (matches[object] >= 0) return;
    matches[object] = saved;
    pending.push_back(object);
  };
  match(0, root);
  while (!pending.empty()) {
    const int object = pending.back();
    pending.pop_back();
    const CheckpointNode& saved = checkpoint[matches[object]];
    std::unordered_map<std::string_view, int> by_name;
    for (const ObjectChild& child : saved.children) by_name.emplace(child.name, child.id);
    for (const ObjectChild& child : objects.nodes[object].children) {
      auto it = by_name.find(child.name);
      if (it != by_name.end()) match(child.id, it->second);
    }
  }
  // Slot variables are no children: they hang on their optimiser by variable and name.
  for (size_t object = 0; object < objects.nodes.size(); ++object) {
    if (matches[object] < 0) continue;
    std::map<std::pair<int, std::string_view>, int> saved;
    for (const SlotVariable& slot : checkpoint[matches[object]].slots) {
      saved.emplace(std::pair<int, std::string_view>(slot.variable, slot.name), slot.slot);
    }
    for (const SlotVariable& slot : objects.nodes[object].slots) {
      auto it = saved.find({matches[slot.variable], slot.name});
      if (it != saved.end() && matches[slot.slot] < 0) matches[slot.slot] = it->second;
    }
  }
  return matches;
}

std::string ValueKey(const CheckpointNode& node) {
  for (const CheckpointAttribute& attribute : node.attributes) {
    if (attribute.name == kValueAttribute) return attribute.key;
  }
  return std::string();
}

std::string VariableKey(const ObjectGraph& objects, int id,
                        const std::vector<CheckpointNode>& checkpoint,
                        const std::vector<int>& matches, const CheckpointReader& reader) {
  if (matches[id] >= 0) {
    if (std::string key = ValueKey(checkpoint[matches[id]]); !key.empty()) return key;
  }
  const std::string& name = objects.nodes[id].variable.name;
  if (!name.empty() && reader.Find(name) != nullptr) return name;
  return std::string();
}

}  // namespace savedmodel
