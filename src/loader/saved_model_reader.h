// SavedModel directories and MetaGraphs, without protobuf in sight.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/file_system.h"
#include "src/loader/graph_loader.h"
#include "src/loader/object_graph.h"

namespace savedmodel {

// One input or output of a signature.
struct SignatureTensor {
  enum class Encoding { kDense, kCooSparse, kComposite };

  std::string key;
  Encoding encoding = Encoding::kDense;
  std::string tensor_name;  // kDense: "node:k"
  DType dtype = DType::kInvalid;
  bool is_ref = false;
  Shape shape = Shape::Unknown();
  // kCooSparse: values, indices, dense_shape, under these keys. kComposite: the components, under
  // their numbers.
  std::vector<SignatureTensor> parts;
  StructuredValue type_spec;  // kComposite
};

struct LoadedSignature {
  std::string key;
  std::string method_name;
  std::vector<SignatureTensor> inputs;                   // sorted by key
  std::vector<SignatureTensor> outputs;                  // sorted by key
  std::vector<std::pair<std::string, Tensor>> defaults;  // inputs that may be left out
};

// The values of a collection, whatever its kind.
struct LoadedCollection {
  std::vector<std::string> nodes;  // names of nodes or tensors
  std::vector<std::string> bytes;  // serialised protos
  std::vector<int64_t> ints;
  std::vector<float> floats;
};

// A file of the model that a tensor of the graph names.
struct LoadedAsset {
  std::string tensor_name;
  std::string filename;  // relative to the assets directory
  std::string path;
};

struct LoadedSaver {
  std::string filename_tensor;
  std::string save_tensor;
  std::string restore_op;
};

// A variable of a TensorFlow 1 graph, by its collections.
struct LoadedVariable {
  std::string name;         // "w", without output number
  std::string tensor_name;  // "w:0", or the handle's
  std::string initializer;  // node that initialises it
  std::string snapshot;     // tensor that reads it
  bool is_resource = false;
  bool trainable = false;
  // Where it lies in a partitioned variable; `full_name` is empty when it is no part of one.
  std::string full_name;
  std::vector<int64_t> full_shape, offset, extent;
};

struct LoadedFingerprint {
  uint64_t saved_model_checksum = 0;
  uint64_t graph_def_program_hash = 0;
  uint64_t signature_def_hash = 0;
  uint64_t saved_object_graph_hash = 0;
  uint64_t checkpoint_hash = 0;
  std::string uuid;
};

struct LoadedMetaGraph {
  // Imported already where there are no objects: sessions are all that such a model offers.
  std::shared_ptr<const MainGraph> main_graph;
  std::shared_ptr<FunctionLibrary> functions;
  std::vector<std::string> tags;
  std::vector<LoadedSignature> signatures;  // sorted by key; those that can be called
  std::map<std::string, LoadedCollection> collections;
  std::vector<LoadedVariable> variables;  // of the collections; empty for TensorFlow 2
  std::vector<LoadedAsset> assets;        // in the file's order: asset objects count them
  std::optional<LoadedSaver> saver;
  std::string init_op;  // node that initialises after restoring, or empty
  std::vector<std::string> stripped_ops;
  bool stripped_default_attrs = false;
  std::map<std::string, std::string> function_aliases;  // library name → name in the code
  std::string tensorflow_version;
  std::string tensorflow_git_version;
  std::shared_ptr<const ObjectGraph> objects;  // never null; without nodes for TensorFlow 1
  std::map<std::string, Tensor> constants;     // of the main graph that objects name, by node
  std::optional<LoadedFingerprint> fingerprint;
  // Prefix of the variables' checkpoint; empty when the directory has none.
  std::string variables_prefix;
};

struct ReadOptions {
  std::vector<std::string> tags;  // as in LoadOptions
  int64_t max_nodes = 1'000'000;
};

// Reads the SavedModel in `directory`: its graph, and everything said about it. `registry` must
// outlive the result. NOT_FOUND when there is no such model or tag set (the message lists those
// that exist), DATA_LOSS for bytes that are no SavedModel, INVALID_ARGUMENT for one that
// contradicts itself, UNIMPLEMENTED for a newer format.
StatusOr<LoadedMetaGraph> ReadSavedModel(const FileSystem& files, const std::string& directory,
                                         const OpRegistry& registry, const ReadOptions& options);

// Tag sets of the MetaGraphs in `directory`, in the file's order.
StatusOr<std::vector<std::vector<std::string>>> ReadTagSets(const FileSystem& files,
                                                            const std::string& directory);

// A MetaGraphDef alone, binary or text: what TensorFlow 1's Saver writes beside checkpoints.
// `directory` is where its assets lie.
StatusOr<LoadedMetaGraph> LoadMetaGraphDef(std::string_view bytes_or_text,
                                           const std::string& directory,
                                           const OpRegistry& registry);

}  // namespace savedmodel
