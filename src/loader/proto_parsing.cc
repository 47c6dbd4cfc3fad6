#include "src/loader/proto_parsing.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <algorithm>

#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

constexpr int kMaxNesting = 100;  // as the binary parser's default

class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (!text_.empty()) return;
    text_ = StrCat("line ", line + 1, ", column ", column + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

bool LooksLikeText(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, 256);
  return std::all_of(head.begin(), head.end(), [](char c) {
    return (c >= ' ' && c < 127) || c == '\n' || c == '\t' || c == '\r';
  });
}

}  // namespace

Status ParseBinary(std::string_view bytes, std::string_view what,
                   google::protobuf::Message* message) {
  if (bytes.size() > INT32_MAX) {
    return ResourceExhausted(what, ": found ", bytes.size(), " bytes, expected at most 2 GiB - 1");
  }
  if (!message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return DataLoss(what, ": the ", bytes.size(), " bytes are no ",
                    message->GetDescriptor()->name(), " message (cut off or damaged)");
  }
  return Status();
}

Status ParseText(std::string_view text, std::string_view what, google::protobuf::Message* message) {
  if (text.size() > INT32_MAX) {
    return ResourceExhausted(what, ": found ", text.size(), " bytes, expected at most 2 GiB - 1");
  }
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxNesting);
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  if (!parser.Parse(&stream, message)) {
    return InvalidArgument(what, ": no ", message->GetDescriptor()->name(),
                           " message in text form: ", error.text());
  }
  return Status();
}

Status ParseBinaryOrText(std::string_view bytes, std::string_view what,
                         google::protobuf::Message* message) {
  Status binary = ParseBinary(bytes, what, message);
  if (binary.ok() || !LooksLikeText(bytes)) return binary;
  message->Clear();
  return ParseText(bytes, what, message);
}

}  // namespace savedmodel
