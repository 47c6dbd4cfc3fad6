// Images whose format gives another rank than the op's shape says: TensorFlow returns them, which
// ops behind could not rely on.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "src/base/status_macros.h"
#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

// Images of one pixel, without transparency.
constexpr std::string_view kWebp(
    "RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\0\x07\x10\x11\x11\x88\x88\xfe\x07\0", 34);
constexpr std::string_view kGif(
    "GIF89a\1\0\1\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;", 35);

StatusOr<Shape> Decoded(const std::string& op, std::string_view image) {
  GraphText g;
  g.Input("contents", "", "DT_STRING");
  g.Bare("y", op, {"contents"}, op == "DecodeGif" ? "" : GraphText::Attr("channels", "i: 3"));
  SM_ASSIGN_OR_RETURN(const Model model, LoadGraphDef(g.text()));
  SM_ASSIGN_OR_RETURN(const auto y, model.Prune({"contents:0"}, {"y:0"})(
                                        {{"contents:0", Tensor::Scalar(std::string(image))}}));
  return y.at("y:0").shape();
}

struct Case {
  std::string op;
  std::string_view image;
  Shape expected;  // unknown: refused
};

class DecodeTest : public testing::TestWithParam<Case> {};

TEST_P(DecodeTest, ShapeIsTheOneThatOpsBehindRelyOn) {
  const auto& [op, image, expected] = GetParam();
  const StatusOr<Shape> shape = Decoded(op, image);
  if (expected.known_rank()) {
    ASSERT_TRUE(shape.ok()) << shape.status();
    EXPECT_EQ(*shape, expected);
  } else {
    EXPECT_EQ(shape.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(shape.status().ToString().find("DecodeImage"), std::string::npos) << shape.status();
  }
}

const Shape kStill({1, 1, 3}), kFrames({1, 1, 1, 3}), kRefused = Shape::Unknown();
INSTANTIATE_TEST_SUITE_P(
    Formats, DecodeTest,
    testing::Values(Case{"DecodeWebP", kWebp, kFrames}, Case{"DecodeGif", kWebp, kFrames},
                    Case{"DecodeImage", kWebp, kFrames}, Case{"DecodeJpeg", kWebp, kRefused},
                    Case{"DecodePng", kWebp, kRefused}, Case{"DecodeBmp", kWebp, kRefused},
                    Case{"DecodeJpeg", kGif, kStill}, Case{"DecodeGif", kGif, kFrames},
                    Case{"DecodeImage", kGif, kFrames}, Case{"DecodeWebP", kGif, kRefused}),
    [](const auto& info) {
      return info.param.op + (info.param.image == kWebp ? "OfWebp" : "OfGif");
    });

}  // namespace
}  // namespace savedmodel
