// Summaries: encodings of tensorflow.Summary as strings.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/control/control_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Appends fields of a protocol buffer to text.
class ProtoWriter {
 public:
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_.push_back(static_cast<char>(value | 0x80));
    text_.push_back(static_cast<char>(value));
  }
  void Bytes(int field, std::string_view bytes) {
    Varint(static_cast<uint64_t>(field) << 3 | 2);
    Varint(bytes.size());
    text_.append(bytes);
  }
  void Float(int field, float value) {
    Varint(static_cast<uint64_t>(field) << 3 | 5);
    Raw(value);
  }
  // Zero is the default, which is left out.
  void Double(int field, double value) {
    if (value == 0) return;
    Varint(static_cast<uint64_t>(field) << 3 | 1);
    Raw(value);
  }
  void Doubles(int field, const std::vector<double>& values) {
    ProtoWriter packed;
    for (const double value : values) packed.Raw(value);
    Bytes(field, packed.text_);
  }
  const std::string& text() const { return text_; }

 private:
  template <class T>
  void Raw(T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    text_.append(bytes, sizeof(T));
  }

  std::string text_;
};

// The elements of real tensor `t` as doubles.
StatusOr<std::vector<double>> AsDoubles(const Tensor& t) {
  std::vector<double> out(t.num_elements());
  SM_RETURN_IF_ERROR(VisitDType<kReals>(t.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* p = t.data<T>();
    for (size_t i = 0; i < out.size(); ++i) {
      if constexpr (sizeof(T) <= 2 && !std::is_integral_v<T>) {
        out[i] = static_cast<float>(p[i]);
      } else {
        out[i] = static_cast<double>(p[i]);
      }
    }
    return Status();
  }));
  return out;
}

Status RunScalarSummary(OpContext& ctx) {
  const Tensor &tags = ctx.input(0), &values = ctx.input(1);
  SM_CHECK_ARG(tags.shape() == values.shape(), "tags have shape ", tags.shape(), ", values ",
               values.shape(), "; expected the same");
  SM_ASSIGN_OR_RETURN(const std::vector<double> numbers, AsDoubles(values));
  ProtoWriter summary;
  for (size_t i = 0; i < numbers.size(); ++i) {
    ProtoWriter value;
    value.Bytes(1, tags.data<std::string>()[i]);
    value.Float(2, static_cast<float>(numbers[i]));
    summary.Bytes(1, value.text());
  }
  *ctx.out<std::string>(0) = summary.text();
  return Status();
}

// Upper limits of TensorFlow's buckets: growing by a tenth, either side of zero.
std::vector<double> BucketLimits() {
  std::vector<double> positive;
  for (double v = 1e-12; v < 1e20; v *= 1.1) positive.push_back(v);
  positive.push_back(DBL_MAX);
  std::vector<double> limits;
  for (size_t i = positive.size(); i-- > 0;) limits.push_back(-positive[i]);
  limits.push_back(0);
  limits.insert(limits.end(), positive.begin(), positive.end());
  return limits;
}

std::string EncodeHistogram(const std::vector<double>& numbers) {
  static const std::vector<double> kLimits = BucketLimits();
  std::vector<double> counts(kLimits.size());
  double least = DBL_MAX, most = -DBL_MAX, sum = 0, squares = 0;
  for (const double x : numbers) {
    const auto bucket = std::upper_bound(kLimits.begin(), kLimits.end(), x) - kLimits.begin();
    counts[std::min<size_t>(bucket, kLimits.size() - 1)] += 1;
    least = std::min(least, x);
    most = std::max(most, x);
    sum += x;
    squares += x * x;
  }
  std::vector<double> kept_limits, kept_counts;
  for (size_t i = 0; i < counts.size(); ++i) {
    // Of a run of empty buckets the last one stands for all.
    if (counts[i] == 0 && i + 1 < counts.size() && counts[i + 1] == 0) continue;
    kept_limits.push_back(kLimits[i]);
    kept_counts.push_back(counts[i]);
  }
  ProtoWriter histogram;
  histogram.Double(1, least);
  histogram.Double(2, most);
  histogram.Double(3, static_cast<double>(numbers.size()));
  histogram.Double(4, sum);
  histogram.Double(5, squares);
  histogram.Doubles(6, kept_limits);
  histogram.Doubles(7, kept_counts);
  return histogram.text();
}

Status RunHistogramSummary(OpContext& ctx) {
  const Tensor& tag = ctx.input(0);
  SM_CHECK_ARG(tag.shape().rank() == 0, "the tag has shape ", tag.shape(), ", expected a scalar");
  SM_ASSIGN_OR_RETURN(const std::vector<double> numbers, AsDoubles(ctx.input(1)));
  for (const double x : numbers) {
    SM_CHECK_ARG(std::isfinite(x), "found ", x, " among the values of '", *tag.data<std::string>(),
                 "', expected finite numbers");
  }
  ProtoWriter value, summary;
  value.Bytes(1, *tag.data<std::string>());
  value.Bytes(5, EncodeHistogram(numbers));
  summary.Bytes(1, value.text());
  *ctx.out<std::string>(0) = summary.text();
  return Status();
}

// Summaries are lists of values, so that their encodings follow one another.
Status RunMergeSummary(OpContext& ctx) {
  std::string merged;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    for (const std::string& summary : ctx.input(i).values<std::string>()) merged += summary;
  }
  *ctx.out<std::string>(0) = std::move(merged);
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "HistogramSummary(tag: string, values: T) -> (summary: string); T: {float,double,"
                  "int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64} = float",
     .shape = shape::Scalar,
     .build = BuildPlain<RunHistogramSummary>},
    {.signature = "MergeSummary(inputs: N * string) -> (summary: string); N: int >= 1",
     .shape = shape::Scalar,
     .build = BuildPlain<RunMergeSummary>},
    {.signature = "ScalarSummary(tags: string, values: T) -> (summary: string); T: {float,double,"
                  "int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64}",
     .shape = shape::Scalar,
     .build = BuildPlain<RunScalarSummary>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SummaryOps() { return kOps; }

}  // namespace savedmodel
