#include "src/cli/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace savedmodel::cli {
namespace {

class Npy : public testing::Test {
 protected:
  ~Npy() override { std::remove(path_.c_str()); }
  const std::string path_ = testing::TempDir() + "npy_test_" + std::to_string(getpid()) + ".npy";
};

TEST_F(Npy, RoundTrips) {
  for (const DType d : {DType::kFloat, DType::kInt64, DType::kBool, DType::kHalf, DType::kBFloat16,
                        DType::kComplex128}) {
    auto t = Tensor::Zeros(d, {2, 0, 3});
    ASSERT_TRUE(WriteNpy(path_, *t).ok());
    EXPECT_EQ(ReadNpy(path_)->TypeString(), t->TypeString());
  }
  auto t = Tensor::FromVector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  ASSERT_TRUE(WriteNpy(path_, *t).ok());
  EXPECT_EQ(ReadNpy(path_)->ToString(), t->ToString());
  ASSERT_TRUE(WriteNpy(path_, Tensor::Scalar(2.0)).ok());
  EXPECT_EQ(ReadNpy(path_)->shape(), Shape());
  const Tensor strings = Tensor::Vector<std::string>({"a", "", "longer"});
  ASSERT_TRUE(WriteNpy(path_, strings).ok());
  EXPECT_EQ(ReadNpy(path_)->ToVector<std::string>(), strings.ToVector<std::string>());
}

TEST_F(Npy, ReadsFortranOrder) {
  std::string header = "{'descr': '|i1', 'fortran_order': True, 'shape': (2, 3), }\n";
  std::ofstream out(path_, std::ios::binary);
  out.write("\x93NUMPY\x01\x00", 8) << static_cast<char>(header.size()) << '\0' << header;
  out.write("\x00\x03\x01\x04\x02\x05", 6).flush();
  EXPECT_EQ(ReadNpy(path_)->ToVector<int8_t>(), (std::vector<int8_t>{0, 1, 2, 3, 4, 5}));
}

TEST_F(Npy, RefusesDamage) {
  EXPECT_EQ(ReadNpy(path_ + "nowhere").status().code(), StatusCode::kNotFound);
  auto t = Tensor::FromVector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  ASSERT_TRUE(WriteNpy(path_, *t).ok());
  std::ifstream in(path_, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (size_t length = 0; length < good.size(); length += 5) {
    std::ofstream(path_, std::ios::binary) << good.substr(0, length);
    EXPECT_FALSE(ReadNpy(path_).ok()) << length;
  }
}

}  // namespace
}  // namespace savedmodel::cli
