#include "src/kernels/array/strided_copy.h"

#include <algorithm>
#include <cstring>

#include "src/kernels/isa/vector_code.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// A plain element of `n` bytes, without alignment: short runs are moved as one such element.
template <int n>
struct Bytes {
  unsigned char bytes[n];
};

// Merges dimensions that are contiguous on both sides and drops those of size 1. Returns false
// when there is nothing to move.
bool Simplify(MoveDims* dims) {
  MoveDims merged;
  for (const MoveDim& d : *dims) {
    if (d.size == 0) return false;
    if (d.size == 1) continue;
    if (!merged.empty()) {
      MoveDim& last = merged.back();
      if (last.in == d.in * d.size && last.out == d.out * d.size) {
        last = {last.size * d.size, d.in, d.out};
        continue;
      }
    }
    merged.push_back(d);
  }
  *dims = std::move(merged);
  return true;
}

// Calls `fn(in, out)` with the offsets of positions [begin, end) of the box of `dims`.
template <class F>
void ForEachOffset(Span<const MoveDim> dims, int64_t begin, int64_t end, F&& fn) {
  const int rank = static_cast<int>(dims.size());
  absl::InlinedVector<int64_t, 6> index(rank);
  int64_t in = 0, out = 0, rest = begin;
  for (int i = rank - 1; i >= 0; --i) {
    index[i] = rest % dims[i].size;
    rest /= dims[i].size;
    in += index[i] * dims[i].in;
    out += index[i] * dims[i].out;
  }
  for (int64_t n = begin; n < end; ++n) {
    fn(in, out);
    for (int i = rank - 1; i >= 0; --i) {
      in += dims[i].in;
      out += dims[i].out;
      if (++index[i] < dims[i].size) break;
      index[i] = 0;
      in -= dims[i].in * dims[i].size;
      out -= dims[i].out * dims[i].size;
    }
  }
}

template <class T>
void CopyRow(const T* in, int64_t in_stride, T* out, int64_t out_stride, int64_t n) {
  if (in_stride == 1 && out_stride == 1) {
    std::copy_n(in, n, out);
  } else if (in_stride == 0 && out_stride == 1) {
    std::fill_n(out, n, *in);
  } else if (out_stride == 1) {
    for (int64_t i = 0; i < n; ++i) out[i] = in[i * in_stride];
  } else {
    for (int64_t i = 0; i < n; ++i) out[i * out_stride] = in[i * in_stride];
  }
}

// `rows` rows of `row.size` elements.
template <class T>
void CopyPlane(const T* in, int64_t in_step, T* out, int64_t out_step, int64_t rows,
               const MoveDim& row) {
  if constexpr (std::is_trivially_copyable_v<T>) {
    if (row.in == 1 && row.out == 1) {
      constexpr int64_t kBytes = sizeof(T);
      return CopyRows(in, in_step * kBytes, out, out_step * kBytes, rows, row.size * kBytes);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    CopyRow(in + r * in_step, row.in, out + r * out_step, row.out, row.size);
  }
}

// out[r * out_stride + c] = in[r + c * in_stride].
template <class T>
void Transpose(const T* in, int64_t in_stride, int64_t rows, int64_t columns, T* out,
               int64_t out_stride) {
  if constexpr (std::is_same_v<T, Bytes<4>>) {
    return Vectors().transpose(reinterpret_cast<const float*>(in), in_stride, rows, columns,
                               reinterpret_cast<float*>(out), out_stride);
  }
  constexpr int64_t kBlock =
      64 / static_cast<int64_t>(sizeof(T)) < 4 ? 4 : 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t c = 0; c < columns; c += kBlock) {
    const int64_t c_end = std::min(columns, c + kBlock);
    for (int64_t r = 0; r < rows; ++r) {
      T* o = out + r * out_stride;
      const T* i = in + r;
      for (int64_t k = c; k < c_end; ++k) o[k] = i[k * in_stride];
    }
  }
}

// The dimension to pair with the innermost one for a blocked transpose, or -1.
int TransposePartner(const MoveDims& dims) {
  if (dims.size() < 2 || dims.back().out != 1 || dims.back().size < 2) return -1;
  if (dims.back().in >= -1 && dims.back().in <= 1) return -1;
  for (size_t i = 0; i + 1 < dims.size(); ++i) {
    if (dims[i].in == 1 && dims[i].size >= 4) return static_cast<int>(i);
  }
  return -1;
}

template <class T>
void TransposeMove(const OpContext& ctx, const T* in, T* out, MoveDims dims, int partner) {
  // Long rows of the input are read where words can be exchanged in blocks: that is quicker than to
  // write long rows.
  constexpr bool kIsWord = std::is_same_v<T, Bytes<4>>;
  const MoveDim column = dims.back(), row = dims[partner];
  const int64_t rows = kIsWord || column.size < 16 ? 1024 : 16;
  const int64_t columns = kIsWord ? 128 : column.size;
  dims.pop_back();
  dims.erase(dims.begin() + partner);
  int64_t boxes = 1;
  for (const MoveDim& d : dims) boxes *= d.size;
  const int64_t row_blocks = (row.size + rows - 1) / rows;
  const int64_t column_blocks = (column.size + columns - 1) / columns;
  const double cost = (kIsWord ? 0.3 : 0.6) * static_cast<double>(std::min(rows, row.size)) *
                      static_cast<double>(std::min(columns, column.size));
  ctx.ParallelFor(boxes * row_blocks * column_blocks, cost, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t c = n % column_blocks * columns, r = n / column_blocks % row_blocks * rows;
      const int64_t box = n / (column_blocks * row_blocks);
      ForEachOffset(dims, box, box + 1, [&](int64_t i, int64_t o) {
        Transpose(in + i + c * column.in + r, column.in, std::min(rows, row.size - r),
                  std::min(columns, column.size - c), out + o + r * row.out + c, row.out);
      });
    }
  });
}

template <class T>
void MoveTyped(const OpContext& ctx, const T* in, T* out, MoveDims dims) {
  if (dims.empty()) {
    *out = *in;
    return;
  }
  if (const int partner = TransposePartner(dims); partner >= 0) {
    return TransposeMove(ctx, in, out, std::move(dims), partner);
  }
  // Long rows are cut, so that few of them still spread over threads.
  constexpr int64_t kPiece = int64_t{1} << 14;
  const MoveDim row = dims.back();
  dims.pop_back();
  int64_t rows = 1;
  for (const MoveDim& d : dims) rows *= d.size;
  const int64_t pieces = (row.size + kPiece - 1) / kPiece;
  const bool contiguous = row.in == 1 && row.out == 1;
  const double element = contiguous ? 0.08 * sizeof(T) : 0.5 + 0.08 * sizeof(T);
  const double cost = 3 + element * static_cast<double>(std::min(kPiece, row.size));
  if (pieces == 1) {
    MoveDim plane{1, 0, 0};
    if (!dims.empty()) {
      plane = dims.back();
      dims.pop_back();
    }
    ctx.ParallelFor(rows, cost, [&](int64_t begin, int64_t end) {
      int64_t first = begin / plane.size * plane.size;  // row of a plane
      ForEachOffset(dims, begin / plane.size, (end + plane.size - 1) / plane.size,
                    [&](int64_t i, int64_t o) {
                      const int64_t r = std::max(begin - first, int64_t{0});
                      CopyPlane(in + i + r * plane.in, plane.in, out + o + r * plane.out, plane.out,
                                std::min(end - first, plane.size) - r, row);
                      first += plane.size;
                    });
    });
    return;
  }
  dims.push_back({pieces, row.in * kPiece, row.out * kPiece});
  ctx.ParallelFor(rows * pieces, cost, [&](int64_t begin, int64_t end) {
    int64_t piece = begin % pieces;
    ForEachOffset(dims, begin, end, [&](int64_t i, int64_t o) {
      MoveDim some = row;
      some.size = std::min(kPiece, row.size - piece * kPiece);
      CopyPlane(in + i, 0, out + o, 0, 1, some);
      if (++piece == pieces) piece = 0;
    });
  });
}

// Moves plain elements of `bytes` bytes; a short contiguous row becomes one wider element.
void MovePlain(const OpContext& ctx, int64_t bytes, const char* in, char* out, MoveDims dims) {
  if (dims.size() > 1 && dims.back().in == 1 && dims.back().out == 1) {
    const int64_t row = dims.back().size * bytes;
    if (row == 2 || row == 3 || row == 4 || row == 6 || row == 8 || row == 12 || row == 16) {
      const int64_t n = dims.back().size;
      dims.pop_back();
      bool multiple = true;
      for (const MoveDim& d : dims) multiple &= d.in % n == 0 && d.out % n == 0;
      if (multiple) {
        for (MoveDim& d : dims) d = {d.size, d.in / n, d.out / n};
        bytes = row;
      } else {
        dims.push_back({n, 1, 1});
      }
    }
  }
  switch (bytes) {
#define SM_MOVE(n)                                                                                 \
  case n:                                                                                          \
    return MoveTyped(ctx, reinterpret_cast<const Bytes<n>*>(in), reinterpret_cast<Bytes<n>*>(out), \
                     std::move(dims))
    SM_MOVE(1);
    SM_MOVE(2);
    SM_MOVE(3);
    SM_MOVE(4);
    SM_MOVE(6);
    SM_MOVE(8);
    SM_MOVE(12);
    SM_MOVE(16);
#undef SM_MOVE
    default:
      return;
  }
}

// Calls `fn(TypeTag<T>())` for a dtype whose elements are objects; false for plain data.
template <class F>
bool VisitObjects(DType dtype, F&& fn) {
  switch (dtype) {
    case DType::kString:
      fn(TypeTag<std::string>());
      return true;
    case DType::kResource:
      fn(TypeTag<ResourceRef>());
      return true;
    case DType::kVariant:
      fn(TypeTag<VariantRef>());
      return true;
    default:
      return false;
  }
}

}  // namespace

void StridedCopy(const OpContext& ctx, DType dtype, const void* in, void* out, const Move& move) {
  MoveDims dims = move.dims;
  if (!Simplify(&dims)) return;
  const bool objects = VisitObjects(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    MoveTyped(ctx, static_cast<const T*>(in) + move.in_offset,
              static_cast<T*>(out) + move.out_offset, dims);
  });
  if (objects) return;
  const int64_t bytes = static_cast<int64_t>(DTypeSize(dtype));
  MovePlain(ctx, bytes, static_cast<const char*>(in) + move.in_offset * bytes,
            static_cast<char*>(out) + move.out_offset * bytes, std::move(dims));
}

void CopyRows(const void* in, int64_t in_step, void* out, int64_t out_step, int64_t rows,
              int64_t bytes) {
  const char* from = static_cast<const char*>(in);
  char* to = static_cast<char*>(out);
  // Short rows in pieces, the last of which overlaps the one before: quicker than a call for each.
  const auto in_pieces = [&](auto piece) {
    for (int64_t r = 0; r < rows; ++r, from += in_step, to += out_step) {
      for (int64_t i = 0; i + piece() < bytes; i += piece()) {
        std::memcpy(to + i, from + i, piece());
      }
      std::memcpy(to + bytes - piece(), from + bytes - piece(), piece());
    }
  };
  if (bytes > 512) {
    for (int64_t r = 0; r < rows; ++r, from += in_step, to += out_step) {
      std::memcpy(to, from, static_cast<size_t>(bytes));
    }
  } else if (bytes >= 64) {
    in_pieces(std::integral_constant<int64_t, 64>());
  } else if (bytes >= 16) {
    in_pieces(std::integral_constant<int64_t, 16>());
  } else if (bytes >= 4) {
    in_pieces(std::integral_constant<int64_t, 4>());
  } else if (bytes >= 1) {
    in_pieces(std::integral_constant<int64_t, 1>());
  }
}

void CopyElements(DType dtype, const void* in, int64_t in_offset, void* out, int64_t out_offset,
                  int64_t n) {
  if (n <= 0) return;
  const bool objects = VisitObjects(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::copy_n(static_cast<const T*>(in) + in_offset, n, static_cast<T*>(out) + out_offset);
  });
  if (objects) return;
  const int64_t bytes = static_cast<int64_t>(DTypeSize(dtype));
  std::memcpy(static_cast<char*>(out) + out_offset * bytes,
              static_cast<const char*>(in) + in_offset * bytes, n * bytes);
}

void FillElements(const OpContext& ctx, DType dtype, const void* value, void* out, int64_t n) {
  StridedCopy(ctx, dtype, value, out, {.dims = {{n, 0, 1}}});
}

void ZeroElements(DType dtype, void* out, int64_t n) {
  if (n <= 0) return;
  const bool objects = VisitObjects(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::fill_n(static_cast<T*>(out), n, T());
  });
  if (!objects) std::memset(out, 0, n * DTypeSize(dtype));
}

}  // namespace savedmodel
