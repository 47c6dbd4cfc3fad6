// Ops about sets of elements: unique rows, differences, positions of what is not zero.
#include <algorithm>
#include <cstring>
#include <string_view>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

uint64_t Mix(uint64_t h, uint64_t v) {
  h = (h ^ v) * 0x9E3779B97F4A7C15u;
  return h ^ (h >> 29);
}

// Hash that agrees with ==: both zeros of a float are one.
template <class T>
uint64_t HashElement(const T& v) {
  if constexpr (std::is_same_v<T, std::string>) {
    return std::hash<std::string_view>()(v);
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<uint64_t>(v);
  } else if constexpr (sizeof(T) == 2) {
    return std::hash<float>()(static_cast<float>(v));
  } else {
    return std::hash<T>()(v);
  }
}

template <class T>
bool IsNotANumber(const T& v) {
  if constexpr (std::is_same_v<T, std::string>) {
    return false;
  } else {
    return v != v;
  }
}

inline constexpr DTypeSet kHashable = kReals | Only(DType::kBool) | Only(DType::kString);

// Rows of `inner` elements that can be looked up by content: numbers of rows in a table with free
// places, at most half full. Hashes beside them tell most rows apart.
template <class T>
class RowIndex {
 public:
  // At most `count` rows are added, in order.
  RowIndex(const T* rows, int64_t inner, int64_t count)
      : rows_(rows), inner_(inner), count_(count) {
    size_t places = 16;
    while (places < 2 * static_cast<size_t>(std::min<int64_t>(count, 1024))) places *= 2;
    places_.resize(places);
  }

  // The first row added that equals row `r`, which is added when there is none.
  int64_t Add(int64_t r) {
    constexpr int64_t kAhead = 8;
    if (std::is_arithmetic_v<T> && inner_ == 1 && r + kAhead < count_) {
      __builtin_prefetch(&places_[HashOf(r + kAhead) & (places_.size() - 1)], 1);
    }
    const uint32_t hash = HashOf(r);
    Place& place = places_[PlaceOf(r, hash)];
    if (place.row != kFree) return place.row;
    place = {hash, static_cast<uint32_t>(r)};
    if (2 * static_cast<size_t>(++size_) > places_.size()) Grow(r + 1);
    return r;
  }
  bool Contains(int64_t r) const { return places_[PlaceOf(r, HashOf(r))].row != kFree; }
  int64_t size() const { return size_; }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;
  struct Place {
    uint32_t hash = 0, row = kFree;
  };

  uint32_t HashOf(int64_t r) const {
    uint64_t h = 0;
    for (int64_t i = 0; i < inner_; ++i) {
      const T& v = rows_[r * inner_ + i];
      // Rows with NaN equal none: they must not all look for a place from the same one on.
      h = Mix(h, IsNotANumber(v) ? static_cast<uint64_t>(r) : HashElement(v));
    }
    return static_cast<uint32_t>(h);
  }
  // That of the row that equals row `r`, or a free one.
  size_t PlaceOf(int64_t r, uint32_t hash) const {
    size_t place = hash & (places_.size() - 1);
    while (places_[place].row != kFree &&
           (places_[place].hash != hash || !Equal(places_[place].row, r))) {
      place = (place + 1) & (places_.size() - 1);
    }
    return place;
  }
  bool Equal(int64_t a, int64_t b) const {
    return std::equal(rows_ + a * inner_, rows_ + (a + 1) * inner_, rows_ + b * inner_);
  }
  // By as much as the rest of the rows may need, if as many of them differ as of the first `added`.
  void Grow(int64_t added) {
    size_t places = 2 * places_.size();
    const double likely = static_cast<double>(size_) * static_cast<double>(count_ / added);
    while (static_cast<double>(places) < 2 * likely) places *= 2;
    std::vector<Place> full(places);
    full.swap(places_);
    for (const Place& p : full) {
      if (p.row == kFree) continue;
      size_t place = p.hash & (places_.size() - 1);
      while (places_[place].row != kFree) place = (place + 1) & (places_.size() - 1);
      places_[place] = p;
    }
  }

  const T* const rows_;
  const int64_t inner_, count_;
  std::vector<Place> places_;  // a power of two of them
  int64_t size_ = 0;
};

// The dimension along which rows are compared: [outer, rows, inner].
struct UniqueDims {
  int axis = 0;
  int64_t outer = 1, rows = 0, inner = 1;
};

StatusOr<UniqueDims> ResolveUnique(const OpContext& ctx) {
  const Shape& shape = ctx.input(0).shape();
  UniqueDims dims;
  if (ctx.num_inputs() > 1) {
    const Tensor& axis = ctx.input(1);
    SM_CHECK_ARG(axis.shape().rank() == 1 && axis.num_elements() <= 1, "axis has shape ",
                 axis.shape(), ", expected [0] or [1]");
    if (axis.num_elements() == 1) {
      SM_ASSIGN_OR_RETURN(dims.axis, shape::NormalizeAxis(ctx.IntInput(1), shape.rank()));
      dims.outer = shape.Product(0, dims.axis);
      dims.rows = shape[dims.axis];
      dims.inner = shape.Product(dims.axis + 1, shape.rank());
      return dims;
    }
  }
  SM_CHECK_ARG(shape.rank() == 1, "x has shape ", shape, ", expected a vector");
  dims.rows = shape[0];
  return dims;
}

Status UniqueShape(ShapeContext& ctx) {
  const Shape& x = ctx.input(0);
  if (ctx.num_inputs() == 1) {
    SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
    ctx.set_output(1, x);
  }
  if (x.known_rank()) ctx.set_output(0, Shape::UnknownOfRank(x.rank()));
  return Status();
}

// Finds for every row the number of its first equal; fills `first` with the rows kept.
template <class Index>
void FindUnique(Index seen, int64_t rows, Tensor& idx, std::vector<int32_t>* first) {
  std::vector<int32_t> number(rows);  // of the rows kept
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t same = seen.Add(r);
    if (same == r) {
      number[r] = static_cast<int32_t>(first->size());
      first->push_back(static_cast<int32_t>(r));
    } else {
      number[r] = number[same];
    }
  }
  if (idx.dtype() == DType::kInt32) {
    std::copy(number.begin(), number.end(), static_cast<int32_t*>(idx.raw_mutable_data()));
  } else {
    std::copy(number.begin(), number.end(), static_cast<int64_t*>(idx.raw_mutable_data()));
  }
}

// A RowIndex of integers that are close to each other: a table of all of them.
template <class T>
class SmallIndex {
 public:
  static bool CanHold(const T* rows, int64_t count) {
    if (count == 0) return false;
    const auto [low, high] = std::minmax_element(rows, rows + count);
    return static_cast<uint64_t>(*high) - static_cast<uint64_t>(*low) <
           static_cast<uint64_t>(count);
  }
  SmallIndex(const T* rows, int64_t count)
      : rows_(rows), low_(*std::min_element(rows, rows + count)), first_(count, -1) {}
  int64_t Add(int64_t r) {
    int32_t& first = first_[static_cast<uint64_t>(rows_[r]) - static_cast<uint64_t>(low_)];
    if (first < 0) first = static_cast<int32_t>(r);
    return first;
  }

 private:
  const T* const rows_;
  const T low_;
  std::vector<int32_t> first_;
};

Status Unique(OpContext& ctx) {
  const Tensor& x = ctx.input(0);
  SM_ASSIGN_OR_RETURN(const UniqueDims dims, ResolveUnique(ctx));
  SM_CHECK_ARG(dims.rows <= INT32_MAX, "x has shape ", x.shape(), ", expected less than 2^31 rows");
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, Shape({dims.rows})));
  // Rows side by side: [rows, outer, inner].
  Tensor rows = x;
  const int64_t width = dims.outer * dims.inner;
  if (dims.outer > 1) {
    SM_ASSIGN_OR_RETURN(rows, ctx.AllocateTemp(x.dtype(), x.shape()));
    StridedCopy(ctx, x.dtype(), x.raw_data(), rows.raw_mutable_data(),
                {.dims = {{dims.rows, dims.inner, width},
                          {dims.outer, dims.rows * dims.inner, dims.inner},
                          {dims.inner, 1, 1}}});
  }
  std::vector<int32_t> first;
  SM_RETURN_IF_ERROR(VisitDType<kHashable>(x.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* data = rows.data<T>();
    if constexpr (std::is_same_v<T, int32_t> || std::is_same_v<T, int64_t>) {
      if (width == 1 && SmallIndex<T>::CanHold(data, dims.rows)) {
        FindUnique(SmallIndex<T>(data, dims.rows), dims.rows, ctx.output(1), &first);
        return Status();
      }
    }
    FindUnique(RowIndex<T>(data, width, dims.rows), dims.rows, ctx.output(1), &first);
    return Status();
  }));
  const int64_t n = static_cast<int64_t>(first.size());
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, x.shape().WithDim(dims.axis, n)));
  for (int64_t i = 0, end = 0; i < n; i = end) {
    end = i + 1;
    if (dims.outer == 1) {
      while (end < n && first[end] == first[end - 1] + 1) ++end;
      CopyElements(x.dtype(), rows.raw_data(), first[i] * width, ctx.output(0).raw_mutable_data(),
                   i * width, (end - i) * width);
      continue;
    }
    StridedCopy(ctx, x.dtype(), rows.raw_data(), ctx.output(0).raw_mutable_data(),
                {.dims = {{dims.outer, dims.inner, n * dims.inner}, {dims.inner, 1, 1}},
                 .in_offset = first[i] * width,
                 .out_offset = i * dims.inner});
  }
  if (ctx.num_outputs() < 3) return Status();
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(2, Shape({n})));
  const IntReader number(ctx.output(1));
  std::vector<int64_t> counts(n);
  for (int64_t r = 0; r < dims.rows; ++r) ++counts[number[r]];
  for (int64_t i = 0; i < n; ++i) StoreInt(ctx.output(2), i, counts[i]);
  return Status();
}

Status ListDiffShape(ShapeContext& ctx) {
  for (int i = 0; i < 2; ++i) {
    SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 1));
    ctx.set_output(i, Shape({-1}));
  }
  return Status();
}

// Elements of x that are not in y.
Status ListDiff(OpContext& ctx) {
  const Tensor &x = ctx.input(0), &y = ctx.input(1);
  const int64_t n = x.num_elements(), m = y.num_elements();
  SM_CHECK_ARG(n <= INT32_MAX && m < INT32_MAX, "x and y have shapes ", x.shape(), " and ",
               y.shape(), ", expected less than 2^31 elements");
  // y and then x, so that one index compares both.
  SM_ASSIGN_OR_RETURN(Tensor both, ctx.AllocateTemp(x.dtype(), Shape({m + n})));
  CopyElements(x.dtype(), y.raw_data(), 0, both.raw_mutable_data(), 0, m);
  CopyElements(x.dtype(), x.raw_data(), 0, both.raw_mutable_data(), m, n);
  std::vector<int64_t> kept;
  SM_RETURN_IF_ERROR(VisitDType<kHashable>(x.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    RowIndex<T> in_y(both.data<T>(), 1, m);
    for (int64_t i = 0; i < m; ++i) in_y.Add(i);
    for (int64_t i = 0; i < n; ++i) {
      if (!in_y.Contains(m + i)) kept.push_back(i);
    }
    return Status();
  }));
  const int64_t size = static_cast<int64_t>(kept.size());
  for (int i = 0; i < 2; ++i) SM_RETURN_IF_ERROR(ctx.AllocateOutput(i, Shape({size})));
  for (int64_t i = 0; i < size; ++i) {
    CopyElements(x.dtype(), x.raw_data(), kept[i], ctx.output(0).raw_mutable_data(), i, 1);
    StoreInt(ctx.output(1), i, kept[i]);
  }
  return Status();
}

// ------------------------------------------------------------------------------------------ Where

Status WhereShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  ctx.set_output(0, Shape({-1, ctx.input(0).rank()}));
  return Status();
}

// Bit i: whether byte i of the first `n` <= 64 is not 0.
uint64_t FlagBits(const uint8_t* flags, int64_t n) {
  uint64_t bits = 0;
  const auto add = [&](int64_t i, uint64_t bytes) {
    constexpr uint64_t kLow = 0x7f7f7f7f7f7f7f7fu;
    bytes = (((bytes & kLow) + kLow) | bytes) >> 7 & 0x0101010101010101u;
    // Each byte's lowest bit gets a place of its own in the highest byte.
    bits |= (bytes * 0x0102040810204080u) >> 56 << i;
  };
  int64_t i = 0;
  uint64_t bytes = 0;
  for (; i + 8 <= n; i += 8) {
    std::memcpy(&bytes, flags + i, 8);
    add(i, bytes);
  }
  if (i < n) {
    bytes = 0;
    std::memcpy(&bytes, flags + i, static_cast<size_t>(n - i));
    add(i, bytes);
  }
  return bits;
}

// Writes the coordinates of the elements whose flags are not 0, `n` of them.
void StorePositions(const uint8_t* flags, const Shape& shape, int64_t n, int64_t* out) {
  const int last = shape.rank() - 1;
  const int64_t columns = shape[last];
  std::vector<int64_t> at(last);
  for (const int64_t* const end = out + n * (last + 1); out != end; flags += columns) {
    for (int64_t first = 0; first < columns; first += 64) {
      uint64_t bits = FlagBits(flags + first, std::min<int64_t>(64, columns - first));
      for (; bits != 0; bits &= bits - 1) {
        for (int d = 0; d < last; ++d) *out++ = at[d];
        *out++ = first + __builtin_ctzll(bits);
      }
    }
    for (int d = last - 1; d >= 0 && ++at[d] == shape[d]; --d) at[d] = 0;
  }
}

Status Where(OpContext& ctx) {
  const Tensor& in = ctx.input(0);
  const int64_t size = in.num_elements();
  Tensor flags = in;
  if (in.dtype() != DType::kBool) {
    SM_ASSIGN_OR_RETURN(flags, ctx.AllocateTemp(DType::kBool, in.shape()));
    bool* to = static_cast<bool*>(flags.raw_mutable_data());
    SM_RETURN_IF_ERROR(VisitDType<kNumbers>(in.dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* from = in.data<T>();
      for (int64_t i = 0; i < size; ++i) to[i] = from[i] != T(0);
      return Status();
    }));
  }
  const uint8_t* bytes = static_cast<const uint8_t*>(flags.raw_data());
  int64_t n = 0;
  for (int64_t i = 0; i < size; i += 64) {
    n += __builtin_popcountll(FlagBits(bytes + i, std::min<int64_t>(64, size - i)));
  }
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, Shape({n, in.shape().rank()})));
  StorePositions(bytes, in.shape(), n, ctx.out<int64_t>(0));
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "ListDiff(x: T, y: T) -> (out: T, idx: out_idx); T: type; "
                  "out_idx: {int32,int64} = int32",
     .shape = ListDiffShape,
     .build = BuildPlain<ListDiff>},
    {.signature = "Unique(x: T) -> (y: T, idx: out_idx); T: type; out_idx: {int32,int64} = int32",
     .shape = UniqueShape,
     .build = BuildPlain<Unique>},
    {.signature = "UniqueV2(x: T, axis: Taxis) -> (y: T, idx: out_idx); T: type; "
                  "Taxis: {int32,int64} = int64; out_idx: {int32,int64} = int32",
     .shape = UniqueShape,
     .build = BuildPlain<Unique>},
    {.signature = "UniqueWithCounts(x: T) -> (y: T, idx: out_idx, count: out_idx); T: type; "
                  "out_idx: {int32,int64} = int32",
     .shape = UniqueShape,
     .build = BuildPlain<Unique>},
    {.signature = "UniqueWithCountsV2(x: T, axis: Taxis) -> (y: T, idx: out_idx, count: "
                  "out_idx); T: type; Taxis: {int32,int64} = int64; "
                  "out_idx: {int32,int64} = int32",
     .shape = UniqueShape,
     .build = BuildPlain<Unique>},
    {.signature = "Where(input: T) -> (index: int64); T: {float,double,int32,uint8,int16,int8,"
                  "complex64,int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64,bool} = bool",
     .shape = WhereShape,
     .build = BuildPlain<Where>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> UniqueOps() { return kOps; }

}  // namespace savedmodel
