// Packing of constant matrices.
#include <algorithm>
#include <cmath>
#include <utility>

#include "src/base/large_pages.h"
#include "src/base/mapped_pages.h"
#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/isa/gemm.h"

namespace savedmodel {
namespace {

// Values of a matrix below which products of float32 are quicker: rows need not be reduced.
constexpr int64_t kWorthReducing = 1024;

// Values of a matrix below which it is no gain that bfloat16 is half to read.
constexpr int64_t kWorthHalving = 128 * 1024;

constexpr int64_t kLine = 16;  // floats in a cache line

constexpr int64_t kWorthReleasing = 8 << 20;  // bytes

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Calls pack(column, valid columns, width) for each panel.
void EachPanel(const VectorCode& code, int64_t columns,
               FunctionRef<void(int64_t column, int64_t valid, int64_t width)> pack) {
  const Panels panels(code, columns);
  for (int64_t i = 0; i < panels.size(); ++i) {
    const Panels::Panel panel = panels[i];
    pack(panel.begin, panel.columns, panel.width);
  }
}

}  // namespace

Status PackedMatrix::Allocate(DType dtype, int64_t columns) {
  SM_ASSIGN_OR_RETURN(memory_, AllocateOnLargePages(dtype, Shape({depth_, columns})));
  data_ = memory_.raw_mutable_data();
  TakeLargePages(data_, memory_.num_bytes());
  TakePages(data_, memory_.num_bytes());
  return Status();
}

Status PackedMatrix::PackReduced(const ReducedCode& reduced, const MatrixView& b, int64_t depth,
                                 int64_t columns, const float* scale) {
  const VectorCode& code = Vectors();
  const int64_t padded = RoundUp(columns, code.lanes);
  depth_ = (depth + reduced.group - 1) / reduced.group;
  SM_RETURN_IF_ERROR(Allocate(DType::kInt32, padded));
  column_scales_.resize(static_cast<size_t>(padded));
  column_sums_.resize(static_cast<size_t>(padded));
  std::vector<float> wide(static_cast<size_t>(depth * code.max_vectors * code.lanes));
  EachPanel(code, columns, [&](int64_t column, int64_t valid, int64_t width) {
    code.pack(b.at(0, column), b.row_stride, b.column_stride, depth, valid, width,
              scale == nullptr ? nullptr : scale + column, wide.data());
    reduced.pack(wide.data(), depth, width, const_cast<int32_t*>(words(column)),
                 &column_scales_[column], &column_sums_[column]);
  });
  return Status();
}

Status PackedMatrix::PackHalves(const MatrixView& b, int64_t depth, int64_t columns,
                                const float* scale) {
  const VectorCode& code = Vectors();
  depth_ = depth;
  SM_RETURN_IF_ERROR(Allocate(DType::kBFloat16, RoundUp(columns, code.lanes)));
  std::vector<float> wide(static_cast<size_t>(depth * code.max_vectors * code.lanes));
  EachPanel(code, columns, [&](int64_t column, int64_t valid, int64_t width) {
    code.pack(b.at(0, column), b.row_stride, b.column_stride, depth, valid, width,
              scale == nullptr ? nullptr : scale + column, wide.data());
    code.narrow(wide.data(), depth * width, const_cast<uint16_t*>(halves(column)));
  });
  return Status();
}

StatusOr<PackedMatrix> PackedMatrix::Pack(const MatrixView& b, int64_t depth, int64_t columns,
                                          Precision precision, const float* scale) {
  const ReducedCode* reduced = Reduced(precision);
  if (reduced != nullptr && depth <= reduced->max_depth) {
    PackedMatrix packed;
    SM_RETURN_IF_ERROR(packed.PackReduced(*reduced, b, depth, columns, scale));
    const std::vector<float>& scales = packed.column_scales_;
    packed.precision_ = precision;
    if (std::all_of(scales.begin(), scales.end(), [](float s) { return std::isfinite(s); })) {
      return packed;
    }
  }
  if (reduced == nullptr && precision == Precision::kBFloat16 && depth * columns >= kWorthHalving) {
    PackedMatrix packed;
    SM_RETURN_IF_ERROR(packed.PackHalves(b, depth, columns, scale));
    packed.precision_ = precision;
    return packed;
  }
  // Of a transposed matrix, which is read from its beginning to its end, what has been packed is
  // given back before the rest is read.
  int64_t kept = 0;  // first column that is not given back
  const auto fill = [&](int64_t column, int64_t valid, int64_t width, float* const* panels) {
    const int64_t bytes = (column - kept) * b.column_stride * int64_t{sizeof(float)};
    if (b.row_stride == 1 && bytes >= kWorthReleasing) {
      ReleaseMappedPages(b.at(0, kept), bytes);
      kept = column;
    }
    Vectors().pack(b.at(0, column), b.row_stride, b.column_stride, depth, valid, width,
                   scale == nullptr ? nullptr : scale + column, panels[0]);
  };
  SM_ASSIGN_OR_RETURN(std::vector<PackedMatrix> one, Fill(1, depth, columns, fill));
  return std::move(one[0]);
}

StatusOr<std::vector<PackedMatrix>> PackedMatrix::Fill(int64_t count, int64_t depth,
                                                       int64_t columns, FillPanels fill) {
  const VectorCode& code = Vectors();
  // Panels are written side by side: their distance is no power of two.
  const int64_t distance = depth * RoundUp(columns, code.lanes) + kLine;
  SM_ASSIGN_OR_RETURN(Tensor memory, AllocateOnLargePages(DType::kFloat, Shape({count, distance})));
  float* const first = static_cast<float*>(memory.raw_mutable_data());
  const char* const end_of_large =
      reinterpret_cast<char*>(first) + TakeLargePages(first, memory.num_bytes());
  std::vector<PackedMatrix> matrices(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    matrices[i].memory_ = memory;
    matrices[i].data_ = first + i * distance;
    matrices[i].depth_ = depth;
  }
  std::vector<float*> panels(static_cast<size_t>(count));
  EachPanel(code, columns, [&](int64_t column, int64_t valid, int64_t width) {
    const size_t bytes = static_cast<size_t>(depth * width) * sizeof(float);
    for (int64_t i = 0; i < count; ++i) {
      panels[i] = first + i * distance + column * depth;
      if (reinterpret_cast<char*>(panels[i]) + bytes > end_of_large) TakePages(panels[i], bytes);
    }
    fill(column, valid, width, panels.data());
  });
  return matrices;
}

StatusOr<PackedMatrices> ShareMatrices(BuildContext& build, int input, const std::string& kind,
                                       FunctionRef<StatusOr<std::vector<PackedMatrix>>()> make) {
  using Matrices = std::vector<PackedMatrix>;
  const Tensor* constant = build.constant_input(input);
  if (constant == nullptr || constant->dtype() != DType::kFloat || constant->num_elements() == 0) {
    return std::shared_ptr<const Matrices>();
  }
  SM_ASSIGN_OR_RETURN(
      std::shared_ptr<const void> packed,
      build.Packed(*constant, kind, [&]() -> StatusOr<std::shared_ptr<const void>> {
        SM_ASSIGN_OR_RETURN(Matrices matrices, make());
        return std::shared_ptr<const void>(std::make_shared<Matrices>(std::move(matrices)));
      }));
  return std::static_pointer_cast<const Matrices>(std::move(packed));
}

StatusOr<PackedMatrices> PackConstant(BuildContext& build, int input, const std::string& kind,
                                      int64_t count, int64_t depth, int64_t columns,
                                      Precision precision, FunctionRef<MatrixView(int64_t)> view,
                                      const float* scale) {
  if (depth * columns < kWorthReducing) precision = Precision::kFloat32;
  const std::string key = StrCat(kind, " in precision ", static_cast<int>(precision));
  return ShareMatrices(build, input, key, [&]() -> StatusOr<std::vector<PackedMatrix>> {
    std::vector<PackedMatrix> matrices;
    for (int64_t i = 0; i < count; ++i) {
      const float* const scales = scale == nullptr ? nullptr : scale + i * columns;
      SM_ASSIGN_OR_RETURN(PackedMatrix matrix,
                          PackedMatrix::Pack(view(i), depth, columns, precision, scales));
      matrices.push_back(std::move(matrix));
    }
    return matrices;
  });
}

std::string DebugString(const PackedMatrices& matrices) {
  if (matrices == nullptr || matrices->empty()) return "";
  switch (matrices->front().precision()) {
    case Precision::kBFloat16:
      return Reduced(Precision::kBFloat16) != nullptr
                 ? "bfloat16 products of packed weights"
                 : "products of packed weights, which are bfloat16";
    case Precision::kInt8:
      return "int8 products of packed weights";
    case Precision::kFloat32:
      break;
  }
  return "products of packed weights";
}

}  // namespace savedmodel
