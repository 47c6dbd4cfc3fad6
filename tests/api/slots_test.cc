// Slot variables of optimizers, and assets. Expected values: what the checkpoint holds under the
// slots' keys.
#include <gtest/gtest.h>

#include "savedmodel/checkpoint.h"
#include "savedmodel/model.h"

namespace savedmodel {
namespace {

TEST(Slots, OfAKerasOptimizer) {
  const std::string path = "data/models/keras2_legacy_optimizer_slots/model";
  const Model model = *Load(path);
  const Object optimizer = model.object("optimizer");
  const auto checkpoint = OpenCheckpoint(path);
  for (const std::string layer : {"layer_with_weights-0", "layer_with_weights-1"}) {
    for (const std::string name : {"m", "v"}) {
      const Variable slot = optimizer.slot(model.object(layer).variable("kernel"), name);
      const auto expected = checkpoint->Read(layer + "/kernel/.OPTIMIZER_SLOT/optimizer/" + name +
                                             "/.ATTRIBUTES/VARIABLE_VALUE");
      ASSERT_TRUE(slot.status().ok()) << slot.status();
      ASSERT_TRUE(expected.ok()) << expected.status();
      EXPECT_EQ(slot.value().ToVector<float>(), expected->ToVector<float>());
    }
  }
}

TEST(Slots, MissingOnesSaySo) {
  const Model model = *Load("data/models/keras2_legacy_optimizer_slots/model");
  const Variable kernel = model.object("layer_with_weights-0").variable("kernel");
  const Status name = model.object("optimizer").slot(kernel, "momentum").status();
  EXPECT_EQ(name.code(), StatusCode::kNotFound);
  EXPECT_NE(name.message().find("{m, v}"), std::string::npos) << name;
  EXPECT_EQ(model.root().slot(kernel, "m").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(model.object("optimizer").slot(model.variable("no"), "m").status().code(),
            StatusCode::kNotFound);
}

TEST(Slots, BelongToACloneToo) {
  const Model model = *Load("data/models/keras2_legacy_optimizer_slots/model");
  const Model clone = *model.Clone();
  const auto slot = [](const Model& m) {
    return m.object("optimizer").slot(m.object("layer_with_weights-0").variable("kernel"), "m");
  };
  const auto before = slot(model).value().ToVector<float>();
  ASSERT_TRUE(slot(clone).Assign(*Tensor::Zeros(DType::kFloat, slot(clone).shape())).ok());
  EXPECT_EQ(slot(model).value().ToVector<float>(), before);
  EXPECT_NE(slot(clone).value().ToVector<float>(), before);
}

TEST(Assets, EachFileOnce) {
  const auto assets = Load("data/models/tf1_assets_main_op/model")->assets();
  ASSERT_EQ(assets.size(), 1u);
  EXPECT_NE(assets[0].find("assets/vocab.txt"), std::string::npos);
}

}  // namespace
}  // namespace savedmodel
