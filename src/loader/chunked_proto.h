// Messages too large for one file, split into chunks: saved_model.cpb.
#pragma once

#include <memory>
#include <string>

#include "savedmodel/file_system.h"
#include "savedmodel/status.h"

namespace google::protobuf {
class Message;
}

namespace savedmodel {

// Puts the chunks of `file` together to `message`; messages begin with `name`. DATA_LOSS for a
// damaged file, INVALID_ARGUMENT for chunks that do not fit the message, UNIMPLEMENTED for a
// format this library does not know.
Status ReadChunked(std::shared_ptr<const FileContent> file, const std::string& name,
                   google::protobuf::Message* message);

}  // namespace savedmodel
