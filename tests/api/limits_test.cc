// Graphs that lie about their control flow, or that would grow or run without end.
#include <gtest/gtest.h>

#include <chrono>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

std::string Node(const std::string& name, const std::string& op,
                 const std::vector<std::string>& inputs, const std::string& attrs = "") {
  std::string text = "node { name: '" + name + "' op: '" + op + "' ";
  for (const std::string& input : inputs) text += "input: '" + input + "' ";
  return text + attrs + " }\n";
}

std::string Attr(const std::string& name, const std::string& value) {
  return "attr { key: '" + name + "' value { " + value + " } } ";
}

const std::string kFloat = Attr("T", "type: DT_FLOAT");

std::string Const(const std::string& name, const std::string& dtype, const std::string& value) {
  return Node(name, "Const", {},
              Attr("dtype", "type: " + dtype) +
                  Attr("value", "tensor { dtype: " + dtype + " tensor_shape {} " + value + " }"));
}
const std::string kOne = Const("c", "DT_FLOAT", "float_val: 1");
const std::string kTrue = Const("p", "DT_BOOL", "bool_val: true");

std::string Enter(const std::string& name, const std::string& input, const std::string& frame) {
  return Node(name, "Enter", {input}, kFloat + Attr("frame_name", "s: '" + frame + "'"));
}

StatusOr<Tensor> Fetch(const std::string& graph, const std::string& tensor,
                       std::chrono::milliseconds timeout = std::chrono::seconds(20),
                       int64_t memory_limit = 0) {
  const auto model = LoadGraphDef(graph, LoadOptions());
  if (!model.ok()) return model.status();
  RunOptions options;
  options.timeout = timeout;
  options.memory_limit = memory_limit;
  auto values = model->session().Run({}, {tensor}, {}, options);
  if (!values.ok()) return values.status();
  return values->front();
}

TEST(Frames, PartsOutsideOfALoopAreRefused) {
  EXPECT_EQ(Fetch(kOne + Node("op", "Exit", {"c"}, kFloat), "op:0").status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(Fetch(kOne + Node("op", "NextIteration", {"c"}, kFloat), "op:0").status().code(),
            StatusCode::kInvalidArgument);
}

TEST(Frames, ValuesOfTwoLoopsDoNotMeet) {
  const std::string graph = kOne + Enter("a", "c", "one") + Enter("b", "c", "two") +
                            Node("sum", "AddV2", {"a", "b"}, kFloat) +
                            Node("op", "Exit", {"sum"}, kFloat);
  const Status status = Fetch(graph, "op:0").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("sum"), std::string::npos) << status;
}

TEST(Frames, ResultsLieOutsideOfLoops) {
  const std::string graph = kOne + Enter("a", "c", "one") + Node("neg", "Neg", {"a"}, kFloat);
  EXPECT_EQ(Fetch(graph, "neg:0").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(*Fetch(graph, "a:0")->data<float>(), 1);  // what comes in is known outside
}

TEST(Frames, TooDeepNestingIsRefused) {
  std::string graph = kOne, last = "c";
  for (int i = 0; i < 300; ++i) {
    const std::string name = "e" + std::to_string(i);
    graph += Enter(name, last, "frame");
    last = name;
  }
  graph += Node("op", "Exit", {last}, kFloat);
  EXPECT_EQ(Fetch(graph, "op:0").status().code(), StatusCode::kResourceExhausted);
}

TEST(Nodes, ThatCannotBeUsedAreReportedBeforeAnythingUsesThem) {
  const std::string short_const =
      Node("axes", "Const", {},
           Attr("dtype", "type: DT_INT32") +
               Attr("value",
                    "tensor { dtype: DT_INT32 tensor_shape { dim { size: 2 } } "
                    "tensor_content: '1234' }"));
  const std::string sum = Node("sum", "Sum", {"c", "axes"}, kFloat);
  const Status status = Fetch(kOne + short_const + sum, "sum:0").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("axes (Const)"), std::string::npos) << status;
  const std::string read = Node("read", "ReadVariableOp", {}, Attr("dtype", "type: DT_FLOAT"));
  EXPECT_EQ(Fetch(read, "read:0").status().code(), StatusCode::kInvalidArgument);
}

TEST(Switch, DeadSideHasNoValue) {
  const std::string graph = kOne + kTrue + Node("s", "Switch", {"c", "p"}, kFloat);
  EXPECT_EQ(*Fetch(graph, "s:1")->data<float>(), 1);
  EXPECT_EQ(Fetch(graph, "s:0").status().code(), StatusCode::kInvalidArgument);
}

TEST(Switch, EitherSideIsTaken) {
  for (const bool taken : {false, true}) {
    const std::string graph =
        kOne + Const("p", "DT_BOOL", taken ? "bool_val: true" : "bool_val: false") +
        Node("s", "Switch", {"c", "p"}, kFloat) + Node("n", "Neg", {"s:1"}, kFloat) +
        Node("m", "Merge", {"s:0", "n"}, kFloat + Attr("N", "i: 2"));
    EXPECT_EQ(*Fetch(graph, "m:0")->data<float>(), taken ? -1 : 1);
    EXPECT_EQ(*Fetch(graph, "m:1")->data<int32_t>(), taken ? 1 : 0);
  }
}

TEST(Switch, DeadSideBesideSeveralLiveOnes) {
  const std::string graph = kOne + kTrue + Node("s", "Switch", {"c", "p"}, kFloat) +
                            Node("dead", "Neg", {"s:0"}, kFloat) +
                            Node("m", "Merge", {"dead", "s:1", "s:1"}, kFloat + Attr("N", "i: 3"));
  EXPECT_EQ(*Fetch(graph, "m:0")->data<float>(), 1);
}

std::string Function(const std::string& name, const std::string& nodes, const std::string& result,
                     const std::string& input_type = "DT_FLOAT",
                     const std::string& output_type = "DT_FLOAT") {
  return "function { signature { name: '" + name + "' input_arg { name: 'x' type: " + input_type +
         " } output_arg { name: 'y' type: " + output_type + " } } " + nodes +
         " ret { key: 'y' value: '" + result + "' } }\n";
}

// `levels` functions, each of which calls the next twice through `call`.
std::string Tree(int levels,
                 const std::function<std::string(const std::string& name, const std::string& input,
                                                 const std::string& f)>& call) {
  std::string library;
  for (int i = 0; i < levels; ++i) {
    std::string nodes = call("a", "x", "f" + std::to_string(i + 1)) +
                        call("b", "a:output:0", "f" + std::to_string(i + 1));
    for (size_t at = 0; (at = nodes.find("node {", at)) != std::string::npos; at += 9) {
      nodes.replace(at, 6, "node_def {");
    }
    library += Function("f" + std::to_string(i), nodes, "b:output:0");
  }
  library += Function("f" + std::to_string(levels), "", "x");
  return kOne + kTrue + call("op", "c", "f0") + "library { " + library + " }";
}

TEST(Functions, CallTreesAreCountedBeforeTheyAreExpanded) {
  const auto call = [](const std::string& name, const std::string& input, const std::string& f) {
    return Node(name, "PartitionedCall", {input},
                Attr("f", "func { name: '" + f + "' }") + Attr("Tin", "list { type: DT_FLOAT }") +
                    Attr("Tout", "list { type: DT_FLOAT }"));
  };
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(Fetch(Tree(40, call), "op:0").status().code(), StatusCode::kResourceExhausted);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_EQ(*Fetch(Tree(8, call), "op:0")->data<float>(), 1);
}

TEST(Strings, CountAgainstTheMemoryLimit) {
  std::string graph = Const("s0", "DT_STRING", "string_val: 'text'");
  for (int i = 0; i < 20; ++i) {
    const std::string from = "s" + std::to_string(i);
    graph += Node("s" + std::to_string(i + 1), "StringJoin", {from, from}, Attr("N", "i: 2"));
  }
  const auto all = Fetch(graph, "s20:0", std::chrono::seconds(20), int64_t{8} << 20);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->data<std::string>()->size(), size_t{4} << 20);
  graph += Node("more", "StringJoin", {"s20", "s20", "p"}, Attr("N", "i: 3")) +
           Node("p", "Placeholder", {}, Attr("dtype", "type: DT_STRING"));
  const auto model = LoadGraphDef(graph, LoadOptions());
  RunOptions options;
  options.memory_limit = 1 << 20;
  EXPECT_EQ(model->session()
                .Run({{"p", Tensor::Scalar<std::string>("")}}, {"more:0"}, {}, options)
                .status()
                .code(),
            StatusCode::kResourceExhausted);
}

TEST(Loops, UnchangedVariablesDoNotEndALoop) {
  const std::string library =
      "library { " +
      Function("yes",
               "node_def { name: 't' op: 'Const' " + Attr("dtype", "type: DT_BOOL") +
                   Attr("value", "tensor { dtype: DT_BOOL bool_val: true }") + " }",
               "t:output:0", "DT_FLOAT", "DT_BOOL") +
      Function("same", "", "x") + " }";
  const std::string loop =
      Node("op", "While", {"c"},
           Attr("T", "list { type: DT_FLOAT }") + Attr("cond", "func { name: 'yes' }") +
               Attr("body", "func { name: 'same' }"));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(Fetch(kOne + loop + library, "op:0", std::chrono::milliseconds(200)).status().code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(600));
}

}  // namespace
}  // namespace savedmodel
