// Model::Check: what cannot run is found without running it.
#include <gtest/gtest.h>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

TEST(Check, NothingToSayAboutWhatRuns) {
  for (const char* name : {"tf2_child_methods", "keras2_sequential_dense", "tf1_guide_add",
                           "tf2_while", "tf2_polymorphic"}) {
    const Model model = *Load(std::string("data/models/") + name + "/model");
    for (const Problem& p : model.Check()) {
      ADD_FAILURE() << name << ": " << p.function << " " << p.node << " " << p.status;
    }
  }
}

// y = Wobble(x), an op that no library has.
constexpr char kUnknownOp[] = R"(
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "y" op: "Wobble" input: "x" attr { key: "T" value { type: DT_FLOAT } } })";

TEST(Check, GraphWithoutFunctionsHasNothingToCheck) {
  const auto model = LoadGraphDef(kUnknownOp);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE(model->Check().empty());
}

TEST(Check, EmptyModelSaysSo) {
  const std::vector<Problem> problems = Model().Check();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].status.code(), StatusCode::kFailedPrecondition);
}

// A SavedModel (text form) whose signature needs the unknown op.
class MissingOp : public testing::Test {
 protected:
  static StatusOr<Model> LoadIt() {
    LoadOptions options;
    options.file_system = MemoryFileSystem(
        {{"m/saved_model.pbtxt", std::string("saved_model_schema_version: 1 meta_graphs { "
                                             "meta_info_def { tags: \"serve\" } graph_def {") +
                                     kUnknownOp + R"(}
      signature_def { key: "serving_default" value {
        inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT } }
        outputs { key: "y" value { name: "y:0" dtype: DT_FLOAT } } } } })"}});
    return Load("m", options);
  }
};

TEST_F(MissingOp, IsNamedWithItsNode) {
  const auto model = LoadIt();
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<Problem> problems = model->Check();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].function, "serving_default");
  EXPECT_EQ(problems[0].node, "y");
  EXPECT_EQ(problems[0].op, "Wobble");
  EXPECT_NE(problems[0].status.message().find("Wobble"), std::string::npos) << problems[0].status;
}

}  // namespace
}  // namespace savedmodel
