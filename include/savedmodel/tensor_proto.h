/// Tensors as TensorFlow serializes them.
#pragma once

#include <string>

#include "savedmodel/export.h"
#include "savedmodel/status.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

/// The tensor in the bytes of a serialized TensorProto, in any of its encodings.
/// INVALID_ARGUMENT when it contradicts itself, UNIMPLEMENTED for variants and handles.
SAVEDMODEL_EXPORT StatusOr<Tensor> ParseTensorProto(const std::string& bytes);

/// The bytes of a TensorProto that holds `tensor`. UNIMPLEMENTED for variants and handles.
SAVEDMODEL_EXPORT StatusOr<std::string> SerializeTensorProto(const Tensor& tensor);

}  // namespace savedmodel
