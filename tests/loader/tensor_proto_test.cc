#include "src/loader/tensor_proto.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "proto/savedmodel_graph.pb.h"

namespace savedmodel {
namespace {

StatusOr<Tensor> FromText(const std::string& text) {
  proto::TensorProto proto;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &proto)) << text;
  return ParseTensorProto(proto.SerializeAsString());
}

StatusCode CodeOf(const std::string& text) { return FromText(text).status().code(); }

TEST(TensorProto, LastValueStandsForTheRest) {
  const auto t =
      FromText("dtype: DT_FLOAT tensor_shape { dim { size: 4 } } float_val: 1 float_val: 2");
  EXPECT_EQ(t->ToVector<float>(), (std::vector<float>{1, 2, 2, 2}));
  const auto zeros = FromText("dtype: DT_INT64 tensor_shape { dim { size: 2 } }");
  EXPECT_EQ(zeros->ToVector<int64_t>(), (std::vector<int64_t>{0, 0}));
  const auto surplus = FromText("dtype: DT_INT32 tensor_shape { } int_val: 7 int_val: 8");
  EXPECT_EQ(surplus->ToVector<int32_t>(), (std::vector<int32_t>{7}));
}

TEST(TensorProto, ReadsEachFieldOfValues) {
  EXPECT_EQ(FromText("dtype: DT_DOUBLE double_val: 1.5")->ToVector<double>()[0], 1.5);
  EXPECT_EQ(FromText("dtype: DT_UINT8 int_val: 200")->ToVector<uint8_t>()[0], 200);
  EXPECT_EQ(FromText("dtype: DT_INT8 int_val: -3")->ToVector<int8_t>()[0], -3);
  EXPECT_EQ(FromText("dtype: DT_INT16 int_val: -300")->ToVector<int16_t>()[0], -300);
  EXPECT_EQ(FromText("dtype: DT_UINT32 uint32_val: 7")->ToVector<uint32_t>()[0], 7u);
  EXPECT_EQ(FromText("dtype: DT_UINT64 uint64_val: 7")->ToVector<uint64_t>()[0], 7u);
  EXPECT_EQ(FromText("dtype: DT_QINT32 int_val: 7")->ToVector<int32_t>()[0], 7);
  EXPECT_EQ(FromText("dtype: DT_BOOL bool_val: true")->ToVector<bool>()[0], true);
  EXPECT_EQ(FromText("dtype: DT_STRING string_val: 'ab'")->ToVector<std::string>()[0], "ab");
  EXPECT_EQ(float(FromText("dtype: DT_HALF half_val: 0x3e00")->ToVector<half>()[0]), 1.5f);
  EXPECT_EQ(float(FromText("dtype: DT_BFLOAT16 half_val: 0x3fc0")->ToVector<bfloat16>()[0]), 1.5f);
  const auto complex = FromText("dtype: DT_COMPLEX64 scomplex_val: 1 scomplex_val: -2");
  EXPECT_EQ(complex->ToVector<std::complex<float>>()[0], std::complex<float>(1, -2));
}

TEST(TensorProto, ReadsContent) {
  const auto t =
      FromText("dtype: DT_INT32 tensor_shape { dim { size: 1 } } tensor_content: '\\001\\0\\0\\0'");
  EXPECT_EQ(t->ToVector<int32_t>(), (std::vector<int32_t>{1}));
  const auto strings = FromText(
      "dtype: DT_STRING tensor_shape { dim { size: 3 } } tensor_content: '\\002\\000\\001abc'");
  EXPECT_EQ(strings->ToVector<std::string>(), (std::vector<std::string>{"ab", "", "c"}));
  const auto bools =
      FromText("dtype: DT_BOOL tensor_shape { dim { size: 2 } } tensor_content: '\\000\\007'");
  EXPECT_EQ(static_cast<const uint8_t*>(bools->raw_data())[1], 1);
}

TEST(TensorProto, MovesLargeContent) {
  proto::TensorProto proto;
  proto.set_dtype(proto::DT_UINT8);
  proto.mutable_tensor_shape()->add_dim()->set_size(100'000);
  proto.set_tensor_content(std::string(100'000, '\5'));
  const void* bytes = proto.tensor_content().data();
  const auto t = TakeTensorFromProto(&proto);
  EXPECT_EQ(t->raw_data(), bytes);
  EXPECT_EQ(t->values<uint8_t>()[99'999], 5);
}

TEST(TensorProto, RejectsContradictions) {
  EXPECT_EQ(CodeOf(""), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("dtype: DT_FLOAT tensor_shape { dim { size: -1 } }"),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("dtype: DT_FLOAT tensor_shape { dim { size: -2 } }"),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("dtype: DT_FLOAT tensor_shape { unknown_rank: true }"),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("dtype: DT_FLOAT tensor_shape { dim { size: 4294967296 } "
                   "dim { size: 4294967296 } }"),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("dtype: DT_FLOAT tensor_content: 'abc'"), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("dtype: DT_STRING tensor_content: '\\005ab'"), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("dtype: DT_FLOAT_REF float_val: 2"), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("dtype: DT_VARIANT tensor_content: 'abc'"), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("dtype: DT_STRING tensor_content: '\\377'"), StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseTensorProto(std::string_view("\xff\xff", 2)).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(TensorProto, RefusesHugeTensorsFromFewBytes) {
  EXPECT_EQ(CodeOf("dtype: DT_FLOAT tensor_shape { dim { size: 1099511627776 } } float_val: 1"),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOf("dtype: DT_VARIANT tensor_shape { dim { size: 1099511627776 } }"),
            StatusCode::kResourceExhausted);
}

TEST(TensorProto, RefusesHandles) {
  EXPECT_EQ(CodeOf("dtype: DT_RESOURCE resource_handle_val { name: 'v' }"),
            StatusCode::kUnimplemented);
  EXPECT_EQ(CodeOf("dtype: DT_VARIANT variant_val { type_name: 'tensorflow::TensorList' }"),
            StatusCode::kUnimplemented);
  EXPECT_TRUE(FromText("dtype: DT_VARIANT tensor_shape { }").ok());
}

}  // namespace
}  // namespace savedmodel
