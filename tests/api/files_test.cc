// Which files a model may consist of, and what its checkpoint must hold.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "savedmodel/model.h"
#include "tests/loader/bundle_builder.h"

namespace savedmodel {
namespace {

namespace fs = std::filesystem;

class Links : public testing::Test {
 protected:
  Links() {
    fs::create_directories(directory_);
    fs::copy("data/models/tf2_child_methods/model", directory_ / "model",
             fs::copy_options::recursive);
  }
  ~Links() override { fs::remove_all(directory_); }

  // Moves a file of the model to `target` and puts a link in its place.
  void Replace(const std::string& file, const fs::path& target) {
    fs::rename(model_ / file, target);
    fs::create_symlink(target, model_ / file);
  }

  const fs::path directory_ =
      fs::temp_directory_path() / ("savedmodel_links_" + std::to_string(getpid()));
  const fs::path model_ = directory_ / "model";
};

TEST_F(Links, MayNotLeaveTheModel) {
  for (const std::string file :
       {"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"}) {
    const fs::path outside = directory_ / "outside";
    Replace(file, outside);
    const Status status = Load(model_).status();
    EXPECT_EQ(status.code(), StatusCode::kPermissionDenied) << file << ": " << status;
    EXPECT_NE(status.message().find(file), std::string::npos) << status;
    LoadOptions options;
    options.follow_links = true;
    EXPECT_TRUE(Load(model_, options).ok()) << file;
    fs::rename(outside, model_ / file);
  }
}

TEST_F(Links, MayStayInTheModel) {
  Replace("variables/variables.index", model_ / "elsewhere");
  EXPECT_TRUE(Load(model_).ok());
  // The model itself may be reached by a link, and its path may be relative.
  fs::create_directory_symlink(model_, directory_ / "link");
  EXPECT_TRUE(Load(directory_ / "link").ok());
  EXPECT_TRUE(Load(fs::relative(directory_ / "link")).ok());
  EXPECT_TRUE(Load((model_ / "").string()).ok());
  EXPECT_TRUE(Load((model_ / "../link/.").string()).ok());
}

TEST_F(Links, MissingShardIsNotFound) {
  fs::remove(model_ / "variables/variables.data-00000-of-00001");
  EXPECT_EQ(Load(fs::relative(model_)).status().code(), StatusCode::kNotFound);
}

TEST_F(Links, LoopsEndInAStatus) {
  fs::remove(model_ / "saved_model.pb");
  fs::create_symlink("saved_model.pb", model_ / "saved_model.pb");
  EXPECT_EQ(Load(model_).status().code(), StatusCode::kInvalidArgument);
}

TEST(Checksums, AreCheckedUnlessLeftOut) {
  Bundle bundle;
  std::map<std::string, std::string> files;
  files["m/saved_model.pbtxt"] = R"(
    meta_graphs {
      object_graph_def {
        nodes { children { node_id: 1 local_name: "v" } user_object {} }
        nodes { variable { dtype: DT_FLOAT shape { dim { size: 2 } } name: "var" } }
      }
    })";
  bundle.AddFloats("var", {2}, {1, 2});
  bundle.data[0] = static_cast<char>(bundle.data[0] ^ 1);
  files.merge(bundle.Files("m/variables/variables"));
  LoadOptions options;
  options.file_system = MemoryFileSystem(files);
  EXPECT_EQ(Load("m", options).status().code(), StatusCode::kDataLoss);
  options.verify_checksums = false;
  const auto model = Load("m", options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->variable("v").Read()->ToVector<float>(), (std::vector<float>{1.00000012f, 2}));
}

TEST(Signatures, MayNotLieAboutDTypes) {
  LoadOptions options;
  options.file_system = MemoryFileSystem({{"m/saved_model.pbtxt", R"(
    meta_graphs {
      graph_def {
        node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }
        node { name: 'y' op: 'AddV2' input: 'x' input: 'x'
               attr { key: 'T' value { type: DT_FLOAT } } }
      }
      signature_def { key: 's' value {
        inputs { key: 'x' value { name: 'x:0' dtype: DT_INT16 tensor_shape {} } }
        outputs { key: 'y' value { name: 'y:0' dtype: DT_FLOAT tensor_shape {} } } } }
    })"}});
  const auto model = Load("m", options);
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = model->Signature("s");
  const TensorMap inputs = {{"x", Tensor::Scalar<int16_t>(1)}};
  EXPECT_EQ(f(inputs).status().code(), StatusCode::kInvalidArgument);
  const auto bound = f.Bind(inputs);
  EXPECT_EQ(bound.status().code(), StatusCode::kInvalidArgument);
}

// A model with float variable "kernel" of shape [2,3] and this checkpoint.
Status LoadWith(const Bundle& bundle) {
  std::map<std::string, std::string> files;
  files["m/saved_model.pbtxt"] = R"(
    meta_graphs {
      object_graph_def {
        nodes { children { node_id: 1 local_name: "w" } user_object {} }
        nodes {
          variable { dtype: DT_FLOAT shape { dim { size: 2 } dim { size: 3 } } name: "kernel" }
        }
      }
    })";
  files.merge(bundle.Files("m/variables/variables"));
  LoadOptions options;
  options.file_system = MemoryFileSystem(std::move(files));
  return Load("m", options).status();
}

TEST(Variables, MustBeInTheCheckpointAsTheModelHasThem) {
  const std::vector<float> six(6);
  Bundle good;
  good.AddFloats("kernel", {2, 3}, six);
  EXPECT_TRUE(LoadWith(good).ok()) << LoadWith(good);
  Bundle transposed, integers, absent;
  transposed.AddFloats("kernel", {3, 2}, six);
  integers.Add("kernel", proto::DT_INT32, {2, 3}, Bundle::Bytes(six));
  absent.AddFloats("bias", {3}, {1, 2, 3});
  for (const Bundle& bundle : {transposed, integers, absent}) {
    const Status status = LoadWith(bundle);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.message().find("kernel"), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace savedmodel
