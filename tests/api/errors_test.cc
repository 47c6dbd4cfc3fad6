// What a caller is told: each failure says where, what was found, and what was expected.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

namespace fs = std::filesystem;

// A copy of a model that tests may damage.
class Errors : public testing::Test {
 protected:
  Errors() {
    fs::copy("data/models/tf2_child_methods/model", directory_, fs::copy_options::recursive);
  }
  ~Errors() override { fs::remove_all(directory_); }

  void Truncate(const std::string& file, uintmax_t bytes) {
    fs::resize_file(directory_ / file, bytes);
  }

  const fs::path directory_ =
      fs::temp_directory_path() / ("savedmodel_errors_" + std::to_string(getpid()));
};

// `status` has `code` and its message holds all of `parts`.
void Expect(const Status& status, StatusCode code, const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status << "\n lacks " << part;
  }
}

const Tensor kInput = *Tensor::FromVector<float>({1, 2, 3}, {1, 3});

TEST_F(Errors, ValidModelRuns) {
  EXPECT_TRUE(Load(directory_)->Signature("serving_default")({{"x", kInput}}).ok());
}

TEST_F(Errors, MissingDirectory) {
  Expect(Load("/nonexistent/model").status(), StatusCode::kNotFound, {"/nonexistent/model"});
}

TEST_F(Errors, WrongTag) {
  LoadOptions options;
  options.tags = {"train"};
  Expect(Load(directory_, options).status(), StatusCode::kNotFound, {"train", "serve"});
}

TEST_F(Errors, UnknownSignature) {
  Expect(Load(directory_)->Signature("predict").status(), StatusCode::kNotFound,
         {"predict", "serving_default"});
}

TEST_F(Errors, WrongInputName) {
  const Function f = Load(directory_)->Signature("serving_default");
  Expect(f({{"y", kInput}}).status(), StatusCode::kInvalidArgument,
         {"serving_default", "'x' is missing", "found inputs 'y'", "expected 'x'"});
  Expect(f({}).status(), StatusCode::kInvalidArgument, {"serving_default", "x"});
  Expect(f({{"x", kInput}, {"z", kInput}}).status(), StatusCode::kInvalidArgument, {"z"});
}

TEST_F(Errors, WrongDtype) {
  const Function f = Load(directory_)->Signature("serving_default");
  Expect(f({{"x", Tensor::Vector<int32_t>({1, 2, 3})}}).status(), StatusCode::kInvalidArgument,
         {"x", "int32", "float"});
}

TEST_F(Errors, WrongShape) {
  const Function f = Load(directory_)->Signature("serving_default");
  Expect(f({{"x", Tensor::Vector<float>({1, 2, 3})}}).status(), StatusCode::kInvalidArgument,
         {"x", "[3]", "[?,3]"});
  Expect(f({{"x", *Tensor::FromVector<float>({1, 2}, {1, 2})}}).status(),
         StatusCode::kInvalidArgument, {"x", "[1,2]", "[?,3]"});
}

TEST_F(Errors, TruncatedModel) {
  const auto size = fs::file_size(directory_ / "saved_model.pb");
  for (const uintmax_t bytes : {size - 1, size / 2, size / 3}) {
    Truncate("saved_model.pb", bytes);
    Expect(Load(directory_).status(), StatusCode::kDataLoss, {"saved_model.pb"});
  }
}

TEST_F(Errors, DamagedCheckpoint) {
  const fs::path data = directory_ / "variables/variables.data-00000-of-00001";
  {
    std::fstream file(data, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(5);
    file.put('\x55');
  }
  Expect(Load(directory_).status(), StatusCode::kDataLoss, {"variables"});
  Truncate("variables/variables.index",
           fs::file_size(directory_ / "variables/variables.index") / 2);
  Expect(Load(directory_).status(), StatusCode::kDataLoss, {"variables.index"});
}

TEST_F(Errors, MissingVariableAndFunction) {
  auto model = Load(directory_);
  Expect(model->variable("left.v").status(), StatusCode::kNotFound, {"left.v"});
  Expect(model->function("left.nothing").status(), StatusCode::kNotFound, {"nothing"});
  Expect(model->root()["left"]["nothing"].status(), StatusCode::kNotFound, {"nothing"});
}

TEST(FailedHandles, AnswerWithTheirError) {
  const StatusOr<Model> model = Status(StatusCode::kNotFound, "no model");
  EXPECT_EQ(model->Signature("serving_default")({}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(model->root()["a"]["b"].variable().Read().status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace savedmodel
