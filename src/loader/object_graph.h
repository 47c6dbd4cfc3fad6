// The object tree of a TensorFlow 2 SavedModel, and what a checkpoint holds for its objects.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/base/checkpoint.h"
#include "src/loader/structured_value.h"

namespace savedmodel {

namespace proto {
class SavedObjectGraph;
}  // namespace proto

enum class ObjectKind {
  kUserObject,
  kVariable,
  kFunction,              // polymorphic: one or more concrete functions
  kBareConcreteFunction,  // one concrete function, called by keyword (a signature)
  kConstant,
  kAsset,
  kResource,  // a table or the like, made by its `_create_resource` function
  kCapturedTensor,
};

struct ObjectChild {
  std::string name;
  int id = 0;
};

// Optimiser state: the variable `slot` called `name` that belongs to `variable`.
struct SlotVariable {
  int variable = 0;
  std::string name;
  int slot = 0;
};

struct VariableFacts {
  DType dtype = DType::kInvalid;
  Shape shape = Shape::Unknown();
  bool trainable = false;
  std::string name;  // TensorFlow's, for example "dense/kernel"
  std::string device;
  int num_components = 0;  // of a distributed variable
};

// The Python signature of a function: inspect.FullArgSpec.
struct FunctionSpec {
  bool known = false;  // false where the file says nothing
  std::vector<std::string> args;
  std::string varargs;                    // name of *args, or empty
  std::string varkw;                      // name of **kwargs, or empty
  std::vector<StructuredValue> defaults;  // of the last `args`
  std::vector<std::string> kwonlyargs;
  std::map<std::string, StructuredValue> kwonlydefaults;
  bool is_method = false;  // args[0] is `self`
  StructuredValue input_signature;
};

// Functions that save and restore an object's state beyond plain variables, as node ids.
struct SaveableFunctions {
  int save = 0;
  int restore = 0;
};

struct ObjectNode {
  ObjectKind kind = ObjectKind::kUserObject;
  std::vector<ObjectChild> children;
  std::vector<ObjectChild> dependencies;  // must exist before this node
  std::vector<SlotVariable> slots;
  std::map<std::string, SaveableFunctions> saveables;
  std::string registered_name;  // of a registered class, or empty

  // kUserObject
  std::string identifier;  // "_generic_user_object", "trackable_list_wrapper", "_tf_keras_layer", …
  std::string metadata;    // JSON of Keras
  // kVariable
  VariableFacts variable;
  // kFunction, kBareConcreteFunction
  std::vector<std::string> concrete_functions;
  FunctionSpec spec;
  std::vector<std::string> argument_keywords;  // kBareConcreteFunction
  int64_t allowed_positional_arguments = 0;    // kBareConcreteFunction
  // kConstant: name of a node of the graph; kCapturedTensor: name of a tensor
  std::string tensor_name;
  std::string captured_in;  // kCapturedTensor: the concrete function
  // kAsset
  int asset_index = 0;
  // kResource
  std::string device;

  // Node id of the child named `name`, or -1.
  int FindChild(const std::string& name) const;
};

// A function of the library, seen from the object tree.
struct ConcreteFunction {
  std::vector<int> bound_inputs;    // nodes whose handles are its last arguments
  StructuredValue input_signature;  // a tuple: (args, kwargs)
  StructuredValue output_signature;
};

struct ObjectGraph {
  std::vector<ObjectNode> nodes;  // 0 is the root; empty for TensorFlow 1
  std::map<std::string, ConcreteFunction> concrete_functions;
};

// INVALID_ARGUMENT, naming the node, for references to nodes that do not exist.
StatusOr<std::shared_ptr<const ObjectGraph>> ObjectGraphFromProto(
    const proto::SavedObjectGraph& proto);

// One value that a checkpoint holds for an object: "VARIABLE_VALUE", "table", ….
struct CheckpointAttribute {
  std::string name;
  std::string full_name;  // TensorFlow's name of the variable
  std::string key;        // of the checkpoint's entry
};

// A node of the object graph that an object-based checkpoint holds.
struct CheckpointNode {
  std::vector<ObjectChild> children;
  std::vector<CheckpointAttribute> attributes;
  std::vector<SlotVariable> slots;
};

// The object graph of `checkpoint`; empty for a name-based one.
StatusOr<std::vector<CheckpointNode>> ReadCheckpointObjects(const CheckpointReader& checkpoint);

// For each node of `objects`: the node of the checkpoint that holds its values, or -1. Both graphs
// are walked by names of children, as TensorFlow does, from the root of `objects` and node `root`
// of the checkpoint.
std::vector<int> MatchCheckpointObjects(const ObjectGraph& objects,
                                        const std::vector<CheckpointNode>& checkpoint,
                                        int root = 0);

// The key of a variable's value; empty for a node that is no variable.
std::string ValueKey(const CheckpointNode& node);

// The checkpoint's key for the value of variable node `id`: by the object graph, then by the
// variable's name; empty when the checkpoint has no value for it. `matches` is what
// MatchCheckpointObjects returned.
std::string VariableKey(const ObjectGraph& objects, int id,
                        const std::vector<CheckpointNode>& checkpoint,
                        const std::vector<int>& matches, const CheckpointReader& reader);

}  // namespace savedmodel
