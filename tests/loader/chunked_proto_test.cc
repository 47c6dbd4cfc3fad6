#include "src/loader/chunked_proto.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "proto/savedmodel_chunks.pb.h"
#include "proto/savedmodel_model.pb.h"
#include "savedmodel/model.h"
#include "tests/loader/record_builder.h"

namespace savedmodel {
namespace {

// Graph defs whose chunks are `parts`, put together as `message` (a text ChunkedMessage) says.
struct Split {
  std::vector<std::string> parts;
  std::string message;

  StatusOr<proto::GraphDef> Join() const {
    RecordBuilder builder;
    proto::ChunkMetadata metadata;
    google::protobuf::TextFormat::ParseFromString(message, metadata.mutable_message());
    for (const std::string& part : parts) {
      proto::ChunkInfo* info = metadata.add_chunks();
      info->set_size(part.size());
      info->set_offset(builder.Add({part}));
    }
    builder.Add({metadata.SerializeAsString()});
    proto::GraphDef graph;
    const Status status =
        ReadChunked(*MemoryFileSystem({{"f", builder.bytes()}})->Read("f"), "f", &graph);
    if (!status.ok()) return status;
    return graph;
  }
};

template <class Message>
std::string Bytes(const std::string& text) {
  Message message;
  google::protobuf::TextFormat::ParseFromString(text, &message);
  return message.SerializeAsString();
}

TEST(ReadChunked, PutsFieldsWhereTheirTagsSay) {
  Split split;
  split.parts = {Bytes<proto::GraphDef>("versions { producer: 7 }"),
                 Bytes<proto::GraphDef>("node { name: 'a' } node { name: 'b' }"),
                 Bytes<proto::NodeDef>("op: 'Const'"), "con", "tent"};
  // The bytes come before the nodes that they belong to: order is by tags.
  split.message = R"(
    chunk_index: 0
    chunked_fields {
      field_tag { field: 1 } field_tag { index: 1 } field_tag { field: 5 }
      field_tag { map_key { s: "value" } } field_tag { field: 8 } field_tag { field: 4 }
      message { chunk_index: 3 }
    }
    chunked_fields {
      field_tag { field: 1 } field_tag { index: 1 } field_tag { field: 5 }
      field_tag { map_key { s: "value" } } field_tag { field: 8 } field_tag { field: 4 }
      message { chunk_index: 4 }
    }
    chunked_fields { message { chunk_index: 1 } }
    chunked_fields { field_tag { field: 1 } field_tag { index: 1 } message { chunk_index: 2 } })";
  const auto graph = split.Join();
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->versions().producer(), 7);
  ASSERT_EQ(graph->node_size(), 2);
  EXPECT_EQ(graph->node(0).name(), "a");
  EXPECT_EQ(graph->node(1).name(), "b");
  EXPECT_EQ(graph->node(1).op(), "Const");
  EXPECT_EQ(graph->node(1).attr().at("value").tensor().tensor_content(), "content");
}

TEST(ReadChunked, RefusesWhatDoesNotFit) {
  const std::string node = Bytes<proto::GraphDef>("node { name: 'a' }");
  const auto code = [&](const std::string& message) {
    return Split{{node}, message}.Join().status().code();
  };
  EXPECT_EQ(code("chunk_index: 0"), StatusCode::kOk);
  EXPECT_EQ(code("chunk_index: 1"), StatusCode::kInvalidArgument);
  EXPECT_EQ(code("chunk_index: 0 chunked_fields { message { chunk_index: 0 } }"),
            StatusCode::kInvalidArgument);
  const auto at = [&](const std::string& tags) {
    return code("chunked_fields { " + tags + " message { chunk_index: 0 } }");
  };
  EXPECT_EQ(at("field_tag { field: 99 }"), StatusCode::kInvalidArgument);
  EXPECT_EQ(at("field_tag { index: 0 }"), StatusCode::kInvalidArgument);
  EXPECT_EQ(at("field_tag { field: 1 } field_tag { index: 4000000000 }"),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(at("field_tag { field: 4 } field_tag { field: 1 }"), StatusCode::kInvalidArgument);
  EXPECT_EQ(at("field_tag { field: 1 } field_tag { index: 0 } field_tag { field: 5 }"),
            StatusCode::kInvalidArgument);
  EXPECT_EQ((Split{{"junk"}, "chunk_index: 0"}).Join().status().code(), StatusCode::kDataLoss);
}

std::string FileBytes(const std::string& path) {
  return std::string((*PosixFileSystem()->Read(path))->bytes());
}

// tools/split_saved_model.py made the files from tf2_module_basic, with `--size 100`.
TEST(ReadChunked, ModelsGiveTheSameResults) {
  const std::string model = "data/models/tf2_module_basic/model";
  TensorMap x;
  x["x"] = *Tensor::FromVector<float>({1, 2, 3, 4}, {1, 4});
  const auto expected = Load(model)->Signature("serving_default")(x);
  ASSERT_TRUE(expected.ok()) << expected.status();
  for (const std::string chunks : {"plain.cpb", "compressed.cpb"}) {
    std::map<std::string, std::string> files;
    files["m/saved_model.cpb"] = FileBytes("data/chunked/" + chunks);
    for (const std::string part : {"index", "data-00000-of-00001"}) {
      files["m/variables/variables." + part] = FileBytes(model + "/variables/variables." + part);
    }
    LoadOptions options;
    options.file_system = MemoryFileSystem(files);
    const auto loaded = Load("m", options);
    ASSERT_TRUE(loaded.ok()) << chunks << ": " << loaded.status();
    const auto results = loaded->Signature("serving_default")(x);
    ASSERT_TRUE(results.ok()) << chunks << ": " << results.status();
    EXPECT_EQ(results->at("y").ToVector<float>(), expected->at("y").ToVector<float>());
  }
}

}  // namespace
}  // namespace savedmodel
