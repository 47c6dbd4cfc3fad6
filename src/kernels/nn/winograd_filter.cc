// Filters of Winograd's convolutions, transformed once.
#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/nn/conv_float.h"
#include "src/kernels/nn/winograd.h"

namespace savedmodel {
namespace {

int64_t TapsOf(const WinogradTile& tile) { return int64_t{tile.window_rows} * tile.window_columns; }

}  // namespace

StatusOr<std::vector<PackedMatrix>> TransformWinogradFilter(const WinogradTile& tile,
                                                            int64_t planes, const float* filter,
                                                            const float* scale, int64_t in,
                                                            int64_t out) {
  const int64_t plane_size = TapsOf(tile) * in * out;
  std::vector<float*> of_plane(static_cast<size_t>(tile.frequencies()));
  return PackedMatrix::Fill(
      tile.frequencies(), planes * in, out,
      [&](int64_t column, int64_t valid, int64_t width, float* const* panels) {
        for (int64_t plane = 0; plane < planes; ++plane) {
          for (size_t f = 0; f < of_plane.size(); ++f) {
            of_plane[f] = panels[f] + plane * in * width;
          }
          Vectors().winograd_filter(tile, {.filter = filter + plane * plane_size + column,
                                           .row_stride = out,
                                           .depth = in,
                                           .columns = valid,
                                           .scale = scale == nullptr ? nullptr : scale + column,
                                           .width = width,
                                           .panels = of_plane.data()});
        }
      });
}

StatusOr<PackedMatrices> PackWinogradFilter(BuildContext& build, const WinogradTile& tile,
                                            const Tensor* scale, int64_t groups) {
  const Tensor* filter = build.constant_input(1);
  if (filter == nullptr) return PackedMatrices();
  SM_ASSIGN_OR_RETURN(const ColumnScale columns, ColumnScale::Of(*filter, scale));
  return ShareMatrices(
      build, 1, StrCat(DebugString(tile), " in ", groups, " groups", columns.key),
      [&]() -> StatusOr<std::vector<PackedMatrix>> {
        const Shape& shape = filter->shape();
        const int64_t out_channels = shape[shape.rank() - 1], per_group = out_channels / groups;
        const int64_t joined = WinogradGroups(groups, per_group), parts = groups / joined;
        const int64_t planes = shape.Product(0, shape.rank() - 2) / TapsOf(tile);
        std::vector<PackedMatrix> matrices(tile.frequencies() * parts);
        for (int64_t part = 0; part < parts; ++part) {
          const int64_t first = part * joined;
          std::vector<float> matrix;
          if (groups > 1) matrix = JoinGroups(*filter, groups, joined, first);
          SM_ASSIGN_OR_RETURN(
              std::vector<PackedMatrix> packed,
              TransformWinogradFilter(
                  tile, planes, groups > 1 ? matrix.data() : filter->data<float>(),
                  columns.data == nullptr ? nullptr : columns.data + first * per_group,
                  joined * shape[shape.rank() - 2], joined * per_group));
          for (size_t f = 0; f < packed.size(); ++f) {
            matrices[f * parts + part] = std::move(packed[f]);
          }
        }
        return matrices;
      });
}

}  // namespace savedmodel
