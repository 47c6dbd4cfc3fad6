// Convolutions as products: a row of the product's left side is one output pixel's window.
#include "src/kernels/nn/conv_float.h"

#include <algorithm>
#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/nn/narrow_conv.h"
#include "src/kernels/nn/windows.h"
#include "src/kernels/nn/winograd.h"

namespace savedmodel {
namespace {

void ScaleColumns(const float* x, const float* scale, int64_t n, int64_t columns, float* y) {
  for (int64_t i = 0; i < n; i += columns) {
    for (int64_t c = 0; c < columns; ++c) y[i + c] = x[i + c] * scale[c];
  }
}

}  // namespace

StatusOr<ColumnScale> ColumnScale::Of(const Tensor& filter, const Tensor* scale) {
  if (scale == nullptr) return ColumnScale();
  const Shape& shape = filter.shape();
  SM_CHECK_ARG(scale->dtype() == DType::kFloat && filter.dtype() == DType::kFloat &&
                   shape.rank() > 0 && scale->shape() == Shape({shape[shape.rank() - 1]}),
               "found a scale ", scale->TypeString(), " for a filter ", filter.TypeString());
  return ColumnScale{
      scale->data<float>(),
      " scaled by " + std::string(static_cast<const char*>(scale->raw_data()), scale->num_bytes())};
}

int64_t JoinedGroups(int64_t groups, int64_t columns, int64_t room) {
  int64_t joined = std::clamp<int64_t>(room / columns, 1, groups);
  while (groups % joined != 0) --joined;
  return joined;
}

std::vector<float> JoinGroups(const Tensor& filter, int64_t groups, int64_t joined, int64_t group) {
  const Shape& shape = filter.shape();
  const int64_t depth = shape[shape.rank() - 2], out_channels = shape[shape.rank() - 1];
  const int64_t taps = shape.Product(0, shape.rank() - 2), per_group = out_channels / groups;
  std::vector<float> matrix(taps * joined * depth * joined * per_group);
  float* to = matrix.data();
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t g = 0; g < joined; ++g) {
      const float* from =
          filter.data<float>() + tap * depth * out_channels + (group + g) * per_group;
      for (int64_t k = 0; k < depth; ++k, from += out_channels, to += joined * per_group) {
        std::copy_n(from, per_group, to + g * per_group);
      }
    }
  }
  return matrix;
}

StatusOr<PackedMatrices> PackFilter(BuildContext& build, int input, const Tensor* scale,
                                    int64_t groups) {
  const Tensor* filter = build.constant_input(input);
  if (filter == nullptr || filter->dtype() != DType::kFloat) {
    return PackedMatrices();
  }
  const Shape& shape = filter->shape();
  const int64_t out_channels = shape[shape.rank() - 1], per_group = out_channels / groups;
  SM_ASSIGN_OR_RETURN(const ColumnScale columns, ColumnScale::Of(*filter, scale));
  const int64_t joined = JoinedGroups(groups, per_group, Vectors().lanes);
  if (joined > 1 && build.precision() == Precision::kFloat32) {
    return ShareMatrices(
        build, input,
        StrCat("convolution in ", groups, " groups, ", joined, " joined", columns.key),
        [&]() -> StatusOr<std::vector<PackedMatrix>> {
          const int64_t width = joined * per_group;
          std::vector<PackedMatrix> matrices;
          for (int64_t group = 0; group < groups; group += joined) {
            const std::vector<float> matrix = JoinGroups(*filter, groups, joined, group);
            SM_ASSIGN_OR_RETURN(
                PackedMatrix packed,
                PackedMatrix::Pack(
                    {matrix.data(), width, 1}, static_cast<int64_t>(matrix.size()) / width, width,
                    Precision::kFloat32,
                    columns.data == nullptr ? nullptr : columns.data + group * per_group));
            matrices.push_back(std::move(packed));
          }
          return matrices;
        });
  }
  return PackConstant(
      build, input, StrCat("convolution in ", groups, " groups", columns.key), groups,
      shape.Product(0, shape.rank() - 1), per_group, build.precision(),
      [&](int64_t group) {
        return MatrixView{filter->data<float>() + group * per_group, out_channels, 1};
      },
      columns.data);
}

Status RunFloatConv(OpContext& ctx, const WindowGeometry& g, const FloatFilter& filter,
                    const float* x, const Epilogue& epilogue, float* y) {
  if (filter.narrow) {
    RunNarrow(ctx, NarrowGeometry::OfConv(g, filter.out_channels), (*filter.packed)[0], x, epilogue,
              y);
    return Status();
  }
  const bool is_finite = (filter.winograd || filter.joined > 1) &&
                         AllFinite(ctx, x, g.batch * g.in_pixels() * g.channels);
  if (filter.winograd && is_finite) {
    RunWinograd(ctx, g, filter.winograd, *filter.packed, filter.out_channels, x, epilogue, y);
    return Status();
  }
  const int64_t joined = is_finite ? filter.joined : 1;
  const int64_t groups = filter.groups / joined, depth = filter.depth * joined;
  SM_ASSIGN_OR_RETURN(const Windows windows, Windows::Make(ctx, g, depth, x));
  const float* plain = filter.data;
  const bool unpacked = filter.packed == nullptr || filter.winograd || joined != filter.joined;
  Tensor scaled;
  if (unpacked && filter.scale != nullptr) {
    const int64_t rows = filter.taps * filter.depth;
    SM_ASSIGN_OR_RETURN(scaled,
                        ctx.AllocateTemp(DType::kFloat, Shape({rows, filter.out_channels})));
    float* to = static_cast<float*>(scaled.raw_mutable_data());
    ScaleColumns(filter.data, filter.scale, rows * filter.out_channels, filter.out_channels, to);
    plain = to;
  }
  const int64_t rows = g.batch * g.out_pixels(), inputs = g.batch * g.in_pixels() * g.channels;
  Tensor numbers;
  RoundedFloats rounded;
  if (!unpacked && rows * filter.taps * g.channels >= 2 * inputs) {
    SM_ASSIGN_OR_RETURN(rounded, RoundOnce(ctx, filter.packed->front(), x, inputs, &numbers));
  }
  const int64_t per_group = filter.out_channels / groups;
  for (int64_t group = 0; group < groups; ++group) {
    const auto find = [&](int64_t begin, int64_t end, const float** runs) {
      windows.FindRuns(group * depth, begin, end, runs);
    };
    const auto find_alike = [&](int64_t begin, int64_t end, const float** first_runs) {
      return windows.FindAlike(begin, end, first_runs);
    };
    const Product::FindAlike alike(find_alike);
    const Epilogue part = epilogue.FromColumn(group * per_group);
    RunProduct(ctx, {.rows = rows,
                     .columns = per_group,
                     .taps = windows.taps(),
                     .depth = windows.depth(),
                     .runs = find,
                     .distances = windows.distances(),
                     .alike = &alike,
                     .rounded = rounded,
                     .packed = unpacked ? nullptr : &(*filter.packed)[group],
                     .b = {plain + group * per_group, filter.out_channels, 1},
                     .c = y + group * per_group,
                     .c_stride = filter.out_channels,
                     .epilogue = &part});
  }
  return Status();
}

}  // namespace savedmodel
