// TensorFlow's TensorProto, as ParseTensor and SerializeTensor use it.
#pragma once

#include <string>
#include <string_view>

#include "savedmodel/op.h"
#include "savedmodel/tensor_proto.h"

namespace savedmodel {

// The tensor is allocated from `budget`. INVALID_ARGUMENT where the bytes are no TensorProto, or
// one of resources or variants.
StatusOr<Tensor> ParseTensorProto(std::string_view bytes, std::shared_ptr<MemoryBudget> budget);

}  // namespace savedmodel
