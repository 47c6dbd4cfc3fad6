#include "src/kernels/nn/uniform_geometry.h"

#include <algorithm>
#include <numeric>

#include "src/base/status_macros.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/io/wire.h"

namespace savedmodel {
namespace {

// Strides, sizes and paddings beyond this are refused, so that their products cannot overflow.
constexpr int64_t kLargest = int64_t{1} << 30;

// INVALID_ARGUMENT unless each of `rank` dimensions is named once.
Status CheckDimensions(const UniformDimensions& dimensions, int rank) {
  std::vector<int64_t> all = dimensions.spatial;
  all.push_back(dimensions.batch);
  all.push_back(dimensions.feature);
  std::sort(all.begin(), all.end());
  bool each_once = static_cast<int>(all.size()) == rank;
  for (size_t i = 0; each_once && i < all.size(); ++i) {
    each_once = all[i] == static_cast<int64_t>(i);
  }
  SM_CHECK_ARG(each_once, "dimension_numbers name dimensions ", all, " of a tensor of rank ", rank,
               ", expected each once");
  return Status();
}

// The values of a repeated field, packed or not.
void AppendNumbers(const WireReader& reader, std::vector<int64_t>* out) {
  if (!reader.is_bytes()) {
    out->push_back(static_cast<int64_t>(reader.number()));
    return;
  }
  const char* at = reader.bytes().data();
  const char* const end = at + reader.bytes().size();
  uint64_t value = 0;
  while (at < end && ReadVarint(&at, end, &value)) out->push_back(static_cast<int64_t>(value));
}

// Attribute dimension_numbers: a serialized UniformQuantizedConvolutionDimensionNumbersAttr.
Status ReadDimensions(std::string_view message, UniformConvAttrs* attrs) {
  attrs->lhs.feature = attrs->rhs.feature = attrs->out.feature = 0;
  UniformDimensions* const tensors[] = {&attrs->lhs, &attrs->rhs, &attrs->out};
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() > 9) continue;
    const uint32_t tensor = (reader.field() - 1) / 3, which = (reader.field() - 1) % 3;
    UniformDimensions* d = tensors[tensor];
    if (which == 2) {
      AppendNumbers(reader, &d->spatial);
    } else {
      // Of rhs, features come first.
      int64_t& dim = (which == 0) == (tensor != 1) ? d->batch : d->feature;
      dim = static_cast<int64_t>(reader.number());
    }
  }
  SM_CHECK_ARG(reader.ok(), "dimension_numbers is no message that can be read");
  attrs->has_dimensions = !attrs->lhs.spatial.empty();
  if (!attrs->has_dimensions) attrs->lhs = attrs->rhs = attrs->out = UniformDimensions();
  return Status();
}

}  // namespace

StatusOr<UniformConvAttrs> ReadUniformConvAttrs(const Attrs& list) {
  UniformConvAttrs attrs{.strides = list.Ints("window_strides"),
                         .in_dilation = list.Ints("lhs_dilation"),
                         .window_dilation = list.Ints("rhs_dilation"),
                         .paddings = list.Ints("explicit_padding"),
                         .padding = list.String("padding"),
                         .feature_groups = list.Int("feature_group_count"),
                         .batch_groups = list.Int("batch_group_count")};
  const std::string& padding = attrs.padding;
  SM_CHECK_ARG(padding == "EXPLICIT" || padding == "SAME" || padding == "VALID", "padding is ",
               padding, ", expected EXPLICIT, SAME or VALID");
  SM_CHECK_ARG(padding == "EXPLICIT" || attrs.paddings.empty(),
               "explicit_padding must be empty unless padding is EXPLICIT");
  SM_CHECK_ARG(attrs.feature_groups > 0 && attrs.batch_groups > 0, "found ", attrs.feature_groups,
               " groups of features and ", attrs.batch_groups, " of the batch");
  for (const auto* numbers : {&attrs.strides, &attrs.in_dilation, &attrs.window_dilation}) {
    for (int64_t n : *numbers) {
      SM_CHECK_ARG(n >= 1 && n < kLargest, "strides and dilations must be positive, found ", n);
    }
  }
  for (int64_t n : attrs.paddings) {
    SM_CHECK_ARG(n >= 0 && n < kLargest, "explicit_padding must not be negative, found ", n);
  }
  const std::string& dimensions = list.String("dimension_numbers");
  if (!dimensions.empty()) SM_RETURN_IF_ERROR(ReadDimensions(dimensions, &attrs));
  return attrs;
}

namespace {

int64_t Dilated(int64_t size, int64_t dilation) {
  return size == 0 ? 0 : (size - 1) * dilation + 1;
}

// Output size and leading padding of spatial dimension `i`.
Status MoveWindow(const UniformConvAttrs& attrs, size_t i, UniformSpatial* s) {
  SM_CHECK_ARG(s->in < kLargest && s->window < kLargest, "a dimension is too large");
  const int64_t in = Dilated(s->in, s->in_dilation);
  const int64_t window = Dilated(s->window, s->window_dilation);
  int64_t padded = in;
  if (attrs.padding == "EXPLICIT") {
    s->before = attrs.paddings[2 * i];
    padded += s->before + attrs.paddings[2 * i + 1];
  } else if (attrs.padding == "SAME") {
    const int64_t out = (in + s->step - 1) / s->step;
    const int64_t needed = std::max<int64_t>(0, (out - 1) * s->step + window - in);
    s->before = needed / 2;
    padded += needed;
  }
  s->out = (padded - window + s->step) / s->step;
  SM_CHECK_ARG(s->out >= 0, "a window of ", window, " does not fit ", padded);
  return Status();
}

}  // namespace

StatusOr<UniformProduct> MakeUniformConv(UniformConvAttrs attrs, const Shape& lhs,
                                         const Shape& rhs) {
  const int rank = lhs.rank();
  SM_CHECK_ARG(rank > 2 && rhs.rank() == rank, "lhs has shape ", lhs, ", rhs ", rhs,
               ", expected one rank of at least 3");
  const size_t n = rank - 2;
  for (auto* numbers : {&attrs.strides, &attrs.in_dilation, &attrs.window_dilation}) {
    if (numbers->empty()) numbers->assign(n, 1);
    SM_CHECK_ARG(numbers->size() == n, "found ", numbers->size(),
                 " strides or dilations, expected ", n);
  }
  SM_CHECK_ARG(attrs.padding != "EXPLICIT" || attrs.paddings.size() == 2 * n,
               "explicit_padding has ", attrs.paddings.size(), " values, expected ", 2 * n);
  for (UniformDimensions* d : {&attrs.lhs, &attrs.rhs, &attrs.out}) {
    if (!attrs.has_dimensions) {
      *d = UniformDimensions{.spatial = std::vector<int64_t>(n)};
      std::iota(d->spatial.begin(), d->spatial.end(), 2);
    }
    SM_RETURN_IF_ERROR(CheckDimensions(*d, rank));
  }
  UniformProduct p{.depth = rhs[attrs.rhs.feature],
                   .feature_groups = attrs.feature_groups,
                   .batch_groups = attrs.batch_groups};
  const int64_t features = lhs[attrs.lhs.feature], batch = lhs[attrs.lhs.batch];
  p.channels = rhs[attrs.rhs.batch];
  SM_CHECK_ARG(p.depth > 0 && features % p.feature_groups == 0 &&
                   features / p.feature_groups == p.depth && p.channels % p.feature_groups == 0,
               "lhs ", lhs, " has ", features, " features, rhs ", rhs, " takes ", p.depth, " in ",
               p.feature_groups, " groups");
  SM_CHECK_ARG(batch % p.batch_groups == 0 && p.channels % p.batch_groups == 0, "lhs ", lhs,
               " has a batch of ", batch, ", rhs ", rhs, " makes ", p.channels,
               " features, expected multiples of the ", p.batch_groups, " groups");
  p.batch = batch / p.batch_groups;
  std::vector<int64_t> dims(rank);
  dims[attrs.out.batch] = p.batch;
  dims[attrs.out.feature] = p.channels;
  p.spatial.resize(n);
  for (size_t i = 0; i < n; ++i) {
    UniformSpatial& s = p.spatial[i];
    s.in = lhs[attrs.lhs.spatial[i]];
    s.window = rhs[attrs.rhs.spatial[i]];
    s.step = attrs.strides[i];
    s.in_dilation = attrs.in_dilation[i];
    s.window_dilation = attrs.window_dilation[i];
    SM_RETURN_IF_ERROR(MoveWindow(attrs, i, &s));
    dims[attrs.out.spatial[i]] = s.out;
  }
  SM_ASSIGN_OR_RETURN(p.out, Shape::Make(dims));
  const Strides lhs_strides = StridesOf(lhs), rhs_strides = StridesOf(rhs),
                out_strides = StridesOf(p.out);
  p.lhs_batch = lhs_strides[attrs.lhs.batch];
  p.lhs_feature = lhs_strides[attrs.lhs.feature];
  p.rhs_in = rhs_strides[attrs.rhs.feature];
  p.rhs_out = rhs_strides[attrs.rhs.batch];
  p.out_batch = out_strides[attrs.out.batch];
  p.out_feature = out_strides[attrs.out.feature];
  for (size_t i = 0; i < n; ++i) {
    p.spatial[i].in_stride = lhs_strides[attrs.lhs.spatial[i]];
    p.spatial[i].window_stride = rhs_strides[attrs.rhs.spatial[i]];
    p.spatial[i].out_stride = out_strides[attrs.out.spatial[i]];
  }
  return p;
}

StatusOr<UniformProduct> MakeUniformDot(const Shape& lhs, const Shape& rhs) {
  SM_CHECK_ARG(lhs.rank() == 2 && rhs.rank() == 2 && lhs[1] == rhs[0], "lhs has shape ", lhs,
               ", rhs ", rhs, ", expected matrices that can be multiplied");
  return UniformProduct{.batch = lhs[0],
                        .channels = rhs[1],
                        .depth = lhs[1],
                        .lhs_batch = lhs[1],
                        .lhs_feature = 1,
                        .rhs_in = rhs[1],
                        .rhs_out = 1,
                        .out_batch = rhs[1],
                        .out_feature = 1,
                        .out = Shape{lhs[0], rhs[1]}};
}

}  // namespace savedmodel
