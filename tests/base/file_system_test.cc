#include "savedmodel/file_system.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace savedmodel {
namespace {

class PosixFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/savedmodel_files_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override {
    for (const char* file : {"/small", "/large", "/pipe", "/loop", "/empty"}) {
      unlink((directory_ + file).c_str());
    }
    rmdir(directory_.c_str());
  }
  void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(directory_ + name, std::ios::binary) << bytes;
  }
  StatusCode ReadCode(const std::string& path) {
    return PosixFileSystem()->Read(path).status().code();
  }
  std::string directory_;
};

TEST_F(PosixFiles, ReadsSmallLargeAndEmptyFiles) {
  const std::string large(300'000, 'x');
  Write("/small", "abc");
  Write("/large", large);
  Write("/empty", "");
  EXPECT_EQ((*PosixFileSystem()->Read(directory_ + "/small"))->bytes(), "abc");
  EXPECT_EQ((*PosixFileSystem()->Read(directory_ + "/large"))->bytes(), large);
  EXPECT_EQ((*PosixFileSystem()->Read(directory_ + "/empty"))->bytes(), "");
  EXPECT_EQ(*PosixFileSystem()->List(directory_),
            (std::vector<std::string>{"empty", "large", "small"}));
}

TEST_F(PosixFiles, RefusesWhatIsNoRegularFile) {
  ASSERT_EQ(mkfifo((directory_ + "/pipe").c_str(), 0600), 0);
  ASSERT_EQ(symlink("loop", (directory_ + "/loop").c_str()), 0);
  EXPECT_EQ(ReadCode(directory_), StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadCode("/dev/zero"), StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadCode(directory_ + "/pipe"), StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadCode(directory_ + "/loop"), StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadCode(directory_ + "/absent"), StatusCode::kNotFound);
  EXPECT_EQ(ReadCode(directory_ + std::string("/sm\0all", 7)), StatusCode::kInvalidArgument);
  EXPECT_FALSE(PosixFileSystem()->Exists(directory_ + "/pipe"));
}

TEST(MemoryFiles, ReadsAndLists) {
  const auto files = MemoryFileSystem({{"m/a.txt", "A"}, {"m/sub/b", "B"}, {"n/c", "C"}});
  EXPECT_EQ((*files->Read("m/a.txt"))->bytes(), "A");
  EXPECT_EQ((*files->Read("m//sub/./b"))->bytes(), "B");
  EXPECT_EQ(*files->List("m"), (std::vector<std::string>{"a.txt", "sub"}));
  EXPECT_EQ(files->List("x").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(files->Read("m/sub").status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(files->Exists("n/c"));
}

}  // namespace
}  // namespace savedmodel
