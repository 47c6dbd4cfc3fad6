#include "src/loader/deferred_parsing.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/wire_format_lite.h>

#include "proto/savedmodel_model.pb.h"
#include "savedmodel/span.h"
#include "src/base/status_macros.h"
#include "src/loader/attr_conversion.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {
namespace {

using google::protobuf::Message;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using Bytes = std::string_view;

// What is larger holds constants, which should not be copied once more.
constexpr size_t kMostDeferred = 16 << 20;

CodedInputStream StreamOf(Bytes bytes) {
  return CodedInputStream(reinterpret_cast<const uint8_t*>(bytes.data()),
                          static_cast<int>(bytes.size()));
}

bool Merge(Bytes bytes, Message* message) {
  CodedInputStream input = StreamOf(bytes);
  return message->MergeFromCodedStream(&input) && input.ConsumedEntireMessage();
}

// Of the message that `bytes` are, in order: take(contents) for each field `number`, rest(fields)
// for what lies between those. False when one of them says so, and for bytes that are no message.
bool Split(Bytes bytes, int number, FunctionRef<bool(Bytes)> rest, FunctionRef<bool(Bytes)> take) {
  const uint32_t taken = WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  CodedInputStream input = StreamOf(bytes);
  int done = 0;
  for (;;) {
    const int begin = input.CurrentPosition();
    const uint32_t tag = input.ReadTag();
    if (tag != 0 && tag != taken) {
      if (!WireFormatLite::SkipField(&input, tag)) return false;
      continue;
    }
    if (begin > done && !rest(bytes.substr(done, begin - done))) return false;
    if (tag == 0) return input.ConsumedEntireMessage();
    int length = 0;
    if (!input.ReadVarintSizeAsInt(&length)) return false;
    const Bytes contents = bytes.substr(input.CurrentPosition(), length);
    if (!input.Skip(length) || !take(contents)) return false;
    done = input.CurrentPosition();
  }
}

constexpr auto kDrop = [](Bytes) { return true; };

constexpr auto kIsUtf8 = [](Bytes bytes) {
  return google::protobuf::internal::IsStructurallyValidUTF8(bytes.data(),
                                                             static_cast<int>(bytes.size()));
};

// Whether the names in a NodeDef that stays unparsed are ones that the parser takes: a model with
// others is damaged, whether or not anybody asks for the node.
constexpr auto kHasValidNames = [](Bytes node) {
  using Node = proto::NodeDef;
  for (const int field : {Node::kNameFieldNumber, Node::kOpFieldNumber, Node::kInputFieldNumber,
                          Node::kDeviceFieldNumber}) {
    if (!Split(node, field, kDrop, kIsUtf8)) return false;
  }
  return true;
};

bool MergeFunction(Bytes bytes, proto::FunctionDef* function) {
  if (bytes.size() > kMostDeferred) return Merge(bytes, function);
  if (!Split(bytes, proto::FunctionDef::kNodeDefFieldNumber, kDrop, kHasValidNames)) return false;
  function->set_unparsed(bytes.data(), bytes.size());
  return Split(bytes, proto::FunctionDef::kSignatureFieldNumber, kDrop, [&](Bytes signature) {
    return Split(signature, proto::OpDef::kNameFieldNumber, kDrop, [&](Bytes name) {
      function->mutable_signature()->set_name(name.data(), name.size());
      return true;
    });
  });
}

bool MergeLibrary(Bytes bytes, proto::FunctionDefLibrary* library) {
  return Split(
      bytes, proto::FunctionDefLibrary::kFunctionFieldNumber,
      [&](Bytes part) { return Merge(part, library); },
      [&](Bytes part) { return MergeFunction(part, library->add_function()); });
}

bool MergeGraph(Bytes bytes, bool defer, proto::GraphDef* graph) {
  return Split(
      bytes, proto::GraphDef::kLibraryFieldNumber,
      [&](Bytes part) {
        if (!defer) return Merge(part, graph);
        if (!Split(part, proto::GraphDef::kNodeFieldNumber, kDrop, kHasValidNames)) return false;
        graph->mutable_unparsed()->append(part.data(), part.size());
        return true;
      },
      [&](Bytes part) { return MergeLibrary(part, graph->mutable_library()); });
}

bool MergeMetaGraph(Bytes bytes, proto::MetaGraphDef* meta_graph) {
  bool has_objects = false;
  const auto find = [&](Bytes objects) {
    has_objects = has_objects || !objects.empty();
    return true;
  };
  if (!Split(bytes, proto::MetaGraphDef::kObjectGraphDefFieldNumber, kDrop, find)) return false;
  const bool defer = has_objects && bytes.size() <= kMostDeferred;
  return Split(
      bytes, proto::MetaGraphDef::kGraphDefFieldNumber,
      [&](Bytes part) { return Merge(part, meta_graph); },
      [&](Bytes part) { return MergeGraph(part, defer, meta_graph->mutable_graph_def()); });
}

// The value of the Const node that `bytes` are; nothing when they are none.
Tensor ConstantOf(Bytes bytes) {
  proto::NodeDef node;
  Attrs attrs;
  if (!Merge(bytes, &node) || node.op() != "Const" || !TakeConstValue(&node, &attrs).ok()) {
    return Tensor();
  }
  const AttrValue* value = attrs.Find("value");
  return value == nullptr ? Tensor() : std::get<Tensor>(*value);
}

}  // namespace

Status ParseDeferring(std::string_view bytes, std::string_view what, proto::SavedModel* model) {
  if (bytes.size() <= INT32_MAX &&
      Split(
          bytes, proto::SavedModel::kMetaGraphsFieldNumber,
          [&](Bytes part) { return Merge(part, model); },
          [&](Bytes part) { return MergeMetaGraph(part, model->add_meta_graphs()); })) {
    return Status();
  }
  model->Clear();
  return ParseBinary(bytes, what, model);  // says what is wrong
}

Status ParseSignature(const proto::FunctionDef& function, proto::OpDef* signature) {
  if (Split(function.unparsed(), proto::FunctionDef::kSignatureFieldNumber, kDrop,
            [&](Bytes part) { return Merge(part, signature); })) {
    return Status();
  }
  return DataLoss("function '", function.signature().name(), "': its signature is damaged");
}

void ReadUnparsedConstants(const proto::GraphDef& graph, std::map<std::string, Tensor>* values) {
  const auto read = [&](Bytes node) {
    std::string name;
    const auto set_name = [&](Bytes part) {
      name = part;
      return true;
    };
    if (!Split(node, proto::NodeDef::kNameFieldNumber, kDrop, set_name)) return true;
    const auto it = values->find(name);
    if (it != values->end()) it->second = ConstantOf(node);
    return true;
  };
  Split(graph.unparsed(), proto::GraphDef::kNodeFieldNumber, kDrop, read);
}

}  // namespace savedmodel
