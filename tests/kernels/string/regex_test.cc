// Characters of a class replaced: in texts of ASCII, and in others.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

std::vector<std::string> Replace(const std::string& pattern, const std::string& rewrite, bool all,
                                 const std::vector<std::string>& texts) {
  const auto model = LoadGraphDef(
      "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_STRING } } }\n"
      "node { name: 'y' op: 'StaticRegexReplace' input: 'x' attr { key: 'pattern' value { s: '" +
      pattern + "' } } attr { key: 'rewrite' value { s: '" + rewrite +
      "' } } attr { key: 'replace_global' value { b: " + (all ? "true" : "false") + " } } }");
  EXPECT_TRUE(model.ok()) << model.status();
  const Tensor x = *Tensor::FromVector(texts, Shape({static_cast<int64_t>(texts.size())}));
  const auto y = model->session().Run({{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(y.ok()) << y.status();
  const std::string* results = y->front().data<std::string>();
  return {results, results + texts.size()};
}

using Texts = std::vector<std::string>;

TEST(RegexReplaceTest, Classes) {
  const Texts texts = {"", "A1 b-2]",
                       "\xc3\xa9"
                       "1\xe2\x82\xac"};
  EXPECT_EQ(Replace("[^0-9]", "", true, texts), Texts({"", "12", "1"}));
  EXPECT_EQ(Replace("[0-9]", "<>", true, texts), Texts({"", "A<> b-<>]",
                                                        "\xc3\xa9"
                                                        "<>\xe2\x82\xac"}));
  EXPECT_EQ(Replace("[0-9]", "", false, texts), Texts({"", "A b-2]", "\xc3\xa9\xe2\x82\xac"}));
  EXPECT_EQ(Replace("[]1]", "_", true, texts), Texts({"", "A_ b-2_",
                                                      "\xc3\xa9"
                                                      "_\xe2\x82\xac"}));
  EXPECT_EQ(Replace("[^\\\\]1]", "", true, texts), Texts({"", "1]", "1"}));
  EXPECT_EQ(Replace("[[:alpha:]]", "", true, texts), Texts({"", "1 -2]", texts[2]}));
  EXPECT_EQ(Replace("[\\\\w]", "", true, texts), Texts({"", " -]", "\xc3\xa9\xe2\x82\xac"}));
}

TEST(RegexReplaceTest, MoreThanAClass) {
  const Texts texts = {"ab]12"};
  EXPECT_EQ(Replace("[a-z]+", "_", true, texts), Texts({"_]12"}));
  EXPECT_EQ(Replace("[a-z]]", "_", true, texts), Texts({"a_12"}));
  EXPECT_EQ(Replace("[a-z][a-z]", "_", true, texts), Texts({"_]12"}));
  EXPECT_EQ(Replace("[0-9]", "\\\\0\\\\0", true, texts), Texts({"ab]1122"}));
}

}  // namespace
}  // namespace savedmodel
