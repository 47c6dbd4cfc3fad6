// Serialised tensors (TensorProto) → Tensor.
#pragma once

#include <string>
#include <string_view>

#include "savedmodel/tensor.h"

namespace savedmodel {

namespace proto {
class TensorProto;
class TensorShapeProto;
}  // namespace proto

// A tensor from the bytes of a TensorProto, in any of its encodings.
// INVALID_ARGUMENT when it contradicts itself, UNIMPLEMENTED for dtypes and variants that cannot
// be stored in a file, RESOURCE_EXHAUSTED when a few bytes ask for more than 1 GiB.
StatusOr<Tensor> ParseTensorProto(std::string_view bytes);

StatusOr<Tensor> TensorFromProto(const proto::TensorProto& proto);
// As above; a large `tensor_content` is moved out of the proto instead of copied.
StatusOr<Tensor> TakeTensorFromProto(proto::TensorProto* proto);

// The tensor whose elements stand in the fields of `proto`, which says neither dtype nor shape (V1
// checkpoints). INVALID_ARGUMENT unless there are exactly as many as `shape` has.
StatusOr<Tensor> TensorFromFields(const proto::TensorProto& proto, DType dtype, const Shape& shape);

// The shape; unknown dimensions and rank are allowed. INVALID_ARGUMENT for dimensions below -1.
StatusOr<Shape> ShapeFromProto(const proto::TensorShapeProto& proto);

// The dtype numbered `number`, as values have it: reference types are INVALID_ARGUMENT.
StatusOr<DType> ValueDTypeFromNumber(int number);

// The dtype numbered `number`; a reference type (101, …) becomes its base type.
// UNIMPLEMENTED for types that TensorFlow knows and this library does not, INVALID_ARGUMENT else.
StatusOr<DType> DTypeFromNumber(int number);

}  // namespace savedmodel
