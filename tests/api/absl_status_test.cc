#include "savedmodel/absl_status.h"

#include <gtest/gtest.h>

namespace savedmodel {
namespace {

TEST(AbslStatus, CodesAndMessagesStay) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status there = ToAbsl(Status(static_cast<StatusCode>(code), "why"));
    EXPECT_EQ(absl::StatusCodeToString(there.code()),
              StatusCodeName(static_cast<StatusCode>(code)));
    EXPECT_EQ(FromAbsl(there), Status(static_cast<StatusCode>(code), "why"));
  }
  EXPECT_TRUE(ToAbsl(Status()).ok());
  EXPECT_TRUE(FromAbsl(absl::OkStatus()).ok());
}

TEST(AbslStatus, StatusOrKeepsValueOrError) {
  EXPECT_EQ(ToAbsl(StatusOr<int>(7)).value(), 7);
  const absl::StatusOr<int> failed = ToAbsl(StatusOr<int>(Status(StatusCode::kDataLoss, "bad")));
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace savedmodel
