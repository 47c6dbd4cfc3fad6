// Sets in the rows of the last dimension, and edit distance between sequences there.
#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

constexpr DTypeSet kSetTypes =
    kSignedInts | Only(DType::kUInt8) | Only(DType::kUInt16) | Only(DType::kString);

// Rows of elements by their row-major position in the leading dimensions. Rows without elements
// may be missing.
using RowEntries = std::map<int64_t, std::vector<int64_t>>;  // element numbers

StatusOr<Shape> LeadingDims(const std::vector<int64_t>& dims) {
  SM_CHECK_ARG(dims.size() >= 2, "Invalid input rank ", dims.size(), ", expected at least 2");
  return ShapeFromDims(std::vector<int64_t>(dims.begin(), dims.end() - 1));
}

// Where a row's index lies in `leading`, another shape of the same rank.
int64_t RowOf(const int64_t* index, const Shape& leading) {
  int64_t row = 0;
  for (int d = 0; d < leading.rank(); ++d) row = row * leading.dim(d) + index[d];
  return row;
}

// One input of a set operation.
struct SetInput {
  const Tensor* values = nullptr;
  Shape leading;
  RowEntries rows;
};

StatusOr<SetInput> ReadSparseSet(OpContext& ctx, int first, bool validate) {
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, first));
  SM_RETURN_IF_ERROR(in.CheckBounds());
  SetInput set;
  set.values = in.values;
  SM_ASSIGN_OR_RETURN(set.leading, LeadingDims(in.dims));
  for (int64_t i = 0; i < in.count; ++i) {
    SM_CHECK_ARG(!validate || i == 0 || CompareIndices(in.index(i - 1), in.index(i), in.rank()) < 0,
                 "set indices[", i, "] is out of order or repeated");
    set.rows[RowOf(in.index(i), set.leading)].push_back(i);
  }
  return set;
}

StatusOr<SetInput> ReadDenseSet(OpContext& ctx, int input) {
  SetInput set;
  set.values = &ctx.input(input);
  const std::vector<int64_t> dims = ctx.input(input).shape().ToVector();
  SM_ASSIGN_OR_RETURN(set.leading, LeadingDims(dims));
  for (int64_t i = 0; i < set.values->num_elements(); ++i) {
    set.rows[i / dims.back()].push_back(i);
  }
  return set;
}

enum class SetOperation : uint8_t { kAMinusB, kBMinusA, kIntersection, kUnion };

StatusOr<SetOperation> ParseSetOperation(std::string name) {
  for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  if (name == "a-b") return SetOperation::kAMinusB;
  if (name == "b-a") return SetOperation::kBMinusA;
  if (name == "intersection") return SetOperation::kIntersection;
  if (name == "union") return SetOperation::kUnion;
  return InvalidArgument("set_operation: found '", name,
                         "', expected a-b, b-a, intersection or union");
}

template <class T>
std::set<T> RowSet(const SetInput& input, int64_t row) {
  std::set<T> out;
  if (const auto it = input.rows.find(row); it != input.rows.end()) {
    for (const int64_t i : it->second) out.insert(input.values->data<T>()[i]);
  }
  return out;
}

template <class T>
std::vector<T> Combine(SetOperation op, const std::set<T>& a, const std::set<T>& b) {
  std::vector<T> out;
  const auto to = std::back_inserter(out);
  switch (op) {
    case SetOperation::kAMinusB:
      std::set_difference(a.begin(), a.end(), b.begin(), b.end(), to);
      break;
    case SetOperation::kBMinusA:
      std::set_difference(b.begin(), b.end(), a.begin(), a.end(), to);
      break;
    case SetOperation::kIntersection:
      std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), to);
      break;
    case SetOperation::kUnion:
      std::set_union(a.begin(), a.end(), b.begin(), b.end(), to);
      break;
  }
  return out;
}

// Outputs row sets as a sparse tensor.
template <class T>
Status EmitSets(OpContext& ctx, const Shape& leading,
                const std::map<int64_t, std::vector<T>>& results) {
  int64_t total = 0, widest = 0;
  for (const auto& [row, values] : results) {
    total += static_cast<int64_t>(values.size());
    widest = std::max(widest, static_cast<int64_t>(values.size()));
  }
  const int rank = leading.rank();
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {total, rank + 1}));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {total}));
  int64_t* indices = ctx.out<int64_t>(0);
  T* out = ctx.out<T>(1);
  for (const auto& [row, values] : results) {
    for (size_t k = 0; k < values.size(); ++k, indices += rank + 1) {
      int64_t rest = row;
      for (int d = rank - 1; d >= 0; --d) {
        indices[d] = rest % leading.dim(d);
        rest /= leading.dim(d);
      }
      indices[rank] = static_cast<int64_t>(k);
      *out++ = values[k];
    }
  }
  return EmitInts(ctx, 2, leading.WithAppended(widest).ToVector());
}

Status Operate(OpContext& ctx, const SetInput& a, const SetInput& b, SetOperation op) {
  SM_CHECK_ARG(a.leading == b.leading, "Mismatched group shapes: ", a.leading, " vs ", b.leading);
  return VisitDType<kSetTypes>(ctx.output_dtype(1), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    std::map<int64_t, std::vector<T>> results;
    for (const SetInput* input : {&a, &b}) {
      for (const auto& [row, entries] : input->rows) {
        if (results.count(row) != 0) continue;
        results[row] = Combine(op, RowSet<T>(a, row), RowSet<T>(b, row));
      }
    }
    return EmitSets(ctx, a.leading, results);
  });
}

// How many of the two inputs, the last ones, are sparse.
template <int sparse_inputs>
StatusOr<KernelPtr> BuildSetOperation(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const SetOperation op,
                      ParseSetOperation(build.attrs().String("set_operation")));
  return MakeKernel(
      [op, validate = build.attrs().Bool("validate_indices")](OpContext& ctx) -> Status {
        SM_ASSIGN_OR_RETURN(const SetInput a, sparse_inputs == 2 ? ReadSparseSet(ctx, 0, validate)
                                                                 : ReadDenseSet(ctx, 0));
        SM_ASSIGN_OR_RETURN(const SetInput b,
                            sparse_inputs == 0
                                ? ReadDenseSet(ctx, 1)
                                : ReadSparseSet(ctx, sparse_inputs == 2 ? 3 : 1, validate));
        return Operate(ctx, a, b, op);
      });
}

StatusOr<KernelPtr> BuildSetSize(BuildContext& build) {
  return MakeKernel([validate = build.attrs().Bool("validate_indices")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const SetInput set, ReadSparseSet(ctx, 0, validate));
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, set.leading));
    int32_t* out = ctx.out<int32_t>(0);
    std::fill_n(out, set.leading.num_elements(), 0);
    return VisitDType<kSetTypes>(ctx.input(1).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      for (const auto& [row, entries] : set.rows) {
        out[row] = static_cast<int32_t>(RowSet<T>(set, row).size());
      }
      return Status();
    });
  });
}

// --------------------------------------------------------------------------------- EditDistance

template <class T>
int64_t Levenshtein(const T* values_a, const std::vector<int64_t>& a, const T* values_b,
                    const std::vector<int64_t>& b) {
  std::vector<int64_t> costs(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) costs[j] = static_cast<int64_t>(j);
  for (size_t i = 0; i < a.size(); ++i) {
    int64_t diagonal = costs[0];
    costs[0] = static_cast<int64_t>(i) + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const int64_t change = diagonal + (values_a[a[i]] == values_b[b[j]] ? 0 : 1);
      diagonal = costs[j + 1];
      costs[j + 1] = std::min({change, costs[j] + 1, costs[j + 1] + 1});
    }
  }
  return costs[b.size()];
}

float Normalized(int64_t distance, size_t truth_size, bool normalize) {
  const float d = static_cast<float>(distance);
  if (!normalize) return d;
  if (truth_size > 0) return d / static_cast<float>(truth_size);
  return distance == 0 ? 0.0f : std::numeric_limits<float>::infinity();
}

template <class T>
Status DistanceOf(OpContext& ctx, const Coo& hypothesis, const Coo& truth, bool normalize) {
  SM_RETURN_IF_ERROR(hypothesis.CheckBounds());
  SM_RETURN_IF_ERROR(truth.CheckBounds());
  std::vector<int64_t> dims;
  for (size_t d = 0; d + 1 < truth.dims.size(); ++d) {
    dims.push_back(std::max(hypothesis.dims[d], truth.dims[d]));
  }
  SM_ASSIGN_OR_RETURN(const Shape shape, ShapeFromDims(dims));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, shape));
  std::map<int64_t, std::pair<std::vector<int64_t>, std::vector<int64_t>>> rows;
  for (int64_t i = 0; i < hypothesis.count; ++i) {
    rows[RowOf(hypothesis.index(i), shape)].first.push_back(i);
  }
  for (int64_t i = 0; i < truth.count; ++i) {
    rows[RowOf(truth.index(i), shape)].second.push_back(i);
  }
  float* out = ctx.out<float>(0);
  std::fill_n(out, shape.num_elements(), 0.0f);
  for (const auto& [row, pair] : rows) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    const int64_t distance =
        Levenshtein(hypothesis.values->data<T>(), pair.first, truth.values->data<T>(), pair.second);
    out[row] = Normalized(distance, pair.second.size(), normalize);
  }
  return Status();
}

StatusOr<KernelPtr> BuildEditDistance(BuildContext& build) {
  return MakeKernel([normalize = build.attrs().Bool("normalize")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Coo hypothesis, ReadCoo(ctx, 0));
    SM_ASSIGN_OR_RETURN(const Coo truth, ReadCoo(ctx, 3));
    SM_CHECK_ARG(hypothesis.rank() == truth.rank() && truth.rank() >= 1,
                 "found hypothesis of rank ", hypothesis.rank(), " and truth of rank ",
                 truth.rank(), ", expected equal ranks of at least 1");
    constexpr DTypeSet kTypes = kReals | Only(DType::kBool) | Only(DType::kString);
    return VisitDType<kTypes>(ctx.input(1).dtype(), [&](auto tag) -> Status {
      return DistanceOf<typename decltype(tag)::type>(ctx, hypothesis, truth, normalize);
    });
  });
}

#define SM_SET_ATTRS                                                 \
  "(result_indices: int64, result_values: T, result_shape: int64); " \
  "set_operation: string; validate_indices: bool = true; "           \
  "T: {int8,int16,int32,int64,uint8,uint16,string}"

constexpr OpDef kOps[] = {
    {.signature = "DenseToDenseSetOperation(set1: T, set2: T) -> " SM_SET_ATTRS,
     .shape = shape::Unknown,
     .build = BuildSetOperation<0>},
    {.signature = "DenseToSparseSetOperation(set1: T, set2_indices: int64, set2_values: T, "
                  "set2_shape: int64) -> " SM_SET_ATTRS,
     .shape = shape::Unknown,
     .build = BuildSetOperation<1>},
    {.signature = "EditDistance(hypothesis_indices: int64, hypothesis_values: T, "
                  "hypothesis_shape: int64, truth_indices: int64, truth_values: T, "
                  "truth_shape: int64) -> (output: float); normalize: bool = true; T: type",
     .shape = CooInputShape,
     .build = BuildEditDistance},
    {.signature = "SetSize(set_indices: int64, set_values: T, set_shape: int64) -> (size: int32); "
                  "validate_indices: bool = true; "
                  "T: {int8,int16,int32,int64,uint8,uint16,string}",
     .shape = CooInputShape,
     .build = BuildSetSize},
    {.signature = "SparseToSparseSetOperation(set1_indices: int64, set1_values: T, "
                  "set1_shape: int64, set2_indices: int64, set2_values: T, set2_shape: int64) "
                  "-> " SM_SET_ATTRS,
     .shape = shape::Unknown,
     .build = BuildSetOperation<2>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SparseSetOps() { return kOps; }

}  // namespace savedmodel
