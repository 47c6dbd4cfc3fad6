// Sparse tensors put aside under a number and taken out again: AddSparseToTensorsMap and the like.
#include <algorithm>
#include <map>
#include <mutex>

#include "savedmodel/resource.h"
#include "src/base/resource_table.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// What a handle stands for: a sparse tensor with its own elements.
struct StoredSparse {
  std::vector<int64_t> indices, dims;
  Tensor values;
};

class SparseTensorsMap final : public Resource {
 public:
  std::string_view kind() const override { return "sparse tensors map"; }
  StatusOr<ResourceRef> Clone() const override {
    auto copy = std::make_shared<SparseTensorsMap>();
    std::lock_guard<std::mutex> lock(mutex_);
    copy->next_ = next_;
    copy->entries_ = entries_;
    return ResourceRef(std::move(copy));
  }

  int64_t Add(StoredSparse sparse) {
    std::lock_guard<std::mutex> lock(mutex_);
    entries_.emplace(next_, std::move(sparse));
    return next_++;
  }

  // Takes out the entries under `handles`, each once. INVALID_ARGUMENT where one is missing; then
  // all stay.
  StatusOr<std::vector<StoredSparse>> Take(const std::vector<int64_t>& handles) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const int64_t handle : handles) {
      SM_CHECK_ARG(entries_.count(handle) != 0, "Unable to find SparseTensor: ", handle,
                   " in map: ", name());
    }
    std::vector<StoredSparse> out;
    for (const int64_t handle : handles) {
      const auto it = entries_.find(handle);
      SM_CHECK_ARG(it != entries_.end(), "SparseTensor ", handle, " is asked for twice");
      out.push_back(std::move(it->second));
      entries_.erase(it);
    }
    return out;
  }

 private:
  mutable std::mutex mutex_;
  int64_t next_ = 0;
  std::map<int64_t, StoredSparse> entries_;
};

// The key of the map that a node uses: of its shared_name, or of its own name.
std::string MapKey(const BuildContext& build) {
  const std::string& shared = build.attrs().String("shared_name");
  return ResourceTable::Key("sparse tensors map", build.attrs().String("container"),
                            shared.empty() ? build.node_name() : shared);
}

StatusOr<std::shared_ptr<SparseTensorsMap>> FindMap(OpContext& ctx, const std::string& key) {
  const ResourceRef resource = ctx.run().resources->GetOrCreate(key, [&]() -> ResourceRef {
    auto map = std::make_shared<SparseTensorsMap>();
    map->set_name(key);
    return map;
  });
  auto map = std::dynamic_pointer_cast<SparseTensorsMap>(resource);
  if (map == nullptr) return Internal("resource ", key, " is a ", resource->kind());
  return map;
}

// Entries [begin, end) of `in`, without the first `dropped` dimensions.
StatusOr<StoredSparse> Part(OpContext& ctx, const Coo& in, int64_t begin, int64_t end,
                            int64_t dropped) {
  StoredSparse out;
  out.dims.assign(in.dims.begin() + dropped, in.dims.end());
  for (int64_t i = begin; i < end; ++i) {
    out.indices.insert(out.indices.end(), in.index(i) + dropped, in.index(i) + in.rank());
  }
  SM_ASSIGN_OR_RETURN(out.values, in.values->Rows(begin, end).Owned(ctx.run().budget));
  return out;
}

StatusOr<KernelPtr> BuildAdd(BuildContext& build) {
  return MakeKernel([key = MapKey(build)](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 0));
    SM_ASSIGN_OR_RETURN(StoredSparse all, Part(ctx, in, 0, in.count, 0));
    SM_ASSIGN_OR_RETURN(const auto map, FindMap(ctx, key));
    ctx.out<int64_t>(0)[0] = map->Add(std::move(all));
    return Status();
  });
}

StatusOr<KernelPtr> BuildAddMany(BuildContext& build) {
  return MakeKernel([key = MapKey(build)](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 0));
    SM_CHECK_ARG(in.rank() > 1,
                 "Rank of input SparseTensor should be > 1, but saw rank: ", in.rank());
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {in.dims[0]}));
    for (int64_t i = 0; i < in.count; ++i) {
      const int64_t row = in.index(i)[0], before = i == 0 ? 0 : in.index(i - 1)[0];
      SM_CHECK_ARG(row >= before && row < in.dims[0], "sparse_indices[", i, "]: found row ", row,
                   ", expected rows in order, below ", in.dims[0]);
    }
    SM_ASSIGN_OR_RETURN(const auto map, FindMap(ctx, key));
    for (int64_t row = 0, at = 0; row < in.dims[0]; ++row) {
      const int64_t begin = at;
      while (at < in.count && in.index(at)[0] == row) ++at;
      SM_ASSIGN_OR_RETURN(StoredSparse part, Part(ctx, in, begin, at, 1));
      ctx.out<int64_t>(0)[row] = map->Add(std::move(part));
    }
    return Status();
  });
}

// Stacks the tensors along a new first dimension.
Status EmitStacked(OpContext& ctx, const std::vector<StoredSparse>& all) {
  std::vector<int64_t> dims = {static_cast<int64_t>(all.size())};
  int64_t n = 0;
  for (const StoredSparse& one : all) {
    SM_CHECK_ARG(one.values.dtype() == ctx.output_dtype(1), "found a sparse tensor of ",
                 one.values.dtype(), ", expected ", ctx.output_dtype(1));
    SM_CHECK_ARG(one.dims.size() == all[0].dims.size(), "found sparse tensors of ranks ",
                 one.dims.size(), " and ", all[0].dims.size());
    dims.resize(one.dims.size() + 1, 0);
    for (size_t d = 0; d < one.dims.size(); ++d) dims[d + 1] = std::max(dims[d + 1], one.dims[d]);
    n += one.values.num_elements();
  }
  const int64_t inner = static_cast<int64_t>(dims.size()) - 1;
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {n, inner + 1}));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {n}));
  int64_t* indices = ctx.out<int64_t>(0);
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t* from = all[i].indices.data();
    for (int64_t e = 0; e < all[i].values.num_elements(); ++e, from += inner) {
      *indices++ = static_cast<int64_t>(i);
      indices = std::copy_n(from, inner, indices);
    }
  }
  SM_RETURN_IF_ERROR(EmitInts(ctx, 2, dims));
  return VisitByElementSize(ctx.output_dtype(1), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = static_cast<T*>(ctx.output(1).raw_mutable_data());
    for (const StoredSparse& one : all) {
      out =
          std::copy_n(static_cast<const T*>(one.values.raw_data()), one.values.num_elements(), out);
    }
    return Status();
  });
}

StatusOr<KernelPtr> BuildTakeMany(BuildContext& build) {
  return MakeKernel([key = MapKey(build)](OpContext& ctx) -> Status {
    SM_CHECK_ARG(ctx.input(0).num_elements() > 0,
                 "Must have at least 1 serialized SparseTensor, but input matrix has 0 rows");
    SM_ASSIGN_OR_RETURN(const auto map, FindMap(ctx, key));
    SM_ASSIGN_OR_RETURN(const std::vector<StoredSparse> all, map->Take(ctx.IntsInput(0)));
    return EmitStacked(ctx, all);
  });
}

Status AddShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  return shape::Scalar(ctx);
}

Status TakeShape(ShapeContext& ctx) { return ctx.ExpectRank(0, 1); }

constexpr OpDef kOps[] = {
    {.signature = "AddManySparseToTensorsMap(sparse_indices: int64, sparse_values: T, "
                  "sparse_shape: int64) -> (sparse_handles: int64); T: type; "
                  "container: string = ''; shared_name: string = ''",
     .effects = Effects::kWritesState,
     .shape = CooInputShape,
     .build = BuildAddMany},
    {.signature = "AddSparseToTensorsMap(sparse_indices: int64, sparse_values: T, "
                  "sparse_shape: int64) -> (sparse_handle: int64); T: type; "
                  "container: string = ''; shared_name: string = ''",
     .effects = Effects::kWritesState,
     .shape = AddShape,
     .build = BuildAdd},
    {.signature = "TakeManySparseFromTensorsMap(sparse_handles: int64) -> (sparse_indices: int64, "
                  "sparse_values: dtype, sparse_shape: int64); dtype: type; "
                  "container: string = ''; shared_name: string = ''",
     .effects = Effects::kWritesState,
     .shape = TakeShape,
     .build = BuildTakeMany},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> TensorsMapOps() { return kOps; }

}  // namespace savedmodel
