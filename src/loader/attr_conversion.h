// Attributes of NodeDefs → Attrs.
#pragma once

#include <string>

#include "savedmodel/op.h"

namespace savedmodel {

namespace proto {
class AttrValue;
class NodeDef;
}  // namespace proto

// Adds the attributes of `node` to `attrs`, except internal ones (names that begin with '_').
// Placeholders take their values from `call_attrs` (may be null). The error names the attribute.
Status ConvertAttrs(const proto::NodeDef& node, const Attrs* call_attrs, Attrs* attrs);

// Moves attribute `value` of a Const node, when it is a tensor, out of `node` into `attrs`.
Status TakeConstValue(proto::NodeDef* node, Attrs* attrs);

}  // namespace savedmodel
