#include "savedmodel/status.h"

#include <gtest/gtest.h>

#include <sstream>

namespace savedmodel {
namespace {

TEST(Status, PrintsCodeAndMessage) {
  EXPECT_EQ(Status().ToString(), "OK");
  EXPECT_EQ(Status(StatusCode::kNotFound, "x").ToString(), "NOT_FOUND: x");
  std::ostringstream out;
  out << Status(StatusCode::kDataLoss, "y");
  EXPECT_EQ(out.str(), "DATA_LOSS: y");
}

TEST(Status, OkHasNoMessage) { EXPECT_EQ(Status(StatusCode::kOk, "dropped").message(), ""); }

TEST(Status, AtPutsPlacesInFront) {
  const Status s = Status(StatusCode::kInternal, "what").At("node").At("function");
  EXPECT_EQ(s.message(), "function › node › what");
  EXPECT_EQ(s.code(), StatusCode::kInternal);
  EXPECT_TRUE(Status().At("node").ok());
}

TEST(Status, NamesAllCodes) {
  for (int c = 0; c <= 16; ++c) {
    EXPECT_STRNE(StatusCodeName(static_cast<StatusCode>(c)), "") << c;
  }
  EXPECT_STREQ(StatusCodeName(StatusCode::kUnauthenticated), "UNAUTHENTICATED");
}

TEST(StatusOr, HoldsValueOrError) {
  const StatusOr<int> value = 3;
  EXPECT_TRUE(value.ok());
  EXPECT_EQ(*value, 3);
  const StatusOr<int> error = Status(StatusCode::kAborted, "no");
  EXPECT_EQ(error.status().code(), StatusCode::kAborted);
  EXPECT_EQ(error.value_or(7), 7);
}

TEST(StatusOr, OkWithoutValueIsInternal) {
  EXPECT_EQ(StatusOr<int>(Status()).status().code(), StatusCode::kInternal);
}

TEST(StatusOr, DereferencingAFailureEndsTheProcess) {
  const StatusOr<int> error = Status(StatusCode::kAborted, "no such thing");
  EXPECT_DEATH(static_cast<void>(*error), "no such thing");
}

}  // namespace
}  // namespace savedmodel
