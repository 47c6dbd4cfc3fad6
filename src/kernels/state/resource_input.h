// Resource handles as inputs and outputs of kernels.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "savedmodel/op.h"
#include "savedmodel/resource.h"
#include "src/base/resource_table.h"
#include "src/base/status_macros.h"

namespace savedmodel {

// The object behind handle input `i`, which the input keeps alive. NOT_FOUND for a null handle,
// INVALID_ARGUMENT when it is no R; `kind` says what was expected.
template <class R>
StatusOr<R*> ResourceInput(const OpContext& ctx, int i, std::string_view kind) {
  const Tensor& handle = ctx.input(i);
  const ResourceRef* ref = handle.data<ResourceRef>();
  SM_CHECK_ARG(ref != nullptr && handle.num_elements() == 1, "input ", i, " is ",
               handle.TypeString(), ", expected the handle of a ", kind);
  if (*ref == nullptr) return NotFound("input ", i, " is a handle of no ", kind);
  R* resource = dynamic_cast<R*>(ref->get());
  SM_CHECK_ARG(resource != nullptr, "input ", i, " is the handle of ", (*ref)->kind(), " '",
               (*ref)->name(), "', expected a ", kind);
  return resource;
}

// The name under which a node's resource is known: `shared_name`, or else the node's name.
inline std::string SharedName(const BuildContext& build) {
  const std::string& shared = build.attrs().String("shared_name");
  return shared.empty() ? build.node_name() : shared;
}

// A kernel whose output 0 is the handle of the resource of this `kind` and of the node's container
// and shared name, made by `make` when there is none.
template <class Make>
StatusOr<KernelPtr> MakeHandleKernel(const BuildContext& build, const std::string& kind,
                                     Make make) {
  const std::string name = SharedName(build);
  std::string key = ResourceTable::Key(kind, build.attrs().String("container"), name);
  return MakeKernel([key = std::move(key), name, make = std::move(make)](OpContext& ctx) -> Status {
    ResourceTable* table = ctx.run().resources;
    if (table == nullptr) return FailedPrecondition("this run has no resources");
    ResourceRef resource = table->GetOrCreate(key, [&] {
      ResourceRef made = make();
      made->set_name(name);
      return made;
    });
    ctx.set_output(0, Tensor::Scalar<ResourceRef>(std::move(resource)));
    return Status();
  });
}

// A kernel whose output 0 is the handle of a new resource in each run.
template <class Make>
StatusOr<KernelPtr> MakeAnonymousKernel(Make make) {
  return MakeKernel([make = std::move(make)](OpContext& ctx) -> Status {
    ctx.set_output(0, Tensor::Scalar<ResourceRef>(make()));
    return Status();
  });
}

}  // namespace savedmodel
