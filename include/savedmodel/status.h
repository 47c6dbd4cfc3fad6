/// Status and StatusOr<T>: how every call of this library reports failure.
///
/// Codes and spelling are those of abseil and TensorFlow, so that a host converts them one to one.
/// Nothing here throws.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "savedmodel/export.h"

namespace savedmodel {

/// The canonical error codes, numbered as in TensorFlow, abseil and gRPC.
enum class StatusCode : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// The code's canonical name, for example "INVALID_ARGUMENT".
SAVEDMODEL_EXPORT const char* StatusCodeName(StatusCode code);

/// Success, or a code with a message of the form
/// `place: what, found X, expected Y; what to do`.
///
/// A default-constructed Status is OK. Copies share nothing; any thread may hold its own copy.
class [[nodiscard]] SAVEDMODEL_EXPORT Status {
 public:
  Status() = default;
  /// A status with `code` and `message`. The message of an OK status is dropped.
  Status(StatusCode code, std::string message)
      : code_(code), message_(code == StatusCode::kOk ? std::string() : std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  /// "OK", or "CODE_NAME: message".
  std::string ToString() const;

  /// The same status with `place` put in front of its message, as `place › message`.
  /// OK stays OK. Callers use it while an error travels outwards.
  Status At(const std::string& place) const;

  friend bool operator==(const Status& a, const Status& b) {
    return a.code_ == b.code_ && a.message_ == b.message_;
  }
  friend bool operator!=(const Status& a, const Status& b) { return !(a == b); }
  friend std::ostream& operator<<(std::ostream& os, const Status& s) { return os << s.ToString(); }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status OkStatus() { return Status(); }

namespace internal {
/// Ends the process with `status` on standard error: the value of a failed StatusOr was asked for.
[[noreturn]] SAVEDMODEL_EXPORT void DieOfBadAccess(const Status& status);

template <class T, class = void>
struct CarriesError : std::false_type {};
template <class T>
struct CarriesError<T, std::void_t<decltype(T::FromError(std::declval<const Status&>()))>>
    : std::true_type {};
}  // namespace internal

/// A value, or the Status that says why there is none.
///
/// Handles of this library (Model, Function, Object) can themselves carry an error; for these a
/// failed StatusOr still dereferences, to a handle whose every call returns that error. So
/// `Load(path)->Signature("serving_default")(inputs)` needs no check in between. For all other
/// types dereferencing a failed StatusOr ends the process, as with absl::StatusOr.
template <class T>
class [[nodiscard]] StatusOr {
 public:
  using value_type = T;

  StatusOr() : StatusOr(Status(StatusCode::kUnknown, "empty StatusOr")) {}
  /// A failure. An OK status without a value becomes INTERNAL.
  StatusOr(Status status)  // NOLINT: implicit by design
      : status_(status.ok() ? Status(StatusCode::kInternal, "OK status without a value")
                            : std::move(status)) {
    if constexpr (internal::CarriesError<T>::value) value_.emplace(T::FromError(status_));
  }
  /// A value, or anything that converts to one.
  template <class U = T, class = std::enable_if_t<std::is_convertible_v<U&&, T> &&
                                                  !std::is_same_v<std::decay_t<U>, Status> &&
                                                  !std::is_same_v<std::decay_t<U>, StatusOr<T>>>>
  StatusOr(U&& value)  // NOLINT: implicit by design
      : value_(std::forward<U>(value)) {}

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }

  const T& value() const& { return Get(); }
  T& value() & { return Get(); }
  T&& value() && { return std::move(Get()); }
  const T& operator*() const& { return Get(); }
  T& operator*() & { return Get(); }
  T&& operator*() && { return std::move(Get()); }
  const T* operator->() const { return &Get(); }
  T* operator->() { return &Get(); }

  /// The value, or `fallback` on failure.
  template <class U>
  T value_or(U&& fallback) const& {
    return ok() ? *value_ : static_cast<T>(std::forward<U>(fallback));
  }

 private:
  const T& Get() const {
    if (!value_) internal::DieOfBadAccess(status_);
    return *value_;
  }
  T& Get() {
    if (!value_) internal::DieOfBadAccess(status_);
    return *value_;
  }

  Status status_;
  std::optional<T> value_;
};

}  // namespace savedmodel
