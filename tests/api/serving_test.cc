// Examples, and the classify, regress and predict calls on them.
#include "savedmodel/serving.h"

#include <gtest/gtest.h>

namespace savedmodel {
namespace {

std::string Hex(const std::string& bytes) {
  static const char* const digits = "0123456789abcdef";
  std::string out;
  for (const unsigned char c : bytes) {
    out.push_back(digits[c >> 4]);
    out.push_back(digits[c & 15]);
  }
  return out;
}

// The bytes are those of SerializeToString(deterministic=True) in TensorFlow 2.21.
TEST(ExampleTest, SameBytesAsTensorFlow) {
  Example example;
  example.Set("a", Feature::Ints{1, -2, 300})
      .Set("b", Feature::Floats{0.5f, -1.25f})
      .Set("c", Feature::Strings{"x", "", "yz"})
      .Set("d", Feature());
  EXPECT_EQ(Hex(example.Serialize()),
            "0a440a160a016112111a0f0a0d01feffffffffffffffff01ac020a110a0162120c120a0a080000003f0000"
            "a0bf0a100a0163120b0a090a01780a000a02797a0a050a01641200");
}

TEST(ExampleTest, SequenceHasTheSameBytesAsTensorFlow) {
  SequenceExample example;
  example.SetContext("a", Feature::Ints{1, -2, 300})
      .SetContext("b", Feature::Floats{0.5f, -1.25f})
      .SetContext("c", Feature::Strings{"x", "", "yz"})
      .SetContext("d", Feature())
      .Append("t", 7)
      .Append("t", Feature::Strings{});
  EXPECT_EQ(Hex(example.Serialize()),
            "0a440a160a016112111a0f0a0d01feffffffffffffffff01ac020a110a0162120c120a0a080000003f0000"
            "a0bf0a100a0163120b0a090a01780a000a02797a0a050a0164120012120a100a0174120b0a051a030a0107"
            "0a020a00");
}

std::vector<Example> IrisLike() {
  std::vector<Example> rows(2);
  rows[0].Set("x", Feature::Floats{1, 2, 3}).Set("k", "b");
  rows[1].Set("x", Feature::Floats{0, -1, 0.5f}).Set("k", "zz");
  return rows;
}

// Expected values: recorded from TensorFlow's session in the model's own data folder.
TEST(Serving, ClassifyGivesLabelsAndScores) {
  const Model model = *Load("data/models/est_dnn_classifier/model");
  for (const char* signature : {"", "classification"}) {
    const auto classes = Classify(model, IrisLike(), signature);
    ASSERT_TRUE(classes.ok()) << classes.status();
    ASSERT_EQ(classes->size(), 2u);
    const float scores[2][3] = {{0.3330647051f, 0.3338883221f, 0.3330469728f},
                                {0.3290151060f, 0.3408415914f, 0.3301432431f}};
    const char* const labels[3] = {"low", "mid", "high"};
    for (int row = 0; row < 2; ++row) {
      ASSERT_EQ((*classes)[row].size(), 3u);
      for (int c = 0; c < 3; ++c) {
        EXPECT_EQ((*classes)[row][c].label, labels[c]);
        EXPECT_NEAR((*classes)[row][c].score, scores[row][c], 1e-5);
      }
    }
  }
}

TEST(Serving, ClassifyTakesLabelsOrScoresAlone) {
  const Model model = *Load("data/models/tf1_classify_regress/model");
  std::vector<Example> rows(2);
  rows[0].Set("x", Feature::Floats{1, 2, 3}).Set("bias", 1.0f);
  rows[1].Set("x", Feature::Floats{-1, 0.5f, 0});
  const auto labels = Classify(model, rows, "classes_only");
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_EQ((*labels)[0][0].label, "cat");
  EXPECT_EQ((*labels)[1][0].label, "bee");
  const auto scores = Classify(model, rows, "scores_only");
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_NEAR((*scores)[0][2].score, 0.9695450068f, 1e-5);
  EXPECT_EQ((*scores)[0][2].label, "");
  const auto values = Regress(model, rows);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_NEAR((*values)[0], -0.3430459499f, 1e-5);
  EXPECT_NEAR((*values)[1], -0.2545624971f, 1e-5);
}

TEST(Serving, RegressGivesOneValueForEachExample) {
  const Model model = *Load("data/models/est_linear_regressor/model");
  std::vector<Example> rows(2);
  rows[0].Set("age", 12.0f).Set("p", "m").Set("q", "t");
  rows[1].Set("age", 33.0f).Set("p", "x").Set("q", Feature::Strings{"s", "r"});
  const auto values = Regress(model, rows);
  ASSERT_TRUE(values.ok()) << values.status();
  ASSERT_EQ(values->size(), 2u);
  EXPECT_NEAR((*values)[0], 3.8914546967f, 1e-4);
  EXPECT_NEAR((*values)[1], 9.2366342545f, 1e-4);
}

TEST(Serving, WrongMethodAndMissingFeatureSaySo) {
  const Model model = *Load("data/models/est_dnn_classifier/model");
  const Status method = Classify(model, IrisLike(), "predict").status();
  EXPECT_EQ(method.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(method.message().find("tensorflow/serving/classify"), std::string::npos) << method;
  EXPECT_EQ(Regress(model, IrisLike()).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Classify(model, IrisLike(), "absent").status().code(), StatusCode::kNotFound);
  const Status feature = Classify(model, {Example().Set("k", "b")}).status();
  EXPECT_EQ(feature.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(feature.message().find("x"), std::string::npos) << feature;
}

TEST(Serving, NoExamplesGiveNoRows) {
  const auto classes = Classify(*Load("data/models/est_dnn_classifier/model"), {});
  ASSERT_TRUE(classes.ok()) << classes.status();
  EXPECT_TRUE(classes->empty());
}

}  // namespace
}  // namespace savedmodel
