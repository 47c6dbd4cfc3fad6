/// Status and StatusOr as abseil's, for hosts that use it.
///
///   absl::StatusOr<savedmodel::Model> model = savedmodel::ToAbsl(savedmodel::Load(path));
///
/// The one public header that includes abseil. Include it only in a host that links
/// absl::status and absl::statusor, of any version; the library itself needs neither.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <string>
#include <utility>

#include "savedmodel/status.h"

namespace savedmodel {

/// The same code and message.
inline absl::Status ToAbsl(const Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.code()), status.message());
}

/// The value, or the same code and message.
template <class T>
absl::StatusOr<T> ToAbsl(StatusOr<T> result) {
  if (!result.ok()) return ToAbsl(result.status());
  return std::move(result).value();
}

/// The same code and message; payloads are left behind.
inline Status FromAbsl(const absl::Status& status) {
  return Status(static_cast<StatusCode>(status.code()),
                std::string(status.message().data(), status.message().size()));
}

}  // namespace savedmodel
