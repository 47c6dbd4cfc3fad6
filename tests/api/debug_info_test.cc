// Which Python code made a node.
#include <gtest/gtest.h>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

// Names and lines as tensorflow.core.framework.graph_debug_info_pb2 reads them from the file.
TEST(SourceTraces, AreThoseOfTheDebugInfo) {
  const auto traces = Load("data/models/tf2_debug_info/model")->source_traces();
  ASSERT_TRUE(traces.ok()) << traces.status();
  EXPECT_EQ(traces->size(), 58u);
  const auto node = traces->find("file_prefix@__inference__traced_save_61");
  ASSERT_NE(node, traces->end());
  ASSERT_GE(node->second.size(), 2u);
  EXPECT_EQ(node->second[0], "make_fixtures_tf221.py:1815 in <module>");
  EXPECT_EQ(node->second[1], "fixture_lib.py:756 in main");
}

TEST(SourceTraces, NoneWithoutDebugInfo) {
  const auto traces = Load("data/models/tf2_counter/model")->source_traces();
  ASSERT_TRUE(traces.ok()) << traces.status();
  EXPECT_TRUE(traces->empty());
}

}  // namespace
}  // namespace savedmodel
