#include <gtest/gtest.h>

#include "proto/savedmodel_checkpoint.pb.h"
#include "src/loader/checkpoint_reader.h"
#include "src/loader/ordered_code.h"
#include "tests/loader/table_builder.h"

namespace savedmodel {
namespace {

// A bundle of one shard, written the way TensorFlow does.
struct Bundle {
  std::map<std::string, std::string> entries;
  std::string data;

  Bundle() {
    proto::BundleHeaderProto header;
    header.set_num_shards(1);
    header.mutable_version()->set_producer(1);
    entries[""] = header.SerializeAsString();
  }

  proto::BundleEntryProto Place(proto::DataType dtype, const std::vector<int64_t>& shape,
                                const std::string& bytes, uint32_t crc) {
    proto::BundleEntryProto entry;
    entry.set_dtype(dtype);
    for (int64_t d : shape) entry.mutable_shape()->add_dim()->set_size(d);
    entry.set_offset(static_cast<int64_t>(data.size()));
    entry.set_size(static_cast<int64_t>(bytes.size()));
    entry.set_crc32c(MaskCrc32c(crc));
    data += bytes;
    return entry;
  }

  void Add(const std::string& key, proto::DataType dtype, const std::vector<int64_t>& shape,
           const std::string& bytes) {
    entries[key] = Place(dtype, shape, bytes, Crc32c(bytes)).SerializeAsString();
  }

  void AddFloats(const std::string& key, const std::vector<int64_t>& shape,
                 const std::vector<float>& values) {
    Add(key, proto::DT_FLOAT, shape, Bytes(values));
  }

  static std::string Bytes(const std::vector<float>& values) {
    return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }

  void AddStrings(const std::string& key, const std::vector<std::string>& strings) {
    std::string lengths, fixed, text;
    for (const std::string& s : strings) {
      AppendVarint(s.size(), &lengths);
      AppendFixed32(static_cast<uint32_t>(s.size()), &fixed);
      text += s;
    }
    std::string checksum;
    AppendFixed32(MaskCrc32c(Crc32c(fixed)), &checksum);
    const uint32_t crc = Crc32c(fixed + checksum + text);
    entries[key] = Place(proto::DT_STRING, {static_cast<int64_t>(strings.size())},
                         lengths + checksum + text, crc)
                       .SerializeAsString();
  }

  // A [4] float variable in two halves.
  void AddPartitioned(const std::string& key, bool second_half = true, int64_t second_start = 2) {
    proto::BundleEntryProto whole;
    whole.set_dtype(proto::DT_FLOAT);
    whole.mutable_shape()->add_dim()->set_size(4);
    for (int64_t start : {int64_t{0}, second_start}) {
      if (start > 0 && !second_half) continue;
      auto* extent = whole.add_slices()->add_extent();
      extent->set_start(start);
      extent->set_length(2);
      const float base = static_cast<float>(start);
      const std::string bytes = Bytes({base, base + 1});
      entries[SliceKey(key, {{start}, {2}})] =
          Place(proto::DT_FLOAT, {2}, bytes, Crc32c(bytes)).SerializeAsString();
    }
    entries[key] = whole.SerializeAsString();
  }

  StatusOr<std::shared_ptr<const CheckpointReader>> Open() const {
    return OpenBundle(MemoryFileSystem({{"c.index", TableBuilder().Build(entries)},
                                        {"c.data-00000-of-00001", data}}),
                      "c");
  }
};

TEST(BundleReader, ReadsTensorsOfAllKinds) {
  Bundle bundle;
  bundle.AddFloats("f", {2, 2}, {1, 2, 3, 4});
  bundle.Add("b", proto::DT_BOOL, {3}, std::string("\0\1\7", 3));
  bundle.AddFloats("misaligned", {1}, {5});  // behind three bytes
  bundle.AddStrings("s", {"", "ab", "c"});
  bundle.AddStrings("none", {});
  const auto reader = bundle.Open();
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
  const auto reader = bundle.Open();
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
  const auto reader = bundle.Open();
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->Read("p")->ToVector<float>(), (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ((*reader)->ReadSlice("p", {2}, {2})->ToVector<float>(), (std::vector<float>{2, 3}));
  EXPECT_EQ((*reader)->ReadSlice("p", {1}, {2})->ToVector<float>(), (std::vector<float>{1, 2}));
}

TEST(BundleReader, RejectsHolesAndOverlapsOfPartitionedVariables) {
  Bundle hole;
  hole.AddPartitioned("p", /*second_half=*/false);
  EXPECT_EQ((*hole.Open())->Read("p").status().code(), StatusCode::kDataLoss);
  Bundle overlap;
  overlap.AddPartitioned("p", true, /*second_start=*/1);
  EXPECT_EQ(overlap.Open().status().code(), StatusCode::kDataLoss);
}

TEST(BundleReader, FindsEveryFlippedBitOfTheData) {
  Bundle bundle;
  bundle.AddFloats("f", {2}, {1, 2});
  bundle.AddStrings("s", {"ab", "c"});
  for (size_t bit = 0; bit < 8 * bundle.data.size(); ++bit) {
    Bundle damaged = bundle;
    damaged.data[bit / 8] = static_cast<char>(damaged.data[bit / 8] ^ (1 << (bit % 8)));
    const auto reader = damaged.Open();
    const char* key = bit / 8 < 8 ? "f" : "s";
    EXPECT_EQ((*reader)->Read(key).status().code(), StatusCode::kDataLoss) << bit;
  }
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
    const auto reader = damaged.Open();
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
