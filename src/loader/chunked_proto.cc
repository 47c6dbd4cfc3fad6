#include "src/loader/chunked_proto.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <vector>

#include "proto/savedmodel_chunks.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/proto_parsing.h"
#include "src/loader/record_file.h"

namespace savedmodel {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int kJoinVersion = 0;
constexpr uint64_t kMostElements = 1'000'000;  // that chunks may add by their index

bool IsMessage(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

// Parents come before what lies in them, elements in their order.
bool ComesBefore(const proto::ChunkedField* a, const proto::ChunkedField* b) {
  const int depth = std::min(a->field_tag_size(), b->field_tag_size());
  for (int i = 0; i < depth; ++i) {
    const proto::FieldIndex &x = a->field_tag(i), &y = b->field_tag(i);
    if (x.kind_case() != y.kind_case()) return x.kind_case() < y.kind_case();
    if (x.field() != y.field()) return x.field() < y.field();
    if (x.index() != y.index()) return x.index() < y.index();
    if (x.map_key().s() != y.map_key().s()) return x.map_key().s() < y.map_key().s();
  }
  return a->field_tag_size() < b->field_tag_size();
}

class Merger {
 public:
  Merger(RecordFile* file, const proto::ChunkMetadata& metadata)
      : file_(file), metadata_(metadata), used_(metadata.chunks_size()) {}

  // The parser has bounded how deep `chunked` nests.
  Status Merge(const proto::ChunkedMessage& chunked, Message* message) {
    if (chunked.has_chunk_index()) SM_RETURN_IF_ERROR(MergeChunk(chunked.chunk_index(), message));
    std::vector<const proto::ChunkedField*> fields;
    for (const proto::ChunkedField& field : chunked.chunked_fields()) fields.push_back(&field);
    std::stable_sort(fields.begin(), fields.end(), ComesBefore);
    for (const proto::ChunkedField* field : fields) {
      SM_RETURN_IF_ERROR(MergeField(*field, message));
    }
    return Status();
  }

 private:
  StatusOr<std::string> Chunk(uint64_t index) {
    if (index >= static_cast<uint64_t>(metadata_.chunks_size())) {
      return InvalidArgument("found chunk number ", index, ", the file lists ",
                             metadata_.chunks_size());
    }
    // Once only: else a small file could make a message without bounds.
    if (used_[index]) return InvalidArgument("chunk ", index, " stands in two places");
    used_[index] = true;
    const proto::ChunkInfo& info = metadata_.chunks(static_cast<int>(index));
    SM_ASSIGN_OR_RETURN(std::string bytes, file_->Read(info.offset()));
    if (bytes.size() != info.size()) {
      return DataLoss("chunk ", index, ": found ", bytes.size(), " bytes, expected ", info.size());
    }
    return bytes;
  }

  Status MergeChunk(uint64_t index, Message* message) {
    SM_ASSIGN_OR_RETURN(const std::string bytes, Chunk(index));
    google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
    google::protobuf::io::CodedInputStream coded(&stream);
    if (message->MergeFromCodedStream(&coded) && coded.ConsumedEntireMessage()) return Status();
    return DataLoss("chunk ", index, ": the ", bytes.size(), " bytes are no ",
                    message->GetDescriptor()->name(), " message");
  }

  // Goes down to the message or bytes that `field` names, making what is not there.
  Status MergeField(const proto::ChunkedField& field, Message* message) {
    for (int i = 0; i < field.field_tag_size(); ++i) {
      const auto number = static_cast<int>(field.field_tag(i).field());
      const FieldDescriptor* f = message->GetDescriptor()->FindFieldByNumber(number);
      if (f == nullptr || !field.field_tag(i).has_field()) {
        return InvalidArgument("a chunk is for field ", number, " of ",
                               message->GetDescriptor()->name(), ", which has none");
      }
      const bool has_more = i + 1 < field.field_tag_size();
      const proto::FieldIndex* next = has_more ? &field.field_tag(i + 1) : nullptr;
      if (f->is_map() || (f->is_repeated() && next != nullptr && next->has_index())) {
        if (next == nullptr) return Unfit(*f);
        SM_ASSIGN_OR_RETURN(message, f->is_map() ? MapValue(message, f, *next)
                                                 : Element(message, f, next->index()));
        ++i;
      } else if (f->is_repeated()) {
        if (has_more || !IsMessage(*f)) return Unfit(*f);
        message = message->GetReflection()->AddMessage(message, f);
      } else if (IsMessage(*f)) {
        message = message->GetReflection()->MutableMessage(message, f);
      } else {
        return has_more ? Unfit(*f) : AppendBytes(field.message(), message, f);
      }
    }
    return Merge(field.message(), message);
  }

  static Status Unfit(const FieldDescriptor& f) {
    return InvalidArgument("a chunk does not fit field ", f.full_name());
  }

  StatusOr<Message*> Element(Message* parent, const FieldDescriptor* f, uint64_t index) {
    const Reflection& reflection = *parent->GetReflection();
    if (!IsMessage(*f) || index >= kMostElements) return Unfit(*f);
    while (static_cast<uint64_t>(reflection.FieldSize(*parent, f)) <= index) {
      if (++added_ > kMostElements) return Unfit(*f);
      reflection.AddMessage(parent, f);
    }
    return reflection.MutableRepeatedMessage(parent, f, static_cast<int>(index));
  }

  static StatusOr<Message*> MapValue(Message* parent, const FieldDescriptor* f,
                                     const proto::FieldIndex& at) {
    const FieldDescriptor* key = f->message_type()->map_key();
    const FieldDescriptor* value = f->message_type()->map_value();
    if (key->cpp_type() != FieldDescriptor::CPPTYPE_STRING || !IsMessage(*value) ||
        at.map_key().type_case() != proto::FieldIndex::MapKey::kS) {
      return Unfit(*f);
    }
    const Reflection& reflection = *parent->GetReflection();
    Message* entry = nullptr;
    for (int i = 0; i < reflection.FieldSize(*parent, f) && entry == nullptr; ++i) {
      Message* candidate = reflection.MutableRepeatedMessage(parent, f, i);
      if (candidate->GetReflection()->GetString(*candidate, key) == at.map_key().s()) {
        entry = candidate;
      }
    }
    if (entry == nullptr) {
      entry = reflection.AddMessage(parent, f);
      entry->GetReflection()->SetString(entry, key, at.map_key().s());
    }
    return entry->GetReflection()->MutableMessage(entry, value);
  }

  Status AppendBytes(const proto::ChunkedMessage& chunked, Message* parent,
                     const FieldDescriptor* f) {
    if (f->type() != FieldDescriptor::TYPE_BYTES || !chunked.has_chunk_index() ||
        chunked.chunked_fields_size() > 0) {
      return Unfit(*f);
    }
    SM_ASSIGN_OR_RETURN(const std::string bytes, Chunk(chunked.chunk_index()));
    const Reflection& reflection = *parent->GetReflection();
    reflection.SetString(parent, f, reflection.GetString(*parent, f) + bytes);
    return Status();
  }

  RecordFile* file_;
  const proto::ChunkMetadata& metadata_;
  std::vector<bool> used_;  // chunks
  uint64_t added_ = 0;      // elements
};

}  // namespace

Status ReadChunked(std::shared_ptr<const FileContent> file, const std::string& name,
                   google::protobuf::Message* message) {
  SM_ASSIGN_OR_RETURN(RecordFile records, RecordFile::Open(std::move(file), name));
  SM_ASSIGN_OR_RETURN(const std::string last, records.ReadLast());
  proto::ChunkMetadata metadata;
  SM_RETURN_IF_ERROR(ParseBinary(last, StrCat(name, ": last record"), &metadata));
  const auto& bad = metadata.version().bad_consumers();
  if (metadata.version().join_version() > kJoinVersion ||
      std::count(bad.begin(), bad.end(), kJoinVersion) > 0) {
    return Unimplemented(name, ": the chunks need version ", metadata.version().join_version(),
                         " of how they are joined, found ", kJoinVersion, " here");
  }
  return Merger(&records, metadata).Merge(metadata.message(), message).At(name);
}

}  // namespace savedmodel
