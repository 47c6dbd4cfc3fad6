// TensorFlow's TensorProto, as ParseTensor and SerializeTensor use it.
#pragma once

#include <string>
#include <string_view>

#include "savedmodel/op.h"

namespace savedmodel {

// The tensor is allocated from `budget`. INVALID_ARGUMENT where the bytes are no TensorProto, or
// one of resources or variants.
StatusOr<Tensor> ParseTensorProto(std::string_view bytes, std::shared_ptr<MemoryBudget> budget);

// UNIMPLEMENTED for resources and variants.
StatusOr<std::string> SerializeTensorProto(const Tensor& tensor);

}  // namespace savedmodel
