#include "src/loader/saved_model_reader.h"

#include <gtest/gtest.h>

namespace savedmodel {
namespace {

const OpRegistry& NoOps() {
  static const OpRegistry* const registry = new OpRegistry(Span<const Span<const OpDef>>());
  return *registry;
}

// Reads a SavedModel whose text form is `meta_graphs`.
StatusOr<LoadedMetaGraph> Read(const std::string& meta_graphs, ReadOptions options = {}) {
  const auto files =
      MemoryFileSystem({{"m/saved_model.pbtxt", "saved_model_schema_version: 1\n" + meta_graphs}});
  return ReadSavedModel(*files, "m", NoOps(), options);
}

std::string MetaGraph(const std::string& tags, const std::string& rest = "") {
  return "meta_graphs { meta_info_def { " + tags + " } " + rest + " }\n";
}
const std::string kServe = "tags: 'serve'";

StatusCode CodeOf(const std::string& rest) { return Read(MetaGraph(kServe, rest)).status().code(); }

TEST(SavedModelReader, ChoosesTheMetaGraphByItsTags) {
  const std::string two = MetaGraph(kServe) + MetaGraph("tags: 'train' tags: 'gpu'");
  EXPECT_TRUE(Read(two).ok());
  const auto train = Read(two, {.tags = {"gpu", "train"}});
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ(train->tags, (std::vector<std::string>{"train", "gpu"}));
  const Status absent = Read(two, {.tags = {"gpu"}}).status();
  EXPECT_EQ(absent.code(), StatusCode::kNotFound);
  EXPECT_NE(absent.message().find("{serve}, {gpu, train}"), std::string::npos) << absent;
  EXPECT_EQ(Read(MetaGraph(""), {.tags = {"serve"}}).status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(Read(MetaGraph("")).ok());
  EXPECT_TRUE(Read(MetaGraph("tags: 'train'")).ok());
  const auto untagged = Read(MetaGraph(kServe) + MetaGraph(""));
  ASSERT_TRUE(untagged.ok()) << untagged.status();
  EXPECT_TRUE(untagged->tags.empty());
}

TEST(SavedModelReader, SaysWhatIsWrongWithTheFile) {
  const auto code = [](std::map<std::string, std::string> files) {
    return ReadTagSets(*MemoryFileSystem(std::move(files)), "m").status().code();
  };
  EXPECT_EQ(code({}), StatusCode::kNotFound);
  EXPECT_EQ(code({{"m/saved_model.pb", "\xff\xff"}}), StatusCode::kDataLoss);
  EXPECT_EQ(code({{"m/saved_model.pb", "saved_model_schema_version: 1"}}), StatusCode::kDataLoss);
  EXPECT_EQ(code({{"m/saved_model.pbtxt", "no_such_field: 1"}}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{"m/saved_model.pbtxt", "saved_model_schema_version: 2"}}),
            StatusCode::kUnimplemented);
  EXPECT_EQ(code({{"m/saved_model.cpb", ""}}), StatusCode::kDataLoss);
  EXPECT_EQ(code({{"m/saved_model.pbtxt", std::string("\x08\x01", 2)}}), StatusCode::kOk);
}

TEST(SavedModelReader, ReadsSignaturesOfAllEncodings) {
  const auto model = Read(MetaGraph(kServe, R"(
    signature_def { key: 'serving_default' value {
      method_name: 'tensorflow/serving/predict'
      inputs { key: 'x' value { name: 'x:0' dtype: DT_FLOAT_REF
                                tensor_shape { dim { size: -1 } dim { size: 3 } } } }
      inputs { key: 'any' value { name: 'any:1' dtype: DT_INT64 } }
      outputs { key: 's' value { dtype: DT_FLOAT tensor_shape { dim { size: 2 } dim { size: 4 } }
        coo_sparse { values_tensor_name: 'v:0' indices_tensor_name: 'i:0'
                     dense_shape_tensor_name: 'd:0' } } }
      defaults { key: 'any' value { dtype: DT_INT64 int64_val: 7 } } } })"));
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->signatures.size(), 1u);
  const LoadedSignature& s = model->signatures[0];
  EXPECT_EQ(s.inputs[0].key, "any");
  EXPECT_FALSE(s.inputs[0].shape.known_rank());
  EXPECT_EQ(s.inputs[1].shape, Shape({-1, 3}));
  EXPECT_TRUE(s.inputs[1].is_ref);
  ASSERT_EQ(s.outputs[0].parts.size(), 3u);
  EXPECT_EQ(s.outputs[0].parts[1].tensor_name, "i:0");
  EXPECT_EQ(s.outputs[0].parts[1].shape, Shape({-1, 2}));
  EXPECT_EQ(s.defaults[0].second.ToVector<int64_t>(), (std::vector<int64_t>{7}));
}

TEST(SavedModelReader, KeepsAssetsBelowTheModel) {
  const auto with = [](const std::string& name) {
    return MetaGraph(kServe,
                     "asset_file_def { tensor_info { name: 'a:0' } filename: '" + name + "' }");
  };
  EXPECT_EQ(Read(with("sub/vocab.txt"))->assets[0].path, "m/assets/sub/vocab.txt");
  for (const char* bad :
       {"", "/etc/passwd", "../x", "a/../../x", ".", "a//b", "file://x", "a\\000b"}) {
    EXPECT_EQ(Read(with(bad)).status().code(), StatusCode::kInvalidArgument) << bad;
  }
}

TEST(SavedModelReader, FindsWhatRestoresAndInitialises) {
  const std::string nodes =
      "graph_def { node { name: 'init' op: 'NoOp' } node { name: 'name' op: 'Const' } }";
  const auto model = Read(MetaGraph(kServe, nodes + R"(
    collection_def { key: 'legacy_init_op' value { node_list { value: 'init' } } }
    saver_def { filename_tensor_name: 'name:0' restore_op_name: 'init' })"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->init_op, "init");
  EXPECT_EQ(model->saver->filename_tensor, "name:0");
  EXPECT_EQ(CodeOf("collection_def { key: 'saved_model_main_op' value { node_list { "
                   "value: 'ghost' } } }"),
            StatusCode::kNotFound);
  EXPECT_EQ(CodeOf("collection_def { key: 'saved_model_main_op' value { node_list { } } }"),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf("saver_def { restore_op_name: 'ghost' }"), StatusCode::kNotFound);
}

TEST(ObjectGraph, ReadsNodesOfAllKinds) {
  const auto model = Read(MetaGraph(kServe, R"(object_graph_def {
    nodes { children { node_id: 1 local_name: 'v' } children { node_id: 2 local_name: 'f' }
            user_object { identifier: '_generic_user_object' } }
    nodes { variable { dtype: DT_FLOAT shape { dim { size: 2 } } trainable: true name: 'v' } }
    nodes { function { concrete_functions: 'g' function_spec { is_method: true fullargspec {
      named_tuple_value { name: 'FullArgSpec'
        values { key: 'args' value { list_value { values { string_value: 'self' }
                                                  values { string_value: 'x' } } } }
        values { key: 'varargs' value { none_value { } } }
        values { key: 'varkw' value { string_value: 'kw' } }
        values { key: 'defaults' value { tuple_value { values { int64_value: 3 } } } } } } } } }
    concrete_functions { key: 'g' value { bound_inputs: 1
      canonicalized_input_signature { tuple_value { values { tensor_spec_value {
        name: 'x' dtype: DT_INT32 shape { unknown_rank: true } } } } }
      output_signature { dict_value { fields { key: 'b' value { bool_value: true } }
                                      fields { key: 'a' value { float64_value: 1.5 } } } } } } })"));
  ASSERT_TRUE(model.ok()) << model.status();
  const ObjectGraph& objects = *model->objects;
  ASSERT_EQ(objects.nodes.size(), 3u);
  EXPECT_EQ(objects.nodes[0].FindChild("f"), 2);
  EXPECT_EQ(objects.nodes[0].FindChild("g"), -1);
  EXPECT_EQ(objects.nodes[1].variable.shape, Shape({2}));
  const FunctionSpec& spec = objects.nodes[2].spec;
  EXPECT_EQ(spec.args, (std::vector<std::string>{"self", "x"}));
  EXPECT_EQ(spec.varkw, "kw");
  EXPECT_EQ(spec.defaults[0].int_value, 3);
  const ConcreteFunction& g = objects.concrete_functions.at("g");
  EXPECT_EQ(g.input_signature.items[0].dtype, DType::kInt32);
  EXPECT_EQ(g.output_signature.keys, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(g.output_signature.Find("a")->float_value, 1.5);
}

TEST(ObjectGraph, RejectsReferencesToNodesThatAreNotThere) {
  const StatusCode bad = StatusCode::kInvalidArgument;
  EXPECT_EQ(CodeOf("object_graph_def { nodes { children { node_id: 1 } } }"), bad);
  EXPECT_EQ(CodeOf("object_graph_def { nodes { children { node_id: -1 } } }"), bad);
  EXPECT_EQ(CodeOf("object_graph_def { nodes { slot_variables { slot_variable_node_id: 5 } } }"),
            bad);
  EXPECT_EQ(CodeOf("object_graph_def { nodes { asset { asset_file_def_index: 0 } } }"), bad);
  EXPECT_EQ(CodeOf("object_graph_def { nodes { } concrete_functions { key: 'f' value { "
                   "bound_inputs: 9 } } }"),
            bad);
}

TEST(ObjectGraph, MatchesCheckpointsByNamesOfChildren) {
  ObjectGraph objects;
  objects.nodes.resize(4);
  objects.nodes[0].children = {{"a", 1}, {"optimizer", 2}};
  objects.nodes[1].kind = ObjectKind::kVariable;
  objects.nodes[2].slots = {{1, "m", 3}};
  objects.nodes[3].kind = ObjectKind::kVariable;
  std::vector<CheckpointNode> checkpoint(4);  // in another order
  checkpoint[0].children = {{"optimizer", 1}, {"a", 3}, {"root", 0}};
  checkpoint[1].slots = {{3, "v", 0}, {3, "m", 2}};
  EXPECT_EQ(MatchCheckpointObjects(objects, checkpoint), (std::vector<int>{0, 3, 1, 2}));
}

}  // namespace
}  // namespace savedmodel
