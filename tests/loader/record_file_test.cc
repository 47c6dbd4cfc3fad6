#include "src/loader/record_file.h"

#include <gtest/gtest.h>

#include "tests/loader/record_builder.h"

namespace savedmodel {
namespace {

StatusOr<RecordFile> Open(std::string bytes) {
  const auto files = MemoryFileSystem({{"f", std::move(bytes)}});
  return RecordFile::Open(*files->Read("f"), "f");
}

TEST(RecordFile, ReadsRecordsAcrossBlocks) {
  RecordBuilder builder;
  std::vector<std::vector<std::string>> chunks = {{"a", "", "bcd"}, {std::string(200'000, 'x')}};
  for (int size = 0; size < 70; ++size) {
    chunks.push_back({std::string(1000 + 37 * size, static_cast<char>('A' + size % 26)), "end"});
  }
  std::vector<uint64_t> begins;
  for (const auto& records : chunks) begins.push_back(builder.Add(records));
  auto file = Open(builder.bytes());
  ASSERT_TRUE(file.ok()) << file.status();
  for (size_t i = 0; i < chunks.size(); ++i) {
    for (size_t j = 0; j < chunks[i].size(); ++j) {
      EXPECT_EQ(file->Read(begins[i] + j).value(), chunks[i][j]) << i << " " << j;
    }
    EXPECT_EQ(file->Read(begins[i] + chunks[i].size()).status().code(), StatusCode::kDataLoss);
  }
  EXPECT_EQ(file->ReadLast().value(), "end");
}

TEST(RecordFile, ChunksOfEmptyRecordsArePadded) {
  RecordBuilder builder;
  const uint64_t many = builder.Add(std::vector<std::string>(70'000));
  const uint64_t last = builder.Add({"last"});
  EXPECT_GE(last, many + 70'000);
  auto file = Open(builder.bytes());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->Read(many + 69'999).value(), "");
  EXPECT_EQ(file->ReadLast().value(), "last");
}

TEST(RecordFile, DamageEndsInAStatus) {
  RecordBuilder builder;
  builder.Add({"first", "second"});
  builder.Add({"third"});
  const std::string good = builder.bytes();
  EXPECT_EQ(Open("").value().ReadLast().status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(Open("x").status().code(), StatusCode::kDataLoss);
  for (size_t size = 1; size < good.size(); ++size) {
    auto file = Open(good.substr(0, size));
    if (file.ok()) (void)file->ReadLast();
  }
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    auto file = Open(std::move(bad));
    if (file.ok()) (void)file->ReadLast();
  }
}

}  // namespace
}  // namespace savedmodel
