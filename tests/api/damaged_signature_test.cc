// Signatures that do not fit the functions they describe do no harm.
#include <gtest/gtest.h>

#include <string>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

// A model whose root has function `f`: y = -x, described with the given number of outputs.
StatusOr<Model> LoadWithOutputs(int described) {
  std::string outputs;
  for (int i = 0; i < described; ++i) {
    outputs += "values { tensor_spec_value { name: 'y" + std::to_string(i) +
               "' shape { dim { size: 2 } } dtype: DT_FLOAT } }";
  }
  const std::string text = R"(
    saved_model_schema_version: 1
    meta_graphs {
      meta_info_def { tags: "serve" }
      graph_def {
        library { function {
          signature { name: "f" input_arg { name: "x" type: DT_FLOAT }
                      output_arg { name: "y" type: DT_FLOAT } }
          node_def { name: "n" op: "Neg" input: "x" attr { key: "T" value { type: DT_FLOAT } } }
          ret { key: "y" value: "n:y:0" } } } }
      object_graph_def {
        nodes { children { node_id: 1 local_name: "f" } user_object { identifier: "_generic_user_object" } }
        nodes { bare_concrete_function { concrete_function_name: "f" argument_keywords: "x"
                                         allowed_positional_arguments: 1 } }
        concrete_functions { key: "f" value {
          canonicalized_input_signature { tuple_value {
            values { tuple_value { values { tensor_spec_value {
              name: "x" shape { dim { size: 2 } } dtype: DT_FLOAT } } } }
            values { dict_value {} } } }
          output_signature { tuple_value { )" +
                           outputs + R"( } } } } } })";
  LoadOptions options;
  options.file_system = MemoryFileSystem({{"m/saved_model.pbtxt", text}});
  return Load("m", options);
}

const Tensor kX = *Tensor::FromVector<float>({1, -2}, {2});

TEST(DamagedSignature, TheSoundOneRuns) {
  const auto model = LoadWithOutputs(1);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto y = model->function("f")({{"x", kX}});
  ASSERT_TRUE(y.ok()) << y.status();
  ASSERT_EQ(y->size(), 1u);
  EXPECT_EQ(y->begin()->second.ToVector<float>(), (std::vector<float>{-1, 2}));
}

// The graph says how many results there are, whatever the signature describes.
TEST(DamagedSignature, OtherNumbersOfOutputs) {
  for (const int described : {0, 2, 3}) {
    const auto model = LoadWithOutputs(described);
    ASSERT_TRUE(model.ok()) << model.status();
    const Function f = model->function("f");
    const auto y = f({{"x", kX}});
    ASSERT_TRUE(y.ok()) << y.status();
    EXPECT_EQ(y->size(), 1u) << described;
    auto call = f.Bind({{"x", kX}});
    ASSERT_TRUE(call.ok()) << call.status();
    EXPECT_TRUE(call->Run().ok());
  }
}

}  // namespace
}  // namespace savedmodel
