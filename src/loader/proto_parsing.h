// Bytes → protobuf messages, with limits and messages of our own. Internal to the loader.
#pragma once

#include <string>
#include <string_view>

#include "savedmodel/status.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace savedmodel {

// Parses `bytes` into `message`. DATA_LOSS, naming `what`, for what is no such message.
Status ParseBinary(std::string_view bytes, std::string_view what,
                   google::protobuf::Message* message);

// As above for the text form. INVALID_ARGUMENT with line and column.
Status ParseText(std::string_view text, std::string_view what, google::protobuf::Message* message);

// Whichever of the two `bytes` is.
Status ParseBinaryOrText(std::string_view bytes, std::string_view what,
                         google::protobuf::Message* message);

}  // namespace savedmodel
