#include <gtest/gtest.h>

#include "src/loader/checkpoint_reader.h"
#include "tests/loader/bundle_builder.h"

namespace savedmodel {
namespace {

StatusOr<std::shared_ptr<const CheckpointReader>> Open(const Bundle& bundle,
                                                       bool verify_checksums = true) {
  return OpenBundle(MemoryFileSystem(bundle.Files("c")), "c", verify_checksums);
}

TEST(BundleReader, ReadsTensorsOfAllKinds) {
  Bundle bundle;
  bundle.AddFloats("f", {2, 2}, {1, 2, 3, 4});
  bundle.Add("b", proto::DT_BOOL, {3}, std::string("\0\1\7", 3));
  bundle.AddFloats("misaligned", {1}, {5});  // behind three bytes
  bundle.AddStrings("s", {"", "ab", "c"});
  bundle.AddStrings("none", {});
  const auto reader = Open(bundle);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->entries().size(), 5u);
  EXPECT_EQ((*reader)->Find("f")->shape, Shape({2, 2}));
  EXPECT_EQ((*reader)->Read("f")->ToVector<float>(), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ((*reader)->Read("b")->ToVector<bool>(), (std::vector<bool>{false, true, true}));
  EXPECT_EQ((*reader)->Read("misaligned")->ToVector<float>(), (std::vector<float>{5}));
  EXPECT_EQ((*reader)->Read("s")->ToVector<std::string>(),
            (std::vector<std::string>{"", "ab", "c"}));
  EXPECT_EQ((*reader)->Read("none")->num_elements(), 0);
  EXPECT_EQ((*reader)->Read("absent").status().code(), StatusCode::kNotFound);
}

TEST(BundleReader, ReadsSlices) {
  Bundle bundle;
  bundle.AddFloats("m", {2, 3}, {1, 2, 3, 4, 5, 6});
  const auto reader = Open(bundle);
  EXPECT_EQ((*reader)->ReadSlice("m", {0, 1}, {2, 2})->ToVector<float>(),
            (std::vector<float>{2, 3, 5, 6}));
  EXPECT_EQ((*reader)->ReadSlice("m", {1, 0}, {1, -1})->ToVector<float>(),
            (std::vector<float>{4, 5, 6}));
  EXPECT_EQ((*reader)->ReadSlice("m", {1, 0}, {2, 3}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ((*reader)->ReadSlice("m", {0}, {1}).status().code(), StatusCode::kInvalidArgument);
}

TEST(BundleReader, AssemblesPartitionedVariables) {
  Bundle bundle;
  bundle.AddPartitioned("p");
  const auto reader = Open(bundle);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->Read("p")->ToVector<float>(), (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ((*reader)->ReadSlice("p", {2}, {2})->ToVector<float>(), (std::vector<float>{2, 3}));
  EXPECT_EQ((*reader)->ReadSlice("p", {1}, {2})->ToVector<float>(), (std::vector<float>{1, 2}));
}

TEST(BundleReader, RejectsHolesAndOverlapsOfPartitionedVariables) {
  Bundle hole;
  hole.AddPartitioned("p", /*second_half=*/false);
  EXPECT_EQ((*Open(hole))->Read("p").status().code(), StatusCode::kDataLoss);
  Bundle overlap;
  overlap.AddPartitioned("p", true, /*second_start=*/1);
  EXPECT_EQ(Open(overlap).status().code(), StatusCode::kDataLoss);
}

TEST(BundleReader, FindsEveryFlippedBitOfTheData) {
  Bundle bundle;
  bundle.AddFloats("f", {2}, {1, 2});
  bundle.AddStrings("s", {"ab", "c"});
  for (size_t bit = 0; bit < 8 * bundle.data.size(); ++bit) {
    Bundle damaged = bundle;
    damaged.data[bit / 8] = static_cast<char>(damaged.data[bit / 8] ^ (1 << (bit % 8)));
    const auto reader = Open(damaged);
    const char* key = bit / 8 < 8 ? "f" : "s";
    EXPECT_EQ((*reader)->Read(key).status().code(), StatusCode::kDataLoss) << bit;
  }
}

TEST(BundleReader, ChecksumsCanBeLeftUnchecked) {
  Bundle bundle;
  bundle.AddFloats("f", {2}, {1, 2});
  bundle.AddStrings("s", {"ab", "c"});
  bundle.data[0] = static_cast<char>(bundle.data[0] ^ 1);
  bundle.data.back() = 'd';
  const auto reader = Open(bundle, /*verify_checksums=*/false);
  EXPECT_EQ((*reader)->Read("f")->ToVector<float>(), (std::vector<float>{1.00000012f, 2}));
  EXPECT_EQ((*reader)->Read("s")->ToVector<std::string>(), (std::vector<std::string>{"ab", "d"}));
  bundle.data.resize(bundle.data.size() - 1);
  EXPECT_EQ((*Open(bundle, false))->Read("s").status().code(), StatusCode::kDataLoss);
}

TEST(BundleReader, RejectsEntriesThatDoNotFit) {
  Bundle bundle;
  bundle.AddFloats("f", {2}, {1, 2});
  const auto damage = [&](auto change) {
    Bundle damaged = bundle;
    proto::BundleEntryProto entry;
    entry.ParseFromString(damaged.entries["f"]);
    change(&entry);
    damaged.entries["f"] = entry.SerializeAsString();
    const auto reader = Open(damaged);
    return reader.ok() ? (*reader)->Read("f").status().code() : reader.status().code();
  };
  EXPECT_EQ(damage([](auto* e) { e->set_offset(1); }), StatusCode::kDataLoss);
  EXPECT_EQ(damage([](auto* e) { e->set_offset(-4); }), StatusCode::kDataLoss);
  EXPECT_EQ(damage([](auto* e) { e->set_offset(INT64_MAX); }), StatusCode::kDataLoss);
  EXPECT_EQ(damage([](auto* e) { e->set_size(INT64_MAX); }), StatusCode::kDataLoss);
  EXPECT_EQ(damage([](auto* e) { e->set_shard_id(1); }), StatusCode::kDataLoss);
  EXPECT_EQ(damage([](auto* e) { e->set_shard_id(-1); }), StatusCode::kDataLoss);
  EXPECT_EQ(damage([](auto* e) { e->mutable_shape()->mutable_dim(0)->set_size(-1); }),
            StatusCode::kDataLoss);
  EXPECT_EQ(damage([](auto* e) { e->mutable_shape()->mutable_dim(0)->set_size(INT64_MAX); }),
            StatusCode::kDataLoss);
  EXPECT_EQ(damage([](auto* e) { e->set_dtype(proto::DT_VARIANT); }), StatusCode::kUnimplemented);
  EXPECT_EQ(damage([](auto* e) { e->set_crc32c(0); }), StatusCode::kDataLoss);
}

TEST(CheckpointOpener, SaysWhatItLookedFor) {
  const auto opener = MakeCheckpointOpener(MemoryFileSystem({{"c.index", "junk"}}));
  EXPECT_EQ(opener->Open("c").status().code(), StatusCode::kDataLoss);
  const Status absent = opener->Open("d").status();
  EXPECT_EQ(absent.code(), StatusCode::kNotFound);
  EXPECT_NE(absent.message().find("d.index"), std::string::npos);
}

}  // namespace
}  // namespace savedmodel
