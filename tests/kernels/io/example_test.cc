// Features of examples, in all the ways that the wire format can write them.
#include "src/kernels/io/example.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "src/kernels/io/wire.h"

namespace savedmodel {
namespace {

std::string Field(uint32_t field, std::string_view bytes) {
  std::string out;
  AppendBytesField(field, bytes, &out);
  return out;
}

std::string Floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

DType KindOf(const std::string& feature, std::string* list) {
  DType dtype = DType::kInvalid;
  std::string_view bytes;
  if (!ReadFeature(feature, &dtype, &bytes)) return DType::kVariant;  // malformed
  *list = std::string(bytes);
  return dtype;
}

TEST(WireFormatTest, KindsOfFeatures) {
  std::string list;
  EXPECT_EQ(KindOf(Field(1, "ab"), &list), DType::kString);
  EXPECT_EQ(list, "ab");
  EXPECT_EQ(KindOf(Field(2, ""), &list), DType::kFloat);
  EXPECT_EQ(KindOf(Field(3, std::string(300, 'x')), &list), DType::kInt64);
  EXPECT_EQ(list.size(), 300u);
  EXPECT_EQ(KindOf("", &list), DType::kInvalid);
  EXPECT_EQ(KindOf(Field(4, "ab"), &list), DType::kInvalid);
}

TEST(WireFormatTest, TheLastKindWins) {
  std::string list;
  EXPECT_EQ(KindOf(Field(1, "ab") + Field(2, "cd"), &list), DType::kFloat);
  EXPECT_EQ(list, "cd");
  EXPECT_EQ(KindOf(Field(2, "ab") + Field(2, "cd"), &list), DType::kFloat);
  EXPECT_EQ(list, "cd");
  EXPECT_EQ(KindOf(Field(3, "ab") + Field(1, "cd"), &list), DType::kString);
}

TEST(WireFormatTest, CutFeaturesAreMalformed) {
  std::string list;
  const std::string whole = Field(2, "abcd");
  for (size_t n = 1; n < whole.size(); ++n) {
    EXPECT_EQ(KindOf(whole.substr(0, n), &list), DType::kVariant) << n;
  }
}

std::vector<float> FloatsOf(const std::string& list, bool* ok) {
  FeatureValues values;
  *ok = values.Append(DType::kFloat, list);
  Tensor out = *Tensor::Allocate(DType::kFloat, Shape({values.size(DType::kFloat)}));
  values.CopyTo(DType::kFloat, 0, out.num_elements(), out.raw_mutable_data());
  return out.ToVector<float>();
}

TEST(WireFormatTest, FloatsArePackedOrNot) {
  bool ok = false;
  EXPECT_EQ(FloatsOf(Field(1, Floats({1, 2})), &ok), (std::vector<float>{1, 2}));
  EXPECT_EQ(FloatsOf(Field(1, Floats({1})) + Field(1, Floats({2, 3})), &ok),
            (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(FloatsOf("\x0d" + Floats({4}) + "\x0d" + Floats({5}), &ok), (std::vector<float>{4, 5}));
  EXPECT_EQ(FloatsOf(Field(2, "abc") + Field(1, Floats({6})), &ok), (std::vector<float>{6}));
  EXPECT_EQ(FloatsOf(Field(1, Floats(std::vector<float>(100, 7))), &ok),
            std::vector<float>(100, 7));
  EXPECT_TRUE(ok);
  FloatsOf(Field(1, "abc"), &ok);
  EXPECT_FALSE(ok);
  FloatsOf(Field(1, Floats({1})).substr(0, 5), &ok);
  EXPECT_FALSE(ok);
}

TEST(WireFormatTest, EntriesOfMaps) {
  KeyIndex index;
  FeatureColumn column;
  for (const char* key : {"a", "b"}) {
    column.key = key;
    index.Add(column);
  }
  KeyIndex::Order order;
  const auto find = [&](const std::string& map) {
    std::vector<FoundValue> found(2);
    return index.Find(map, &found, &order)
               ? std::string(found[0].bytes) + "|" + std::string(found[1].bytes)
               : "malformed";
  };
  const auto entry = [](const std::string& key, const std::string& value) {
    return Field(1, Field(1, key) + Field(2, value));
  };
  EXPECT_EQ(find(entry("a", "x") + entry("c", "z") + entry("b", "y")), "x|y");
  EXPECT_EQ(find(entry("b", "y") + entry("a", "x") + entry("a", "w")), "w|y");
  EXPECT_EQ(find(Field(1, Field(2, "x") + Field(1, "a"))), "x|");  // the value first
  EXPECT_EQ(find(Field(1, Field(1, "a"))), "|");
  EXPECT_EQ(find(Field(1, Field(1, "a") + Field(2, "x") + Field(2, "w"))), "w|");
  EXPECT_EQ(find(entry("b", std::string(200, 'y'))), "|" + std::string(200, 'y'));
  // The same keys in the same order as before, in lengths of one byte and two, and cut off.
  EXPECT_EQ(find(entry("b", "") + entry("a", "x")), "x|");
  EXPECT_EQ(find(entry("b", std::string(127, 'y')) + entry("a", std::string(128, 'x'))),
            std::string(128, 'x') + "|" + std::string(127, 'y'));
  EXPECT_EQ(find(entry("bb", "y") + entry("a", "x")), "x|");
  EXPECT_EQ(find(Field(1, Field(1, "b"))), "|");
  EXPECT_EQ(find(Field(1, Field(1, "b") + "\x12")), "malformed");
  EXPECT_EQ(find(Field(1, Field(1, "a") + "\x12\x05x")), "malformed");
}

// As in TensorFlow, which also finds neither.
TEST(WireFormatTest, AKeyOfTwoSlotsIsNeverFound) {
  KeyIndex index;
  FeatureColumn column;
  for (const char* key : {"a", "b", "a", "c"}) {
    column.key = key;
    index.Add(column);
  }
  std::string map;
  for (const char* key : {"a", "b", "c"}) map += Field(1, Field(1, key) + Field(2, key));
  KeyIndex::Order order;
  for (int i = 0; i < 2; ++i) {
    std::vector<FoundValue> found(4);
    ASSERT_TRUE(index.Find(map, &found, &order));
    EXPECT_EQ(found[0].bytes.data(), nullptr);
    EXPECT_EQ(found[1].bytes, "b");
    EXPECT_EQ(found[2].bytes.data(), nullptr);
    EXPECT_EQ(found[3].bytes, "c");
  }
}

// Features of dense columns, of one value, of some and of so many that lengths take two bytes, in
// the forms that the wire format has for floats. Each comes twice: the second time where its key is
// expected.
TEST(WireFormatTest, DenseFloatsComeAsRows) {
  for (const int64_t stride : {1, 3, 31, 32, 40}) {
    const size_t n = static_cast<size_t>(stride);
    const Tensor by_default = *Tensor::FromVector<float>(std::vector<float>(n, -1), {stride});
    const StatusOr<FeatureColumn> column = DenseColumn("x", {stride}, by_default, true);
    ASSERT_TRUE(column.ok()) << column.status();
    KeyIndex index;
    index.Add(*column);
    Tensor rows = *Tensor::Allocate(DType::kFloat, Shape({8, stride}));
    ColumnData data;
    data.row = rows.raw_mutable_data();
    const auto append_map = [&](const std::string& map, KeyIndex::Order* order) {
      std::vector<FoundValue> found(1);
      if (!index.Find(map, &found, order)) return Status(StatusCode::kInvalidArgument, "map");
      return AppendFeature(
          *column, found[0], [] { return std::string("here"); }, &data);
    };
    const auto append = [&](const std::string& feature) {
      const std::string map = Field(1, Field(1, "x") + Field(2, feature));
      KeyIndex::Order order;
      const Status status = append_map(map, &order);
      EXPECT_EQ(append_map(map, &order), status);
      return status;
    };
    std::string one_by_one;
    for (size_t i = 0; i < n; ++i) one_by_one += "\x0d" + Floats({3});
    EXPECT_TRUE(append(Field(2, Field(1, Floats(std::vector<float>(n, 1))))).ok());
    EXPECT_TRUE(append("").ok());
    EXPECT_TRUE(append(Field(2, one_by_one)).ok());
    EXPECT_TRUE(
        append(Field(2, Field(1, Floats({})) + Field(1, Floats(std::vector<float>(n, 4))))).ok());
    std::vector<float> expected;
    for (const float value : {1, -1, 3, 4}) expected.insert(expected.end(), 2 * n, value);
    EXPECT_EQ(rows.ToVector<float>(), expected) << stride;
    EXPECT_FALSE(append(Field(2, Field(1, Floats(std::vector<float>(n + 1, 5))))).ok());
    EXPECT_FALSE(append(Field(3, Field(1, std::string(n * sizeof(float), '\x01')))).ok());
    EXPECT_FALSE(append(Field(2, Field(1, Floats(std::vector<float>(n, 5)))).substr(0, 5)).ok());
  }
}

}  // namespace
}  // namespace savedmodel
