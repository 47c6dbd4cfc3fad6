// Macros that pass errors on, and constructors of common errors.
#pragma once

#include <initializer_list>
#include <utility>

#include "savedmodel/status.h"
#include "src/base/strcat.h"

#define SM_CONCAT_INNER(a, b) a##b
#define SM_CONCAT(a, b) SM_CONCAT_INNER(a, b)

// Returns from the function when `expr`, a Status, is not OK.
#define SM_RETURN_IF_ERROR(expr)                                      \
  do {                                                                \
    if (::savedmodel::Status sm_status_ = (expr); !sm_status_.ok()) { \
      return sm_status_;                                              \
    }                                                                 \
  } while (false)

// `SM_ASSIGN_OR_RETURN(auto x, F());` sets x to F's value, or returns F's error.
#define SM_ASSIGN_OR_RETURN(lhs, expr) \
  SM_ASSIGN_OR_RETURN_INNER(SM_CONCAT(sm_result_, __LINE__), lhs, expr)
#define SM_ASSIGN_OR_RETURN_INNER(result, lhs, expr) \
  auto result = (expr);                              \
  if (!result.ok()) return result.status();          \
  lhs = std::move(result).value()

// Returns InvalidArgument built from the remaining arguments unless `condition`.
#define SM_CHECK_ARG(condition, ...)                                     \
  do {                                                                   \
    if (!(condition)) return ::savedmodel::InvalidArgument(__VA_ARGS__); \
  } while (false)

namespace savedmodel {

Status MakeError(StatusCode code, std::initializer_list<StrPiece> message);

template <class... Args>
Status InvalidArgument(const Args&... args) {
  return MakeError(StatusCode::kInvalidArgument, {StrPiece(args)...});
}
template <class... Args>
Status NotFound(const Args&... args) {
  return MakeError(StatusCode::kNotFound, {StrPiece(args)...});
}
template <class... Args>
Status FailedPrecondition(const Args&... args) {
  return MakeError(StatusCode::kFailedPrecondition, {StrPiece(args)...});
}
template <class... Args>
Status Unimplemented(const Args&... args) {
  return MakeError(StatusCode::kUnimplemented, {StrPiece(args)...});
}
template <class... Args>
Status ResourceExhausted(const Args&... args) {
  return MakeError(StatusCode::kResourceExhausted, {StrPiece(args)...});
}
template <class... Args>
Status DataLoss(const Args&... args) {
  return MakeError(StatusCode::kDataLoss, {StrPiece(args)...});
}
template <class... Args>
Status OutOfRange(const Args&... args) {
  return MakeError(StatusCode::kOutOfRange, {StrPiece(args)...});
}
template <class... Args>
Status Internal(const Args&... args) {
  return MakeError(StatusCode::kInternal, {StrPiece(args)...});
}

}  // namespace savedmodel
