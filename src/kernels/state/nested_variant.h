// Variants that hold tensors, which may hold variants in turn.
#pragma once

#include <algorithm>

#include "savedmodel/resource.h"
#include "src/base/status_macros.h"

namespace savedmodel {

// Knows how deep it is nested, so that no chain grows too long to be freed recursively.
class NestedVariant : public VariantValue {
 public:
  int depth() const { return depth_; }
  // To be called before `item` is put in.
  Status Admit(const Tensor& item) {
    constexpr int kMostDepth = 1000;
    const VariantRef* variants = item.data<VariantRef>();
    for (int64_t i = 0; variants != nullptr && i < item.num_elements(); ++i) {
      const auto* nested = dynamic_cast<const NestedVariant*>(variants[i].get());
      if (nested != nullptr) depth_ = std::max(depth_, nested->depth_ + 1);
    }
    SM_CHECK_ARG(depth_ <= kMostDepth, "variants are nested more than ", kMostDepth, " deep");
    return Status();
  }

 private:
  int depth_ = 0;
};

}  // namespace savedmodel
