// From an imported graph to one that is quick to run: ordered passes, each of which leaves a graph
// with the same results.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "savedmodel/resource.h"
#include "src/graph/graph.h"
#include "src/graph/node_context.h"

namespace savedmodel {

// The model's functions, and those that passes make on the way. The base must outlive it.
// Thread-safe.
class OverlayLibrary final : public FunctionLibrary {
 public:
  explicit OverlayLibrary(const FunctionLibrary* base) : base_(base) {}
  // Over functions that passes have made before: no name is given twice.
  explicit OverlayLibrary(const OverlayLibrary* base) : base_(base), next_(base->next_) {}
  bool Has(const std::string& name) const override;
  StatusOr<std::shared_ptr<const GraphFunction>> Get(const FuncAttr& f) const override;
  std::vector<std::string> Names() const override;
  // Adds `function` under a new name that starts with `function.name`, and returns that name.
  std::string Add(GraphFunction function);
  // Whether it was added here.
  bool HasAdded(const std::string& name) const;
  // True when so much was added that passes should add only what they must: copies of functions
  // that call each other can double at each level.
  bool IsLarge() const;

 private:
  const FunctionLibrary* base_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const GraphFunction>> added_;
  int64_t num_nodes_ = 0;  // in added_
  std::shared_ptr<std::atomic<int64_t>> next_ = std::make_shared<std::atomic<int64_t>>(0);
};

// A variable whose value was put into a graph as a constant, and its version then.
struct FrozenVariable {
  std::shared_ptr<VariableResource> variable;
  uint64_t version = 0;
};

struct OptimizeContext {
  CompileEnv env;
  OverlayLibrary* library = nullptr;  // env.functions, writable
  // Variables that change too often to be worth freezing.
  std::function<bool(const VariableResource&)> keep_variable;
  // Filled with what was frozen.
  std::vector<FrozenVariable> frozen;

  // Passes over a large graph end with the run that they are for.
  Status CheckInterrupt() const {
    return env.run == nullptr ? Status() : env.run->CheckInterrupt();
  }
};

// The passes that do not depend on the shapes of arguments.
Status Optimize(OptimizeContext* context, Graph* graph);

// Infers all shapes from those of the arguments (which replace the arguments' own), folds what they
// make constant, and fuses. The result is ready for Plan::Make.
Status Specialize(OptimizeContext* context, Span<const Shape> arg_shapes, Graph* graph);

// Element `i` of a tensor of int32 or int64: of the constants that say axes, sizes and
// permutations.
inline int64_t IntegerAt(const Tensor& t, int64_t i) {
  return t.dtype() == DType::kInt32 ? t.data<int32_t>()[i] : t.data<int64_t>()[i];
}
// Whether constant `axes` is there and names `axis` alone, from either end of `rank` dimensions.
inline bool IsAxis(const Tensor* axes, int64_t axis, int64_t rank) {
  if (axes == nullptr || axes->num_elements() != 1) return false;
  const int64_t named = IntegerAt(*axes, 0);
  return named == axis || named == axis - rank;
}

// ------------------------------------------------------------------------------------- passes

// Puts the bodies of called functions in place of PartitionedCall and StatefulPartitionedCall.
// INVALID_ARGUMENT for calls that do not fit their function, and for functions that call
// themselves; RESOURCE_EXHAUSTED when that makes too many nodes.
Status InlineCalls(OptimizeContext* context, Graph* graph);

// Puts an internal `_Loop` in place of each frame of Enter, Merge, Switch, NextIteration and Exit.
// UNIMPLEMENTED, naming a node, for frames that no while loop makes.
Status RaiseLoops(OptimizeContext* context, Graph* graph);

// Puts an If in place of the Switches and Merges of each conditional of the form that tf.cond
// gives. After RaiseLoops.
Status RaiseConditionals(OptimizeContext* context, Graph* graph);

// Replaces ops that look up a named resource by the handle they find.
Status ResolveHandles(OptimizeContext* context, Graph* graph);

// Replaces reads of variables that the graph does not write by their values.
Status FreezeVariables(OptimizeContext* context, Graph* graph);

// Infers shapes in topological order and replaces nodes by constants where inputs or shapes say the
// result; drops identities.
Status InferAndFold(OptimizeContext* context, Graph* graph);

// Replaces If and Case with a known condition by a call, and Switch and Merge by what is taken.
// Sets `changed` when it did.
Status ResolveBranches(OptimizeContext* context, Graph* graph, bool* changed);

// Gives loops and branches their constant arguments as constants of their bodies, and drops
// arguments and results that nothing needs.
Status ShortenCalls(OptimizeContext* context, Graph* graph);

// Drops control edges that order nothing.
Status PruneControl(OptimizeContext* context, Graph* graph);

// Computes equal pure nodes once.
Status MergeCommon(OptimizeContext* context, Graph* graph);

// Puts one convolution with dilations in place of one between SpaceToBatchND and BatchToSpaceND,
// where sizes are known. Before FoldPads.
void JoinDilatedConvolutions(Graph* graph);

// Makes zeros that an op puts around an image the padding of the convolution or the pooling behind
// it.
void FoldPads(const OptimizeContext& context, Graph* graph);

// Pushes changes of layout, channels first or last, behind ops that can do with either, so that
// they meet and cancel. Before FoldPads, which finds more behind it.
Status PushTransposes(OptimizeContext* context, Graph* graph);

// Makes convolutions with as many groups as channels depthwise ones. Before passes over those.
void NameDepthwise(const OptimizeContext& context, Graph* graph);

// Folds batch normalisation with known statistics into the convolution before it.
Status FoldBatchNorms(OptimizeContext* context, Graph* graph);

// Makes the TensorArrays of TensorFlow 1's loops lists. Before passes over loops.
Status ListTensorArrays(OptimizeContext* context, Graph* graph);

// Computes products of a loop's body that do not depend on earlier turns, rows of an input list
// times a constant, for all turns in one product before the loop.
Status HoistProjections(OptimizeContext* context, Graph* graph);

// Picks products of embeddings with constant weights, which are kept, in place of the embeddings.
Status KeepGatheredProducts(OptimizeContext* context, Graph* graph);

// Has those find the largest output of a line, where a Max over lines is behind them. After
// FuseEpilogues.
void TakeLargestOfLines(Graph* graph);

// Puts one op in place of GELU and other functions of one value, and of layer normalisation.
Status RecognizeLayers(OptimizeContext* context, Graph* graph);

// Puts one op in place of the cell of a recurrent layer.
Status RecognizeCells(OptimizeContext* context, Graph* graph);

// Sums rows of tables that are picked by index without writing the rows.
Status JoinEmbeddings(OptimizeContext* context, Graph* graph);

// Puts one op in place of loops over cells of recurrent layers.
Status RecognizeRecurrences(OptimizeContext* context, Graph* graph);

// Puts one op in place of the products, masks and softmax of attention.
Status RecognizeAttention(OptimizeContext* context, Graph* graph);

// Puts scalar ops behind the one producer they have into its epilogue.
Status FuseEpilogues(OptimizeContext* context, Graph* graph);

// Puts one op in place of scalar functions of one shape of which each is used by the next alone,
// and of the sum or mean of rows behind them. After all passes that look for such functions.
Status FuseElementwise(OptimizeContext* context, Graph* graph);

// Puts one op in place of a widening, a depthwise and a narrowing convolution whose wide values do
// not fit into the cache. After FuseEpilogues.
Status FuseDepthwiseBlocks(OptimizeContext* context, Graph* graph);

// Runs ops between which a batch has values that leave the caches some examples at a time, as one
// op that calls a function. The last pass.
Status SliceBatches(OptimizeContext* context, Graph* graph);

// ------------------------------------------------------------------------------------- helpers

// Replaces outputs all over a graph.
class Redirects {
 public:
  // For maps by output.
  static int64_t Key(NodeOutput v) { return (int64_t{v.node} << 32) | uint32_t(v.index); }

  void Set(NodeOutput from, NodeOutput to) { map_[Key(from)] = to; }
  // Control edges from `from` become control edges from `to`; -1 drops them.
  void SetControl(NodeId from, NodeId to) { control_[from] = to; }
  NodeOutput Resolve(NodeOutput v) const;
  NodeId ResolveControl(NodeId id) const;
  bool empty() const { return map_.empty() && control_.empty(); }
  void Apply(Graph* graph) const;

 private:
  std::unordered_map<int64_t, NodeOutput> map_;
  std::unordered_map<NodeId, NodeId> control_;
};

// For each node, how often it or its outputs are used: as inputs, control inputs, results, targets.
std::vector<int> CountUses(const Graph& graph);

// Whether a node takes `v`, or it is a result.
bool IsUsed(const Graph& graph, NodeOutput v);

// Whether the node is a scalar function of floats (of two with broadcasting) and waits for nothing.
bool IsScalarFunction(const Node& node);

// The dimensions p that `node` takes when it is a Transpose by a constant of inputs of known rank
// (output dimension i is input dimension p[i]); none otherwise.
std::vector<int> PermutationOf(const Graph& graph, const Node& node);

// A node to wait for in order to wait for `v`: its producer, or an Identity put behind it.
NodeId ControlOf(const OptimizeContext& context, Graph* graph, NodeOutput v);

// Makes node `id` an Identity of `input`.
void MakeIdentity(const OptimizeContext& context, Graph* graph, NodeId id, NodeOutput input);

// Turns output 0 of node `id` into the constant `value`, keeping name, type and control inputs.
void MakeConst(Graph* graph, NodeId id, Tensor value);

}  // namespace savedmodel
