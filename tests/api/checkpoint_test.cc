// OpenCheckpoint, and restoring into a loaded model. tools/make_checkpoint_fixture.py says what the
// files hold.
#include "savedmodel/checkpoint.h"

#include <gtest/gtest.h>

namespace savedmodel {
namespace {

const std::string kFiles = "data/checkpoints/";

std::vector<float> Floats(const Tensor& t) {
  return std::vector<float>(t.data<float>(), t.data<float>() + t.num_elements());
}

// w of the SavedModel, plus `offset`.
std::vector<float> W(float offset) {
  std::vector<float> w = {1, 2, 3, 4, 5, 6};
  for (float& v : w) v += offset;
  return w;
}

TEST(CheckpointTest, ListsAndReadsEntries) {
  const auto checkpoint = OpenCheckpoint(kFiles + "training/ckpt-1");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::vector<std::string> keys;
  for (const auto& e : checkpoint->entries()) keys.push_back(e.key);
  EXPECT_EQ(keys,
            (std::vector<std::string>{
                "_CHECKPOINTABLE_OBJECT_GRAPH", "model/b/.ATTRIBUTES/VARIABLE_VALUE",
                "model/w/.ATTRIBUTES/VARIABLE_VALUE", "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
                "step/.ATTRIBUTES/VARIABLE_VALUE"}));
  const std::string key = "model/w/.ATTRIBUTES/VARIABLE_VALUE";
  EXPECT_TRUE(checkpoint->Has(key));
  EXPECT_EQ(checkpoint->entries()[2].shape, Shape({3, 2}));
  EXPECT_EQ(Floats(*checkpoint->Read(key)), W(10));
  EXPECT_EQ(checkpoint->Read("absent").status().code(), StatusCode::kNotFound);
}

TEST(CheckpointTest, ObjectPathsLeadToKeys) {
  const auto checkpoint = OpenCheckpoint(kFiles + "training/ckpt-1");
  bool found = false;
  for (const auto& [path, key] : checkpoint->object_paths()) {
    found = found || (path == "model.w" && key == "model/w/.ATTRIBUTES/VARIABLE_VALUE");
  }
  EXPECT_TRUE(found);
  EXPECT_TRUE(OpenCheckpoint(kFiles + "name_based")->object_paths().empty());
}

TEST(CheckpointTest, DirectoryMeansTheLatest) {
  const auto checkpoint = OpenCheckpoint(kFiles + "training");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Read("step/.ATTRIBUTES/VARIABLE_VALUE")->data<int64_t>()[0], 2);
}

TEST(CheckpointTest, SavedModelDirectoryMeansItsVariables) {
  const auto checkpoint = OpenCheckpoint(kFiles + "model");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(Floats(*checkpoint->Read("w/.ATTRIBUTES/VARIABLE_VALUE")), W(0));
}

TEST(CheckpointTest, MissingOneIsNotFound) {
  const Status status = OpenCheckpoint(kFiles + "training/ckpt-9").status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("ckpt-9"), std::string::npos) << status;
}

TEST(CheckpointTest, RestoresByObjectPath) {
  const Model model = *Load(kFiles + "model");
  const auto report = OpenCheckpoint(kFiles + "training/ckpt-2")->Restore(model, "model");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->restored.size(), 2u);
  EXPECT_TRUE(report->not_found.empty());
  EXPECT_EQ(Floats(model.variable("w").value()), W(20));
  // [1, 0, 0] * w + b with w + 20 and b + 2.
  const Tensor x = *Tensor::FromVector<float>({1, 0, 0}, Shape({1, 3}));
  const auto y = model.Signature("serving_default")({{"x", x}});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(Floats(y->at("y")), (std::vector<float>{21 + 2.5f, 22 + 1.5f}));
}

TEST(CheckpointTest, RestoresByName) {
  const Model model = *Load(kFiles + "model");
  const auto report = OpenCheckpoint(kFiles + "name_based")->Restore(model);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->restored.size(), 2u);
  EXPECT_EQ(Floats(model.variable("w").value()), W(20));
}

TEST(CheckpointTest, ReportsWhatTheCheckpointLacks) {
  const Model model = *Load("data/models/tf2_counter/model");
  const auto report = OpenCheckpoint(kFiles + "training")->Restore(model);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->restored.empty());
  EXPECT_EQ(report->not_found, (std::vector<std::string>{"n", "hist"}));
}

TEST(CheckpointTest, WrongShapeChangesNothing) {
  const Model model = *Load("data/models/tf2_child_methods/model");  // has another "w"
  const std::string before = model.variable("left.w").value().ToString();
  const Status status = OpenCheckpoint(kFiles + "name_based")->Restore(model).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("left.w"), std::string::npos) << status;
  EXPECT_EQ(model.variable("left.w").value().ToString(), before);
}

TEST(CheckpointTest, WrongRootSaysSo) {
  const Status status =
      OpenCheckpoint(kFiles + "training")->Restore(*Load(kFiles + "model"), "modle").status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("modle"), std::string::npos) << status;
}

TEST(CheckpointTest, RestoresIntoATensorFlow1Model) {
  const std::string path = "data/models/tf1_partitioned_variables/model";
  const Model model = *Load(path);
  const auto before = model.variables();
  ASSERT_FALSE(before.empty());
  std::vector<std::string> values;
  for (const auto& [name, v] : before) {
    values.push_back(v.value().ToString());
    ASSERT_TRUE(v.Assign(*Tensor::Zeros(v.dtype(), v.shape())).ok());
  }
  const auto report = OpenCheckpoint(path)->Restore(model);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->restored.size(), before.size());
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_EQ(before[i].second.value().ToString(), values[i]);
}

}  // namespace
}  // namespace savedmodel
