#include "src/loader/table_reader.h"

#include <gtest/gtest.h>

#include "tests/loader/table_builder.h"

namespace savedmodel {
namespace {

StatusOr<TableReader> Open(const std::string& bytes) {
  const auto files = MemoryFileSystem({{"t", bytes}});
  return TableReader::Open(*files->Read("t"), "t");
}

StatusOr<std::map<std::string, std::string>> ReadAll(const std::string& bytes) {
  std::map<std::string, std::string> entries;
  StatusOr<TableReader> table = Open(bytes);
  if (!table.ok()) return table.status();
  Status status = table->ForEach([&](std::string_view key, std::string_view value) {
    entries.emplace(key, value);
    return Status();
  });
  if (!status.ok()) return status;
  return entries;
}

std::map<std::string, std::string> Entries() {
  std::map<std::string, std::string> entries = {{"", "header"}};
  for (int i = 0; i < 20; ++i) {
    entries["prefix/" + std::to_string(i)] = std::string(i * 7, static_cast<char>('a' + i));
  }
  return entries;
}

TEST(TableReader, ReadsPlainAndCompressedTables) {
  for (bool compress : {false, true}) {
    TableBuilder builder;
    builder.compress = compress;
    const std::string bytes = builder.Build(Entries());
    EXPECT_EQ(*ReadAll(bytes), Entries());
    const StatusOr<TableReader> table = Open(bytes);
    std::string found;
    EXPECT_TRUE(table
                    ->Visit("prefix/7",
                            [&](std::string_view value) {
                              found = value;
                              return Status();
                            })
                    .ok());
    EXPECT_EQ(found, std::string(49, 'h'));
    EXPECT_EQ(table->Visit("nowhere", [](std::string_view) { return Status(); }).code(),
              StatusCode::kNotFound);
  }
}

TEST(TableReader, RejectsEveryTruncation) {
  const std::string bytes = TableBuilder().Build(Entries());
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_EQ(ReadAll(bytes.substr(0, n)).status().code(), StatusCode::kDataLoss) << n;
  }
}

TEST(TableReader, NeverReturnsOtherEntriesAfterABitFlip) {
  for (bool compress : {false, true}) {
    TableBuilder builder;
    builder.compress = compress;
    const std::string bytes = builder.Build(Entries());
    for (size_t i = 0; i < bytes.size(); ++i) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
      const auto entries = ReadAll(damaged);
      if (entries.ok()) {
        EXPECT_EQ(*entries, Entries()) << i;
      }
    }
  }
}

TEST(TableReader, RejectsBlocksThatUnpackToTooMuch) {
  TableBuilder builder;
  std::string file, bomb;
  AppendVarint(uint64_t{1} << 31, &bomb);  // claimed size of a snappy block
  std::string handle;
  AppendVarint(0, &handle);
  AppendVarint(bomb.size(), &handle);
  bomb.push_back(1);
  const uint32_t crc = MaskCrc32c(Crc32c(bomb));
  file = bomb;
  AppendFixed32(crc, &file);
  std::string footer = handle + handle;
  footer.resize(40, '\0');
  const uint64_t magic = 0xdb4775248b80fb57u;
  footer.append(reinterpret_cast<const char*>(&magic), 8);
  EXPECT_EQ(Open(file + footer).status().code(), StatusCode::kResourceExhausted);
}

TEST(TableReader, RejectsKeysThatDoNotAscend) {
  TableBuilder builder;
  std::string file;
  const std::string handle = builder.Store(TableBuilder::Block({{"b", "1"}, {"a", "2"}}), &file);
  const std::string meta = builder.Store(TableBuilder::Block({}), &file);
  std::string footer = meta + builder.Store(TableBuilder::Block({{"b", handle}}), &file);
  footer.resize(40, '\0');
  const uint64_t magic = 0xdb4775248b80fb57u;
  footer.append(reinterpret_cast<const char*>(&magic), 8);
  EXPECT_EQ(ReadAll(file + footer).status().code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace savedmodel
