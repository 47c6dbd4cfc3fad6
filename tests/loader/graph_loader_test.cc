#include "src/loader/graph_loader.h"

#include <gtest/gtest.h>

#include <thread>

#include "src/loader/function_library.h"

namespace savedmodel {
namespace {

Status NoShape(ShapeContext&) { return Status(); }
StatusOr<KernelPtr> NoKernel(BuildContext&) {
  return Status(StatusCode::kUnimplemented, "not run here");
}

// Rows of a few ops, so that these tests do not depend on the library's own.
constexpr OpDef kRows[] = {
    {"AddN(inputs: N * T) -> (sum: T); N: int >= 1; T: type", Effects::kPure, NoShape, NoKernel},
    {"AssignVariable(value: float) -> ()", Effects::kWritesState, NoShape, NoKernel},
    {"Const() -> (output: dtype); value: tensor; dtype: type", Effects::kPure, NoShape, NoKernel},
    {"Identity(input: T) -> (output: T); T: type", Effects::kPure, NoShape, NoKernel},
    {"Merge(inputs: N * T) -> (output: T, value_index: int32); T: type; N: int >= 1",
     Effects::kPure, NoShape, NoKernel},
    {"NextIteration(data: T) -> (output: T); T: type", Effects::kPure, NoShape, NoKernel},
    {"NoOp() -> ()", Effects::kPure, NoShape, NoKernel},
    {"PartitionedCall(args: Tin) -> (output: Tout); Tin: list(type); Tout: list(type); f: func",
     Effects::kPure, NoShape, NoKernel},
    {"Placeholder() -> (output: dtype); dtype: type; shape: shape = ?", Effects::kPure, NoShape,
     NoKernel},
    {"Split(value: T) -> (output: num_split * T); num_split: int >= 1; T: type", Effects::kPure,
     NoShape, NoKernel},
    {"VariableV2() -> (ref: Ref(dtype)); shape: shape; dtype: type", Effects::kPure, NoShape,
     NoKernel},
    {"_ReadRef(ref: Ref(T)) -> (value: T); T: type", Effects::kReadsState, NoShape, NoKernel},
};
static_assert(RowsAreSound(kRows));

const OpRegistry& Registry() {
  static const Span<const OpDef> kFamilies[] = {kRows};
  static const OpRegistry* const registry = new OpRegistry(kFamilies);
  return *registry;
}

StatusOr<LoadedGraph> Load(const std::string& text) { return LoadGraphDef(text, Registry()); }

std::string NodeText(const std::string& name, const std::string& op, const std::string& rest = "") {
  return "node { name: '" + name + "' op: '" + op + "' " + rest + " }\n";
}
const std::string kFloatT = "attr { key: 'T' value { type: DT_FLOAT } }";
const std::string kFloatDType = "attr { key: 'dtype' value { type: DT_FLOAT } }";
std::string Input(const std::string& name) { return "input: '" + name + "' "; }

const Node& NodeOf(const LoadedGraph& graph, const std::string& name) {
  return graph.graph.node(graph.by_name.at(name));
}

TEST(GraphLoader, ReadsNodesEdgesAndAttributes) {
  const auto graph = Load(NodeText("x", "Placeholder", kFloatDType) +
                          NodeText("c", "Const",
                                   kFloatDType + "attr { key: 'value' value { tensor { "
                                                 "dtype: DT_FLOAT float_val: 2 } } }") +
                          NodeText("sum", "AddN",
                                   Input("x:0") + Input("c") + Input("^go") + kFloatT +
                                       "attr { key: 'N' value { i: 2 } }") +
                          NodeText("go", "NoOp"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  const Node& sum = NodeOf(*graph, "sum");
  EXPECT_TRUE(sum.error.ok()) << sum.error;
  EXPECT_EQ(sum.inputs, (std::vector<NodeOutput>{{0, 0}, {1, 0}}));
  EXPECT_EQ(sum.control_inputs, (std::vector<NodeId>{3}));
  EXPECT_EQ(sum.output_types, (std::vector<DType>{DType::kFloat}));
  EXPECT_EQ(graph->graph.constant({1, 0})->ToVector<float>(), (std::vector<float>{2}));
}

TEST(GraphLoader, KeepsWhatItCannotUseUntilItIsReached) {
  const auto graph =
      Load(NodeText("a", "NoSuchOp") + NodeText("b", "Identity", Input("a:3") + kFloatT) +
           NodeText("c", "Identity"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(NodeOf(*graph, "a").error.code(), StatusCode::kUnimplemented);
  EXPECT_TRUE(NodeOf(*graph, "b").error.ok());  // the error of `a` says more
  EXPECT_EQ(NodeOf(*graph, "c").error.code(), StatusCode::kInvalidArgument);
}

TEST(GraphLoader, RejectsGraphsThatContradictThemselves) {
  const auto code = [](const std::string& text) { return Load(text).status().code(); };
  const StatusCode bad = StatusCode::kInvalidArgument;
  EXPECT_EQ(code(NodeText("a", "NoOp") + NodeText("a", "NoOp")), bad);
  EXPECT_EQ(code(NodeText("", "NoOp")), bad);
  EXPECT_EQ(code(NodeText("a", "Identity", Input("b") + kFloatT)), bad);
  EXPECT_EQ(code(NodeText("a", "Identity", Input("a:-1") + kFloatT)), bad);
  EXPECT_EQ(code(NodeText("a", "Identity", Input("a:99999999999") + kFloatT)), bad);
  EXPECT_EQ(
      code(NodeText("a", "NoOp") + NodeText("b", "Identity", Input("^a") + Input("b") + kFloatT)),
      bad);
  EXPECT_EQ(code("versions { min_consumer: 1000000 }"), bad);
  EXPECT_EQ(code("node {"), bad);
  EXPECT_EQ(code(std::string("\x0a\xff\x01", 3)), StatusCode::kDataLoss);
}

TEST(GraphLoader, ChecksTypesAcrossLoops) {
  const auto graph =
      Load(NodeText("x", "Placeholder", kFloatDType) +
           NodeText("m", "Merge",
                    Input("x") + Input("n") + kFloatT + "attr { key: 'N' value { i: 2 } }") +
           NodeText("n", "NextIteration", Input("m") + kFloatT) +
           NodeText("wrong", "Identity", Input("m:1") + kFloatT));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_TRUE(NodeOf(*graph, "m").error.ok());
  EXPECT_TRUE(NodeOf(*graph, "n").error.ok());
  EXPECT_EQ(NodeOf(*graph, "wrong").error.code(), StatusCode::kInvalidArgument);
}

TEST(GraphLoader, ReadsReferencesWhereValuesAreTaken) {
  const auto graph =
      Load(NodeText("v", "VariableV2", kFloatDType + "attr { key: 'shape' value { shape { } } }") +
           NodeText("go", "NoOp") + NodeText("y", "Identity", Input("v") + Input("^go") + kFloatT));
  ASSERT_TRUE(graph.ok()) << graph.status();
  const Node& read = graph->graph.node(NodeOf(*graph, "y").inputs[0].node);
  EXPECT_EQ(read.op, "_ReadRef");
  EXPECT_EQ(read.inputs[0].node, graph->by_name.at("v"));
  EXPECT_EQ(read.control_inputs, (std::vector<NodeId>{graph->by_name.at("go")}));
}

TEST(GraphLoader, LimitsWhatAFewBytesCanDeclare) {
  std::string text = NodeText("x", "Placeholder", kFloatDType);
  for (int i = 0; i < 40; ++i) {
    text += NodeText("s" + std::to_string(i), "Split",
                     Input("x") + kFloatT + "attr { key: 'num_split' value { i: 1048576 } }");
  }
  EXPECT_EQ(Load(text).status().code(), StatusCode::kResourceExhausted);
}

// A function `pair(x: T) -> (first: T, parts: 2 * T)` of type parameter T.
const std::string kPair = R"(
library { function {
  signature { name: 'pair'
    input_arg { name: 'x' type_attr: 'T' }
    output_arg { name: 'first' type_attr: 'T' }
    output_arg { name: 'rest' type_attr: 'T' }
    attr { name: 'T' type: 'type' } }
  node_def { name: 'split' op: 'Split' input: 'x'
    attr { key: 'num_split' value { i: 2 } } attr { key: 'T' value { placeholder: 'T' } } }
  node_def { name: 'sum' op: 'AddN' input: 'split:output'
    attr { key: 'N' value { i: 2 } } attr { key: 'T' value { placeholder: 'T' } } }
  node_def { name: 'store' op: 'AssignVariable' input: 'sum:sum:0' }
  ret { key: 'first' value: 'split:output:0' }
  ret { key: 'rest' value: 'sum:sum' }
} })";

FuncAttr Pair(DType type) {
  auto attrs = std::make_shared<Attrs>();
  attrs->Set("T", type);
  return {"pair", attrs};
}

TEST(FunctionLibrary, ConvertsBodiesForTheirTypeParameters) {
  const auto graph = Load(kPair);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto function = graph->functions->Get(Pair(DType::kFloat));
  ASSERT_TRUE(function.ok()) << function.status();
  const Graph& body = (*function)->graph;
  EXPECT_EQ((*function)->inputs[0].dtype, DType::kFloat);
  EXPECT_EQ((*function)->outputs[1].name, "rest");
  ASSERT_EQ(body.num_nodes(), 4);
  EXPECT_EQ(body.node(2).inputs, (std::vector<NodeOutput>{{1, 0}, {1, 1}}));
  EXPECT_EQ(body.results, (std::vector<NodeOutput>{{1, 0}, {2, 0}}));
  // Without control outputs, every op that changes something runs.
  EXPECT_EQ(body.targets, (std::vector<NodeId>{3}));
  for (const Node& node : body.nodes()) EXPECT_TRUE(node.error.ok()) << node.error;

  const auto ints = graph->functions->Get(Pair(DType::kInt32));
  ASSERT_TRUE(ints.ok()) << ints.status();
  EXPECT_EQ((*ints)->graph.node(3).error.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(graph->functions->Get({"pair", nullptr}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(graph->functions->Get({"other", nullptr}).status().code(), StatusCode::kNotFound);
}

TEST(FunctionLibrary, ConvertsEachInstanceOnceForAllThreads) {
  const auto graph = Load(kPair);
  std::vector<const GraphFunction*> found(8);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < found.size(); ++i) {
    threads.emplace_back([&, i] { found[i] = graph->functions->Get(Pair(DType::kFloat))->get(); });
  }
  for (std::thread& t : threads) t.join();
  for (const GraphFunction* f : found) EXPECT_EQ(f, found[0]);
}

TEST(FunctionLibrary, NodesNamedAfterFunctionsCallThem) {
  const auto graph = Load(NodeText("x", "Placeholder", kFloatDType) +
                          NodeText("call", "pair", Input("x") + kFloatT) +
                          NodeText("y", "Identity", Input("call:1") + kFloatT) + kPair);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const Node& call = NodeOf(*graph, "call");
  EXPECT_EQ(call.op, "PartitionedCall");
  EXPECT_EQ(call.attrs.Get<FuncAttr>("f").name, "pair");
  EXPECT_EQ(call.output_types, (std::vector<DType>{DType::kFloat, DType::kFloat}));
  EXPECT_TRUE(call.error.ok()) << call.error;
  EXPECT_TRUE(NodeOf(*graph, "y").error.ok());
}

TEST(FunctionLibrary, CallsAreCheckedAgainstSignatures) {
  const auto call = [](const std::string& function, const std::string& tin,
                       const std::string& tout) {
    const auto graph =
        Load(NodeText("x", "Placeholder", kFloatDType) +
             NodeText("call", "PartitionedCall",
                      Input("x") + "attr { key: 'f' value { func { name: '" + function +
                          "' } } } attr { key: 'Tin' value { list { type: " + tin +
                          " } } } attr { key: 'Tout' value { list { " + tout + " } } }") +
             R"(library { function { signature { name: 'f' input_arg { name: 'x' type: DT_FLOAT }
                                            output_arg { name: 'y' type: DT_FLOAT } }
                                ret { key: 'y' value: 'x' } } })");
    return NodeOf(*graph, "call").error.code();
  };
  EXPECT_EQ(call("f", "DT_FLOAT", "type: DT_FLOAT"), StatusCode::kOk);
  EXPECT_EQ(call("ghost", "DT_FLOAT", "type: DT_FLOAT"), StatusCode::kNotFound);
  EXPECT_EQ(call("f", "DT_INT32", "type: DT_FLOAT"), StatusCode::kInvalidArgument);
  EXPECT_EQ(call("f", "DT_FLOAT", ""), StatusCode::kInvalidArgument);
}

TEST(FunctionLibrary, SurvivesFunctionsThatCallThemselves) {
  const auto graph = Load(R"(library { function {
    signature { name: 'f' input_arg { name: 'x' type: DT_FLOAT }
                output_arg { name: 'y' type: DT_FLOAT } }
    node_def { name: 'again' op: 'f' input: 'x' }
    ret { key: 'y' value: 'again:y:0' } } })");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto f = graph->functions->Get({"f", nullptr});
  ASSERT_TRUE(f.ok()) << f.status();
  EXPECT_EQ((*f)->graph.node(1).op, "PartitionedCall");
}

TEST(FunctionLibrary, RejectsEdgesAndResultsThatAreNotThere) {
  const auto body = [](const std::string& input, const std::string& ret) {
    const auto graph = Load(
        "library { function { signature { name: 'f' "
        "input_arg { name: 'x' type: DT_FLOAT } "
        "output_arg { name: 'y' type: DT_FLOAT } } "
        "node_def { name: 'n' op: 'Identity' input: '" +
        input + "' " + kFloatT + " } ret { key: 'y' value: '" + ret + "' } } }");
    return graph->functions->Get({"f", nullptr}).status().code();
  };
  EXPECT_EQ(body("x", "n:output:0"), StatusCode::kOk);
  EXPECT_EQ(body("x", "n:output"), StatusCode::kOk);
  for (const char* bad : {"x:0", "z", "n:output:1", "n:other:0", "n:output:", "n:output:0x", ""}) {
    EXPECT_EQ(body(bad, "n:output:0"), StatusCode::kInvalidArgument) << bad;
    EXPECT_EQ(body("x", bad), StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace savedmodel
