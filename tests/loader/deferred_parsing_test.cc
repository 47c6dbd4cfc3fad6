#include "src/loader/deferred_parsing.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "proto/savedmodel_model.pb.h"
#include "savedmodel/model.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {
namespace {

const std::string kLibrary = R"(
  library { function {
    signature { name: "f" input_arg { name: "x" type: DT_FLOAT }
                output_arg { name: "y" type: DT_FLOAT } }
    node_def { name: "n" op: "Neg" input: "x" attr { key: "T" value { type: DT_FLOAT } } }
    ret { key: "y" value: "n:y:0" } } })";
const std::string kNodes = R"(
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "y" op: "Neg" input: "x" attr { key: "T" value { type: DT_FLOAT } } }
  node { name: "c" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
         attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 7 } } } })";
const std::string kObjects = R"(
  object_graph_def {
    nodes { children { node_id: 1 local_name: "f" } children { node_id: 2 local_name: "c" }
            user_object { identifier: "_generic_user_object" } }
    nodes { bare_concrete_function { concrete_function_name: "f" argument_keywords: "x"
                                     allowed_positional_arguments: 1 } }
    nodes { constant { operation: "c" } }
    concrete_functions { key: "f" value {
      canonicalized_input_signature { tuple_value {
        values { tuple_value { values { tensor_spec_value {
          name: "x" shape { dim { size: 2 } } dtype: DT_FLOAT } } } }
        values { dict_value {} } } }
      output_signature { tensor_spec_value { name: "y" shape { dim { size: 2 } }
                                             dtype: DT_FLOAT } } } } })";

proto::SavedModel FromText(const std::string& meta_graph) {
  proto::SavedModel model;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "saved_model_schema_version: 1 meta_graphs { meta_info_def { tags: 'serve' } " + meta_graph +
          " }",
      &model));
  return model;
}

std::string Bytes(const std::string& meta_graph) {
  return FromText(meta_graph).SerializeAsString();
}

std::string ModelBytes() { return Bytes("graph_def {" + kLibrary + kNodes + "}" + kObjects); }

StatusOr<Model> LoadBytes(std::string bytes) {
  LoadOptions options;
  options.file_system = MemoryFileSystem({{"m/saved_model.pb", std::move(bytes)}});
  return Load("m", options);
}

// `bytes` with the first byte of `what`, where that comes behind the last `before`, made that of a
// group that never ends.
std::string DamagedAt(std::string bytes, const std::string& before, const std::string& what) {
  const size_t at = bytes.find(what, bytes.rfind(before));
  EXPECT_NE(at, std::string::npos);
  bytes[at] = '\x0b';
  return bytes;
}

const Tensor kX = *Tensor::FromVector<float>({1, -2}, {2});

TEST(DeferredParsing, LeavesBytesOfFunctionsAndOfGraphsBesideObjects) {
  for (const bool has_objects : {false, true}) {
    const std::string bytes =
        Bytes("graph_def {" + kLibrary + kNodes + "}" + (has_objects ? kObjects : ""));
    proto::SavedModel model;
    ASSERT_TRUE(ParseDeferring(bytes, "m", &model).ok());
    const proto::MetaGraphDef& meta_graph = model.meta_graphs(0);
    EXPECT_EQ(meta_graph.meta_info_def().tags(0), "serve");
    const proto::GraphDef& graph = meta_graph.graph_def();
    EXPECT_EQ(graph.node_size(), has_objects ? 0 : 3);
    EXPECT_EQ(graph.unparsed().empty(), !has_objects);
    ASSERT_EQ(graph.library().function_size(), 1);
    const proto::FunctionDef& function = graph.library().function(0);
    EXPECT_EQ(function.signature().name(), "f");
    EXPECT_EQ(function.signature().input_arg_size(), 0);
    EXPECT_EQ(function.node_def_size(), 0);
    proto::FunctionDef whole;
    ASSERT_TRUE(whole.ParseFromString(function.unparsed()));
    EXPECT_EQ(whole.node_def(0).op(), "Neg");
  }
}

TEST(DeferredParsing, RefusesWhatIsCutOffAsTheWholeParserDoes) {
  const std::string bytes = ModelBytes();
  for (size_t n = 0; n < bytes.size(); ++n) {
    proto::SavedModel deferred, whole;
    EXPECT_EQ(ParseDeferring(bytes.substr(0, n), "m", &deferred).code(),
              ParseBinary(bytes.substr(0, n), "m", &whole).code())
        << n;
  }
}

// Protocol buffers say that the parts of a message that comes twice are one message.
TEST(DeferredParsing, JoinsParts) {
  std::string parts;
  for (const std::string& part :
       {"graph_def {" + kNodes + "}", kObjects, "graph_def {" + kLibrary + "}"}) {
    parts += FromText(part).meta_graphs(0).SerializeAsString();
  }
  // Its one MetaGraph has less than 16384 bytes and more than 127.
  const std::string bytes = {'\x12', static_cast<char>(parts.size() | 0x80),
                             static_cast<char>(parts.size() >> 7)};
  const auto loaded = LoadBytes(bytes + parts);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(loaded->function("f")({{"x", kX}}).ok());
  EXPECT_TRUE(loaded->session().Run({{"x", kX}}, {"y"}, {}).ok());
}

TEST(DeferredParsing, PartsAreThereWhenAskedFor) {
  const auto model = LoadBytes(ModelBytes());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto y = model->function("f")({{"x", kX}});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(y->begin()->second.ToVector<float>(), (std::vector<float>{-1, 2}));
  const auto session = model->session().Run({{"x", kX}}, {"y", "c"}, {});
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ((*session)[0].ToVector<float>(), (std::vector<float>{-1, 2}));
  EXPECT_EQ((*session)[1].ToVector<int32_t>(), (std::vector<int32_t>{7}));
}

TEST(DeferredParsing, DamageIsReportedWhenTheyAreAskedFor) {
  // In the library, which is behind the nodes: the key of an attribute.
  const auto function = LoadBytes(DamagedAt(ModelBytes(), "Neg", "\x0a\x01T"));
  ASSERT_TRUE(function.ok()) << function.status();
  EXPECT_EQ(function->function("f")({{"x", kX}}).status().code(), StatusCode::kDataLoss);
  EXPECT_TRUE(function->session().Run({{"x", kX}}, {"y"}, {}).ok());

  // In the main graph.
  const auto graph = LoadBytes(DamagedAt(ModelBytes(), "Placeholder",
                                         "\x0a\x05"
                                         "dtype"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_TRUE(graph->function("f")({{"x", kX}}).ok());
  EXPECT_EQ(graph->session().Run({{"x", kX}}, {"y"}, {}).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(graph->Clone()->session().Run({{"x", kX}}, {"y"}, {}).status().code(),
            StatusCode::kDataLoss);
}

TEST(DeferredParsing, NamesThatAreNoTextAreReportedAtOnce) {
  for (const char* name : {"Placeholder", "Neg"}) {
    std::string bytes = ModelBytes();
    bytes[bytes.rfind(name)] = '\xff';
    proto::SavedModel whole;
    EXPECT_EQ(LoadBytes(bytes).status().code(), ParseBinary(bytes, "m", &whole).code()) << name;
  }
}

TEST(DeferredParsing, ConstantObjectsAreFound) {
  const auto absent = LoadBytes(Bytes("graph_def {" + kLibrary + "}" + kObjects));
  EXPECT_EQ(absent.status().code(), StatusCode::kInvalidArgument) << absent.status();
  EXPECT_NE(absent.status().message().find("Const node 'c'"), std::string::npos);
}

}  // namespace
}  // namespace savedmodel
