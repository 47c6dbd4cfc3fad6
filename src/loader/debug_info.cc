#include "src/loader/debug_info.h"

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {
namespace {

std::string LineText(const proto::GraphDebugInfo& info,
                     const proto::GraphDebugInfo::FileLineCol& at) {
  const bool known = at.file_index() >= 0 && at.file_index() < info.files_size();
  return StrCat(known ? info.files(at.file_index()) : std::string("?"), ":", at.line(), " in ",
                at.func());
}

// A trace has its lines itself, or by number in a table that traces share.
std::vector<std::string> Lines(const proto::GraphDebugInfo& info,
                               const proto::GraphDebugInfo::StackTrace& trace) {
  std::vector<std::string> lines;
  for (const auto& at : trace.file_line_cols()) lines.push_back(LineText(info, at));
  for (const uint64_t id : trace.frame_id()) {
    const auto frame = info.frames_by_id().find(id);
    if (frame != info.frames_by_id().end()) lines.push_back(LineText(info, frame->second));
  }
  return lines;
}

}  // namespace

StatusOr<SourceTraces> ReadDebugInfo(const FileSystem& files, const std::string& directory) {
  SourceTraces traces;
  const std::string path = directory + "/debug/saved_model_debug_info.pb";
  if (directory.empty() || !files.Exists(path)) return traces;
  SM_ASSIGN_OR_RETURN(const std::shared_ptr<const FileContent> content, files.Read(path));
  proto::GraphDebugInfo info;
  SM_RETURN_IF_ERROR(ParseBinary(content->bytes(), path, &info));
  for (const auto& [node, trace] : info.traces()) traces[node] = Lines(info, trace);
  for (const auto& [node, id] : info.name_to_trace_id()) {
    const auto trace = info.traces_by_id().find(id);
    if (trace != info.traces_by_id().end()) traces[node] = Lines(info, trace->second);
  }
  return traces;
}

}  // namespace savedmodel
