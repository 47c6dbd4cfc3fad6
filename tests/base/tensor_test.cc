#include "savedmodel/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "savedmodel/float16.h"

namespace savedmodel {
namespace {

TEST(Tensor, EmptyHandle) {
  const Tensor t{};
  EXPECT_FALSE(t.has_value());
  EXPECT_EQ(t.num_elements(), 0);
  EXPECT_EQ(t.data<float>(), nullptr);
}

TEST(Tensor, ScalarsAndVectors) {
  EXPECT_EQ(Tensor::Scalar(3.5f).data<float>()[0], 3.5f);
  EXPECT_EQ(Tensor::Scalar("text").values<std::string>()[0], "text");
  const Tensor v = Tensor::Vector<int64_t>({1, 2, 3});
  EXPECT_EQ(v.shape(), Shape({3}));
  EXPECT_EQ(v.ToVector<int64_t>(), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(v.data<int32_t>(), nullptr);  // another type
}

TEST(Tensor, FromVectorChecksCount) {
  EXPECT_TRUE(Tensor::FromVector<float>({1, 2, 3, 4}, {2, 2}).ok());
  EXPECT_EQ(Tensor::FromVector<float>({1, 2, 3}, {2, 2}).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(Tensor, AllocatedMemoryIsAligned) {
  auto t = Tensor::Allocate(DType::kFloat, {3, 5});
  ASSERT_TRUE(t.ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t->raw_data()) % 64, 0u);
}

TEST(Tensor, RefusesWhatCannotBeAllocated) {
  EXPECT_EQ(Tensor::Allocate(DType::kFloat, {-1}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Tensor::Allocate(DType::kInvalid, {1}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(Tensor::Allocate(DType::kDouble, {int64_t{1} << 61}).ok());
}

TEST(Tensor, CopyOnWrite) {
  Tensor a = Tensor::Vector<float>({1, 2});
  const Tensor b = a;
  EXPECT_EQ(a.raw_data(), b.raw_data());
  a.mutable_data<float>()[0] = 9;
  EXPECT_NE(a.raw_data(), b.raw_data());
  EXPECT_EQ(b.data<float>()[0], 1);
  const void* own = a.raw_data();
  a.mutable_data<float>()[1] = 8;  // its own already
  EXPECT_EQ(a.raw_data(), own);
}

TEST(Tensor, BorrowedMemoryIsReleasedOnce) {
  const float data[4] = {1, 2, 3, 4};
  int released = 0;
  {
    auto t = Tensor::Borrow(DType::kFloat, {2, 2}, data, sizeof data, [&] { ++released; });
    ASSERT_TRUE(t.ok());
    EXPECT_EQ(t->raw_data(), data);
    const Tensor copy = *t;
    Tensor changed = *t;
    changed.mutable_data<float>()[0] = 7;
    EXPECT_EQ(data[0], 1);
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
  EXPECT_FALSE(Tensor::Borrow(DType::kFloat, {3}, data, sizeof data).ok());
  EXPECT_FALSE(Tensor::Borrow(DType::kString, {1}, data, sizeof(std::string)).ok());
}

TEST(Tensor, BudgetRefusesAndGetsItsBytesBack) {
  auto budget = std::make_shared<MemoryBudget>(1024);
  {
    auto t = Tensor::Allocate(DType::kFloat, {200}, budget);
    ASSERT_TRUE(t.ok());
    EXPECT_EQ(Tensor::Allocate(DType::kFloat, {200}, budget).status().code(),
              StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(budget->used(), 0);
  EXPECT_TRUE(Tensor::Allocate(DType::kFloat, {200}, budget).ok());
}

TEST(Tensor, RowsAndShapesShareElements) {
  auto t = Tensor::FromVector<int32_t>({0, 1, 2, 3, 4, 5}, {3, 2});
  const Tensor rows = t->Rows(1, 3);
  EXPECT_EQ(rows.shape(), Shape({2, 2}));
  EXPECT_EQ(rows.data<int32_t>()[0], 2);
  EXPECT_EQ(t->WithShape({6}).raw_data(), t->raw_data());
}

TEST(Tensor, PrintsTypeAndElements) {
  auto t = Tensor::FromVector<float>({1, 2, 3, 4}, {2, 2});
  EXPECT_EQ(t->TypeString(), "float[2,2]");
  EXPECT_NE(t->ToString().find("float[2,2]"), std::string::npos);
}

// More and larger ones than a thread keeps when they are freed.
TEST(Tensor, BlocksComeAgainToOneTensorAtATime) {
  for (int round = 0; round < 3; ++round) {
    std::vector<Tensor> tensors;
    for (int64_t i = 0; i < 80; ++i) {
      const int64_t count = (i % 40 + 1) * 20000;
      tensors.push_back(*Tensor::Allocate(DType::kFloat, Shape({count})));
      std::fill_n(tensors.back().mutable_data<float>(), count, static_cast<float>(i));
    }
    for (int64_t i = 0; i < 80; ++i) {
      const Span<const float> values = tensors[static_cast<size_t>(i)].values<float>();
      EXPECT_EQ(std::count(values.begin(), values.end(), static_cast<float>(i)),
                tensors[static_cast<size_t>(i)].num_elements());
    }
  }
}

TEST(Tensor, QuantisedTypesStoreIntegers) {
  auto t = Tensor::Zeros(DType::kQInt8, {4});
  ASSERT_TRUE(t.ok());
  EXPECT_NE(t->data<int8_t>(), nullptr);
  EXPECT_EQ(t->data<uint8_t>(), nullptr);
}

TEST(Float16, RoundsToNearestEven) {
  EXPECT_EQ(static_cast<float>(half(1.0f + 1.0f / 2048)), 1.0f);  // a tie, to even
  EXPECT_EQ(static_cast<float>(half(1.0f + 3.0f / 2048)), 1.0f + 2.0f / 1024);
  EXPECT_EQ(static_cast<float>(bfloat16(1.0f + 1.0f / 256)), 1.0f);
  EXPECT_EQ(static_cast<float>(half(65504.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(static_cast<float>(half(65520.0f))));
  EXPECT_TRUE(std::isnan(static_cast<float>(half(NAN))));
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(NAN))));
  EXPECT_EQ(static_cast<float>(half(5.9604645e-8f)), 5.9604645e-8f);  // the least denormal
}

TEST(DType, NamesGoBothWays) {
  for (int d = 1; d <= 30; ++d) {
    if (!IsKnownDType(d)) continue;
    const auto dtype = static_cast<DType>(d);
    EXPECT_EQ(DTypeFromName(DTypeName(dtype)), dtype);
    EXPECT_EQ(DTypeFromName(DTypeNumpyName(dtype)), dtype);
  }
  EXPECT_EQ(DTypeFromName("complex"), DType::kInvalid);
  EXPECT_FALSE(IsKnownDType(0));
  EXPECT_FALSE(IsKnownDType(26 + 1000));
}

}  // namespace
}  // namespace savedmodel
