// Packing of constant matrices.
#include <algorithm>
#include <cmath>
#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/isa/gemm.h"

namespace savedmodel {
namespace {

// Values of a matrix below which products of float32 are quicker: rows need not be reduced.
constexpr int64_t kWorthReducing = 1024;

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Calls pack(column, valid columns, width) for each panel.
void EachPanel(const VectorCode& code, int64_t columns,
               FunctionRef<void(int64_t column, int64_t valid, int64_t width)> pack) {
  const int64_t most = code.max_vectors * code.lanes;
  for (int64_t column = 0; column < columns; column += most) {
    const int64_t valid = std::min(most, columns - column);
    pack(column, valid, RoundUp(valid, code.lanes));
  }
}

}  // namespace

Status PackedMatrix::PackReduced(const ReducedCode& reduced, const MatrixView& b, int64_t depth,
                                 int64_t columns) {
  const VectorCode& code = Vectors();
  const int64_t padded = RoundUp(columns, code.lanes);
  depth_ = (depth + reduced.group - 1) / reduced.group;
  SM_ASSIGN_OR_RETURN(data_, Tensor::Allocate(DType::kInt32, Shape({depth_, padded})));
  column_scales_.resize(static_cast<size_t>(padded));
  column_sums_.resize(static_cast<size_t>(padded));
  std::vector<float> wide(static_cast<size_t>(depth * code.max_vectors * code.lanes));
  EachPanel(code, columns, [&](int64_t column, int64_t valid, int64_t width) {
    code.pack(b.at(0, column), b.row_stride, b.column_stride, depth, valid, width, wide.data());
    reduced.pack(wide.data(), depth, width, const_cast<int32_t*>(words(column)),
                 &column_scales_[column], &column_sums_[column]);
  });
  return Status();
}

StatusOr<PackedMatrix> PackedMatrix::Pack(const MatrixView& b, int64_t depth, int64_t columns,
                                          Precision precision) {
  PackedMatrix packed;
  const ReducedCode* reduced = Reduced(precision);
  if (reduced != nullptr && depth <= reduced->max_depth) {
    SM_RETURN_IF_ERROR(packed.PackReduced(*reduced, b, depth, columns));
    const std::vector<float>& scales = packed.column_scales_;
    packed.precision_ = precision;
    if (std::all_of(scales.begin(), scales.end(), [](float s) { return std::isfinite(s); })) {
      return packed;
    }
    packed = PackedMatrix();
  }
  const VectorCode& code = Vectors();
  packed.depth_ = depth;
  SM_ASSIGN_OR_RETURN(
      packed.data_, Tensor::Allocate(DType::kFloat, Shape({depth, RoundUp(columns, code.lanes)})));
  EachPanel(code, columns, [&](int64_t column, int64_t valid, int64_t width) {
    code.pack(b.at(0, column), b.row_stride, b.column_stride, depth, valid, width,
              const_cast<float*>(packed.panel(column)));
  });
  return packed;
}

StatusOr<PackedMatrices> PackConstant(BuildContext& build, int input, const std::string& kind,
                                      int64_t count, int64_t depth, int64_t columns,
                                      Precision precision, FunctionRef<MatrixView(int64_t)> view) {
  using Matrices = std::vector<PackedMatrix>;
  const Tensor* constant = build.constant_input(input);
  if (constant == nullptr || constant->dtype() != DType::kFloat || constant->num_elements() == 0) {
    return std::shared_ptr<const Matrices>();
  }
  if (depth * columns < kWorthReducing) precision = Precision::kFloat32;
  const std::string key = StrCat(kind, " in precision ", static_cast<int>(precision));
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const void> packed,
                      build.Packed(*constant, key, [&]() -> StatusOr<std::shared_ptr<const void>> {
                        auto matrices = std::make_shared<Matrices>();
                        for (int64_t i = 0; i < count; ++i) {
                          SM_ASSIGN_OR_RETURN(
                              PackedMatrix matrix,
                              PackedMatrix::Pack(view(i), depth, columns, precision));
                          matrices->push_back(std::move(matrix));
                        }
                        return std::shared_ptr<const void>(std::move(matrices));
                      }));
  return std::static_pointer_cast<const Matrices>(std::move(packed));
}

std::string DebugString(const PackedMatrices& matrices) {
  if (matrices == nullptr || matrices->empty()) return "";
  switch (matrices->front().precision()) {
    case Precision::kBFloat16:
      return "bfloat16 products of packed weights";
    case Precision::kInt8:
      return "int8 products of packed weights";
    case Precision::kFloat32:
      break;
  }
  return "products of packed weights";
}

}  // namespace savedmodel
