// Layers by the names that Keras gives them.
#include <gtest/gtest.h>

#include <algorithm>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

TEST(KerasLayers, OfASequentialModel) {
  const Model model = *Load("data/models/keras2_sequential_dense/model");
  const auto layers = model.layers();
  ASSERT_TRUE(layers.ok()) << layers.status();
  const auto first = std::find_if(layers->begin(), layers->end(),
                                  [](const KerasLayer& l) { return l.name == "first"; });
  ASSERT_NE(first, layers->end());
  EXPECT_EQ(first->class_name, "Dense");
  EXPECT_EQ(first->path, "layer_with_weights-0");
  EXPECT_EQ(model.layer("first").variable("kernel").name(), "first/kernel");
  const Status status = model.layer("fist").status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("first"), std::string::npos) << status;
}

TEST(KerasLayers, NoneInAPlainModule) {
  const auto layers = Load("data/models/tf2_child_methods/model")->layers();
  ASSERT_TRUE(layers.ok()) << layers.status();
  EXPECT_TRUE(layers->empty());
}

}  // namespace
}  // namespace savedmodel
