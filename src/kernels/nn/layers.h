// Shape and build functions that more than one row uses.
#pragma once

#include "savedmodel/op.h"

namespace savedmodel {

Status MatMulShape(ShapeContext& ctx);
StatusOr<KernelPtr> BuildMatMul(BuildContext& build);

Status Conv2DShape(ShapeContext& ctx);
StatusOr<KernelPtr> BuildConv2D(BuildContext& build);

// Of a filter of qint8.
Status QuantizedConv2DShape(ShapeContext& ctx);
StatusOr<KernelPtr> BuildQuantizedConv2D(BuildContext& build);

}  // namespace savedmodel
