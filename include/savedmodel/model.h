/// Load a SavedModel and use what is in it.
///
///   auto model = savedmodel::Load("half_plus_two");
///   auto result = model->Signature("serving_default")({{"x", Tensor::Vector<float>({1, 2})}});
///   std::cout << result->at("y").ToString();
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "savedmodel/dtype.h"
#include "savedmodel/export.h"
#include "savedmodel/file_system.h"
#include "savedmodel/op.h"
#include "savedmodel/shape.h"
#include "savedmodel/status.h"
#include "savedmodel/tensor.h"
#include "savedmodel/tensor_proto.h"
#include "savedmodel/thread_pool.h"
#include "savedmodel/value.h"

namespace savedmodel {

/// Tensors by name: inputs and outputs of a signature.
using TensorMap = std::map<std::string, Tensor>;

/// How a model is loaded and how its calls run by default.
struct LoadOptions {
  /// Tag set of the MetaGraph to load. Where it is empty and no MetaGraph is without tags: the only
  /// MetaGraph whatever its tags, or {serve} where there are several.
  std::vector<std::string> tags;
  /// Threads that compute in one call, the caller's included; 0 means one per core.
  int num_threads = 0;
  /// The host's own threads instead; must outlive the Model.
  std::shared_ptr<ThreadPool> thread_pool;
  /// Where the files are; null means the machine's file system.
  std::shared_ptr<const FileSystem> file_system;
  /// Ops beyond the library's own; one of the same name hides the built-in.
  std::vector<OpDef> custom_ops;
  /// Trades accuracy for speed and memory: kBFloat16 (about three significant digits), most where
  /// AVX512-BF16 is quick; kInt8 (about two; dynamic quantisation) where the processor has
  /// AVX512-VNNI or AVX-VNNI. Others compute in float32 nevertheless.
  Precision precision = Precision::kFloat32;
  /// Bytes that the tensors of one call may hold at a time; negative means no limit.
  int64_t memory_limit = int64_t{16} << 30;
  /// Turns that one loop may take.
  int64_t max_loop_iterations = int64_t{1} << 31;
  /// Read files of the model through symbolic links that lead out of its directory, as caches of
  /// downloads have them.
  bool follow_links = false;
  /// Check the crc32c of every tensor that is read from a checkpoint.
  bool verify_checksums = true;
  /// Limit on the whole load, initialisers included.
  std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max();
};

/// Limits of one call.
struct RunOptions {
  std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max();
  /// Set it to true from any thread to end the call with CANCELLED.
  const std::atomic<bool>* cancelled = nullptr;
  /// Bytes that the call's tensors may hold at a time; 0 means what LoadOptions says.
  int64_t memory_limit = 0;
  /// Turns that one loop may take; 0 means what LoadOptions says.
  int64_t max_loop_iterations = 0;
  /// Threads for this call instead of the model's; must live until the call is over.
  ThreadPool* thread_pool = nullptr;
};

/// One input or output of a function.
struct TensorSpec {
  std::string name;         // signature key, or argument name
  std::string tensor_name;  // graph tensor, for example "serving_default_x:0"; may be empty
  DType dtype = DType::kInvalid;
  Shape shape = Shape::Unknown();
  bool is_ref = false;  // a TensorFlow 1 reference: shown as "float32_ref"
};

/// Name, method and arguments of a signature.
struct SignatureInfo {
  std::string key;
  std::string method_name;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

namespace api {  // implementation; src/api/
class ModelImpl;
struct FunctionImpl;
struct BoundState;
struct VariableState;
}  // namespace api

/// A function with inputs and outputs fixed to tensors of the caller, for the fastest reruns.
///
/// `input(key)` and `output(key)` are the caller's to write and read between runs. One BoundCall
/// serves one thread at a time; make one per thread. It keeps the Model alive.
class SAVEDMODEL_EXPORT BoundCall {
 public:
  BoundCall() = default;
  static BoundCall FromError(const Status& status);
  const Status& status() const;
  /// The tensor that input `key` is read from; write into `mutable_data<T>()`. An empty Tensor
  /// for an unknown key.
  Tensor& input(const std::string& key);
  /// The tensor that output `key` is written to by Run.
  const Tensor& output(const std::string& key) const;
  /// Computes the outputs from the inputs. Outputs of fixed shape keep their memory.
  Status Run(const RunOptions& options = {});

 private:
  friend class Function;
  std::shared_ptr<api::BoundState> state_;
};

/// Something that can be called: a signature, a concrete or polymorphic function, a pruned graph.
///
/// A handle: cheap to copy, keeps the Model alive, usable from many threads at once. One that could
/// not be found or compiled carries the error and returns it from every call.
class SAVEDMODEL_EXPORT Function {
 public:
  Function() = default;
  explicit Function(std::shared_ptr<const api::FunctionImpl> impl) : impl_(std::move(impl)) {}
  static Function FromError(const Status& status);

  /// OK, or why the function cannot be called.
  Status status() const;
  std::string name() const;

  /// Calls by name. Every declared input must be there (defaults of the function count), with the
  /// declared dtype and a compatible shape.
  /// INVALID_ARGUMENT names the input; UNIMPLEMENTED the op that the library lacks.
  StatusOr<TensorMap> operator()(const TensorMap& inputs, const RunOptions& options = {}) const;

  /// Calls with Python-like arguments. A polymorphic function picks the trace that fits, as
  /// TensorFlow does; INVALID_ARGUMENT lists the traces when none fits.
  StatusOr<Value> Call(const std::vector<Value>& args,
                       const std::map<std::string, Value>& kwargs = {},
                       const RunOptions& options = {}) const;

  /// Inputs and outputs by name; empty for a polymorphic function of several traces.
  std::vector<TensorSpec> inputs() const;
  std::vector<TensorSpec> outputs() const;
  /// Traces of a polymorphic function, as text.
  std::vector<std::string> traces() const;

  /// The same function with tensors from inside of it as its results, by these names:
  ///
  ///   auto relu = f.Fetch("dense/Relu:0")({{"x", x}})->at("dense/Relu:0");
  ///
  /// Names are "node:k"; a node of a called function is "call/node", and the end of a name that
  /// only one node has will do. Nothing but what these tensors need runs. Carries NOT_FOUND where
  /// there is no such node: values in the bodies of loops and branches cannot be had.
  Function Fetch(const std::vector<std::string>& tensors) const;
  template <class Name,
            std::enable_if_t<std::is_convertible<const Name&, std::string>::value, int> = 0>
  Function Fetch(const Name& tensor) const {
    return Fetch(std::vector<std::string>{tensor});
  }

  /// Fixes inputs (by name) to `inputs`, and outputs to tensors made here. `outputs` may give
  /// caller's tensors (Tensor::BorrowMutable) for outputs of known shape.
  StatusOr<BoundCall> Bind(TensorMap inputs, TensorMap outputs = {}) const;

  /// Compiles now what a first call would compile. `shapes` by input name; inputs left out take
  /// their declared shape.
  Status Prepare(const std::map<std::string, Shape>& shapes = {}) const;
  /// The compiled plan for these input shapes, one step a line.
  StatusOr<std::string> PlanText(const std::map<std::string, Shape>& shapes = {}) const;

 private:
  std::shared_ptr<const api::FunctionImpl> impl_;
};

/// A variable of a loaded model. A handle that keeps the Model alive; thread-safe.
class SAVEDMODEL_EXPORT Variable {
 public:
  Variable() = default;
  static Variable FromError(const Status& status);
  Status status() const;
  /// TensorFlow's name, for example "dense/kernel".
  std::string name() const;
  DType dtype() const;
  /// Declared shape; the value's own shape where that is unknown.
  Shape shape() const;
  bool trainable() const;
  /// The value now. FAILED_PRECONDITION while uninitialised.
  StatusOr<Tensor> Read() const;
  /// The value now; an empty Tensor while there is none.
  Tensor value() const;
  /// Replaces the value. INVALID_ARGUMENT for another dtype or an incompatible shape.
  Status Assign(const Tensor& value) const;

 private:
  friend class api::ModelImpl;
  friend class Object;
  std::shared_ptr<const api::VariableState> state_;
};

/// A node of the restored object tree.
///
/// `root()["encoder"]["layer_0"]["kernel"]` walks children; lists and tuples take numbers, dicts
/// keys. A child that is not there gives an Object that carries NOT_FOUND.
class SAVEDMODEL_EXPORT Object {
 public:
  enum class Kind { kObject, kVariable, kFunction, kConstant, kAsset, kResource, kNone };

  Object() = default;
  static Object FromError(const Status& status);
  Status status() const;
  Kind kind() const;
  /// What TensorFlow calls it: "tf_module", "trackable_list_wrapper", a Keras class, ….
  std::string type_name() const;
  /// Path from the root, "." for the root.
  std::string path() const;

  Object operator[](const std::string& child) const;
  Object operator[](const char* child) const { return (*this)[std::string(child)]; }
  Object operator[](int index) const;
  /// Children by name, in the file's order.
  std::vector<std::pair<std::string, Object>> children() const;

  /// This node as a variable, or its child `name`.
  Variable variable() const;
  Variable variable(const std::string& name) const { return (*this)[name].variable(); }
  /// The variable that this node, an optimizer, keeps for `variable` as `name`: "m", "momentum".
  /// NOT_FOUND lists the names that there are.
  Variable slot(const Variable& variable, const std::string& name) const;
  /// This node as a function, or its child `name` ("__call__" too).
  Function function() const;
  Function function(const std::string& name) const { return (*this)[name].function(); }
  /// Value of a variable or constant, file path of an asset.
  StatusOr<Tensor> Read() const;

 private:
  friend class Model;
  friend class api::ModelImpl;
  std::shared_ptr<const api::ModelImpl> model_;
  Status error_;
  int node_ = -1;
  std::string path_;
};

/// TensorFlow 1's view of any model: feed and fetch tensors of its main graph by name.
///
/// Names are "node:k"; ":0" may be left out. State is shared with the Model. Thread-safe.
class SAVEDMODEL_EXPORT Session {
 public:
  Session() = default;
  static Session FromError(const Status& status);
  Status status() const;
  /// Runs what `fetches` and `targets` (operations) need. Any tensor may be fed.
  StatusOr<std::vector<Tensor>> Run(const TensorMap& feeds, const std::vector<std::string>& fetches,
                                    const std::vector<std::string>& targets = {},
                                    const RunOptions& options = {}) const;

 private:
  friend class Model;
  std::shared_ptr<const api::ModelImpl> model_;
  Status error_;
};

/// A layer or model of Keras in the object tree.
struct KerasLayer {
  std::string name;        // "dense_1"
  std::string class_name;  // "Dense"
  std::string path;        // of its object, for example "layer_with_weights-0"
};

/// What Model::ops finds for one op of a model.
struct OpUse {
  std::string op;
  int64_t count = 0;
  bool supported = false;
};

/// Something that keeps a function of a model from running.
struct Problem {
  std::string function;  // signature key, or path of a function object
  std::string node;      // empty where it is no single node
  std::string op;
  Status status;
};

/// The hashes in fingerprint.pb, which tell versions of a model apart. They are not checked.
struct Fingerprint {
  uint64_t saved_model_checksum = 0;
  uint64_t graph_def_program_hash = 0;
  uint64_t signature_def_hash = 0;
  uint64_t saved_object_graph_hash = 0;
  uint64_t checkpoint_hash = 0;
  std::string uuid;
};

/// A loaded model. A handle: cheap to copy; functions, objects and variables got from it keep it
/// alive. All methods are thread-safe.
class SAVEDMODEL_EXPORT Model {
 public:
  Model() = default;
  explicit Model(std::shared_ptr<const api::ModelImpl> impl) : impl_(std::move(impl)) {}
  static Model FromError(const Status& status);
  const Status& status() const;

  /// The signature `key`. NOT_FOUND lists the signatures that exist.
  Function Signature(const std::string& key) const;
  std::vector<SignatureInfo> signatures() const;

  /// The object tree of a TensorFlow 2 model; for TensorFlow 1 a root with the variables by name.
  Object root() const;
  /// The object at a dotted path, for example "encoder.layers.0.kernel"; "." is the root.
  Object object(const std::string& path) const;
  /// The layers that Keras 2 tells of, in the file's order, nested ones and the model itself
  /// included. Empty for models that have no Keras metadata (Keras 3 writes none; its layers are
  /// found by their attribute names in the object tree). DATA_LOSS when it is damaged.
  StatusOr<std::vector<KerasLayer>> layers() const;
  /// The object of the layer `name`. NOT_FOUND lists the layers.
  Object layer(const std::string& name) const;
  /// The variable at a dotted path, or with TensorFlow's name ("dense/kernel").
  Variable variable(const std::string& path) const;
  /// The function at a dotted path, for example "encoder.__call__" or "predict", or the concrete
  /// function of the library with this name.
  Function function(const std::string& path) const;
  /// All variables: object path (TensorFlow 2) or name (TensorFlow 1), each once.
  std::vector<std::pair<std::string, Variable>> variables() const;

  /// TensorFlow 1's view.
  Session session() const;
  /// A function of the main graph from `feeds` to `fetches` (tensor names).
  Function Prune(const std::vector<std::string>& feeds,
                 const std::vector<std::string>& fetches) const;

  /// Looks at every signature and every function of the object tree, and all that they call, and
  /// compiles them, without running anything. Empty when each of them can run. A node is named
  /// once, with the first function that reaches it.
  std::vector<Problem> Check() const;

  /// A model with state of its own, equal to this one's now: variables, tables, queues, random
  /// generators. Graphs, constants and packed weights are shared. What was got from this model
  /// stays with this one. UNIMPLEMENTED when a custom resource cannot be copied.
  StatusOr<Model> Clone() const;

  std::vector<std::string> tags() const;
  /// Version of TensorFlow that wrote the model, as far as it says.
  std::string tensorflow_version() const;
  /// Where in the Python code nodes were made, as the model's debug information has it: "node" or
  /// "node@function" to lines "file:line in function", outermost call first. Empty where there is
  /// none; DATA_LOSS when it is damaged.
  StatusOr<std::map<std::string, std::vector<std::string>>> source_traces() const;
  /// What the model's fingerprint.pb says; nothing where there is none.
  std::optional<Fingerprint> fingerprint() const;
  /// Paths of the model's asset files, each once.
  std::vector<std::string> assets() const;
  /// Every op of the main graph and the function library, by name.
  std::vector<OpUse> ops() const;
  /// Names of the library's functions.
  std::vector<std::string> function_names() const;

 private:
  friend class Checkpoint;
  std::shared_ptr<const api::ModelImpl> impl_;
};

/// Loads the SavedModel in directory `path`: reads the graph, restores variables, runs
/// initialisers. Functions compile on first use.
/// NOT_FOUND for a missing directory or tag set, DATA_LOSS for damaged files, INVALID_ARGUMENT for
/// contradictory ones.
SAVEDMODEL_EXPORT StatusOr<Model> Load(const std::string& path, const LoadOptions& options = {});

/// Tag sets of the MetaGraphs in the SavedModel at `path`.
SAVEDMODEL_EXPORT StatusOr<std::vector<std::vector<std::string>>> ListTagSets(
    const std::string& path, std::shared_ptr<const FileSystem> file_system = nullptr);

/// A Model over a MetaGraphDef (binary or text), as tf.compat.v1.train.Saver writes it, with the
/// variables of the checkpoint with prefix (V2) or file pattern (V1) `checkpoint`; with an empty
/// one they stay uninitialised.
SAVEDMODEL_EXPORT StatusOr<Model> LoadMetaGraph(const std::string& path,
                                                const std::string& checkpoint,
                                                const LoadOptions& options = {});

/// What `tf.import_graph_def` is told.
struct ImportOptions {
  /// Put before the name of each node, with a slash between.
  std::string prefix;
  /// Values to take instead of tensors of the graph, by the names that the file gives them.
  TensorMap input_map;
};

/// A Model over a GraphDef (binary or text) in memory, without variables' values.
SAVEDMODEL_EXPORT StatusOr<Model> LoadGraphDef(const std::string& bytes,
                                               const LoadOptions& options = {},
                                               const ImportOptions& import = {});

}  // namespace savedmodel
