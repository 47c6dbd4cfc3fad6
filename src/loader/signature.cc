// SignatureDef → LoadedSignature.
#include <algorithm>
#include <utility>

#include "proto/savedmodel_model.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/meta_graph.h"
#include "src/loader/tensor_proto.h"

namespace savedmodel {
namespace {

SignatureTensor Part(const std::string& key, const std::string& tensor_name, DType dtype,
                     Shape shape) {
  SignatureTensor part;
  part.key = key;
  part.tensor_name = tensor_name;
  part.dtype = dtype;
  part.shape = std::move(shape);
  return part;
}

// A sparse tensor's parts: `shape` is that of the dense tensor it stands for.
void AddSparseParts(const proto::TensorInfo::CooSparse& coo, SignatureTensor* tensor) {
  const int64_t rank = tensor->shape.known_rank() ? tensor->shape.rank() : -1;
  tensor->parts = {
      Part("values", coo.values_tensor_name(), tensor->dtype, Shape({-1})),
      Part("indices", coo.indices_tensor_name(), DType::kInt64, Shape({-1, rank})),
      Part("dense_shape", coo.dense_shape_tensor_name(), DType::kInt64, Shape({rank})),
  };
}

// Composites in composites recurse; the parser's limit on nesting bounds the depth.
StatusOr<SignatureTensor> TensorFromInfo(const std::string& key, const proto::TensorInfo& info) {
  SignatureTensor tensor;
  tensor.key = key;
  tensor.is_ref = info.dtype() >= proto::DT_FLOAT_REF;
  if (StatusOr<DType> dtype = DTypeFromNumber(info.dtype()); dtype.ok()) tensor.dtype = *dtype;
  SM_ASSIGN_OR_RETURN(tensor.shape, ShapeFromProto(info.tensor_shape()));
  if (!info.has_tensor_shape()) tensor.shape = Shape::Unknown();
  switch (info.encoding_case()) {
    case proto::TensorInfo::kCooSparse:
      tensor.encoding = SignatureTensor::Encoding::kCooSparse;
      AddSparseParts(info.coo_sparse(), &tensor);
      break;
    case proto::TensorInfo::kCompositeTensor: {
      tensor.encoding = SignatureTensor::Encoding::kComposite;
      SM_ASSIGN_OR_RETURN(tensor.type_spec, TypeSpecFromProto(info.composite_tensor().type_spec()));
      for (const auto& component : info.composite_tensor().components()) {
        const std::string number = StrCat(tensor.parts.size());
        SM_ASSIGN_OR_RETURN(SignatureTensor part, TensorFromInfo(number, component));
        tensor.parts.push_back(std::move(part));
      }
      break;
    }
    default:
      tensor.tensor_name = info.name();
  }
  return tensor;
}

template <class Map>
Status FillTensors(const Map& infos, std::vector<SignatureTensor>* tensors) {
  for (const auto& [key, info] : infos) {
    StatusOr<SignatureTensor> tensor = TensorFromInfo(key, info);
    if (!tensor.ok()) return tensor.status().At(StrCat("'", key, "'"));
    tensors->push_back(std::move(tensor).value());
  }
  std::sort(tensors->begin(), tensors->end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  return Status();
}

}  // namespace

StatusOr<LoadedSignature> SignatureFromProto(const std::string& key,
                                             const proto::SignatureDef& proto) {
  LoadedSignature signature;
  signature.key = key;
  signature.method_name = proto.method_name();
  SM_RETURN_IF_ERROR(FillTensors(proto.inputs(), &signature.inputs));
  SM_RETURN_IF_ERROR(FillTensors(proto.outputs(), &signature.outputs));
  for (const auto& [name, value] : proto.defaults()) {
    StatusOr<Tensor> tensor = TensorFromProto(value);
    if (!tensor.ok()) return tensor.status().At(StrCat("default of '", name, "'"));
    signature.defaults.emplace_back(name, std::move(tensor).value());
  }
  std::sort(signature.defaults.begin(), signature.defaults.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return signature;
}

}  // namespace savedmodel
