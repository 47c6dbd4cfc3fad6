// Spectrograms of sound and the cepstral coefficients of speech recognition.
#include <algorithm>
#include <cmath>
#include <complex>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// The smallest power of two that is at least n.
int64_t PowerOfTwoFrom(int64_t n) {
  int64_t p = 1;
  while (p < n) p *= 2;
  return p;
}

// Fourier transforms of one power-of-two length, in place.
class Fourier {
 public:
  explicit Fourier(int64_t n) : roots_(n / 2), n_(n) {
    for (int64_t i = 0; i < n / 2; ++i) roots_[i] = std::polar(1.0, -2 * M_PI * i / n);
  }
  void Run(std::complex<double>* x) const {
    for (int64_t i = 1, j = 0; i < n_; ++i) {  // bit-reversed order
      int64_t bit = n_ >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) std::swap(x[i], x[j]);
    }
    for (int64_t half = 1; half < n_; half *= 2) {
      const int64_t step = n_ / (2 * half);
      for (int64_t from = 0; from < n_; from += 2 * half) {
        for (int64_t i = 0; i < half; ++i) {
          const std::complex<double> a = x[from + i], b = x[from + i + half] * roots_[i * step];
          x[from + i] = a + b;
          x[from + i + half] = a - b;
        }
      }
    }
  }

 private:
  std::vector<std::complex<double>> roots_;
  int64_t n_;
};

struct SpectrogramAttrs {
  int64_t window = 0, stride = 0, length = 0;
  bool squared = false;
};

StatusOr<SpectrogramAttrs> ReadAttrs(const Attrs& list) {
  SpectrogramAttrs a{.window = list.Int("window_size"),
                     .stride = list.Int("stride"),
                     .squared = list.Bool("magnitude_squared")};
  SM_CHECK_ARG(a.window >= 2 && a.window <= (1 << 24) && a.stride >= 1, "found window_size ",
               a.window, " and stride ", a.stride, ", expected at least 2 and at least 1");
  a.length = PowerOfTwoFrom(a.window);
  return a;
}

Status SpectrogramShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const SpectrogramAttrs a, ReadAttrs(ctx.attrs()));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  int64_t slices = -1;
  if (in[0] >= 0) slices = in[0] < a.window ? 0 : 1 + (in[0] - a.window) / a.stride;
  ctx.set_output(0, Shape({in[1], slices, 1 + a.length / 2}));
  return Status();
}

StatusOr<KernelPtr> BuildSpectrogram(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const SpectrogramAttrs a, ReadAttrs(build.attrs()));
  std::vector<double> window(a.window);
  for (int64_t i = 0; i < a.window; ++i) window[i] = 0.5 - 0.5 * std::cos(2 * M_PI * i / a.window);
  return MakeKernel([a, window, fourier = Fourier(a.length)](OpContext& ctx) -> Status {
    const Shape& out = ctx.output(0).shape();
    const float* x = ctx.in<float>(0);
    float* y = ctx.out<float>(0);
    const int64_t channels = out[0], slices = out[1], bins = out[2];
    ctx.ParallelFor(channels * slices, 50.0 * a.length, [&](int64_t begin, int64_t end) {
      std::vector<std::complex<double>> frame(a.length);
      for (int64_t s = begin; s < end; ++s) {
        std::fill(frame.begin(), frame.end(), 0.0);
        const float* from = x + s % slices * a.stride * channels + s / slices;
        for (int64_t i = 0; i < a.window; ++i) frame[i] = window[i] * from[i * channels];
        fourier.Run(frame.data());
        for (int64_t i = 0; i < bins; ++i) {
          const double power = std::norm(frame[i]);
          y[s * bins + i] = static_cast<float>(a.squared ? power : std::sqrt(power));
        }
      }
    });
    return Status();
  });
}

// ------------------------------------------------------------------------------------- cepstrum

struct MfccAttrs {
  double upper = 0, lower = 0;
  int64_t filters = 0, coefficients = 0;
};

StatusOr<MfccAttrs> ReadMfccAttrs(const Attrs& list) {
  const MfccAttrs a{list.Float("upper_frequency_limit"), list.Float("lower_frequency_limit"),
                    list.Int("filterbank_channel_count"), list.Int("dct_coefficient_count")};
  SM_CHECK_ARG(a.filters >= 1 && a.filters <= (1 << 20) && a.coefficients >= 1 &&
                   a.coefficients <= a.filters,
               "found filterbank_channel_count ", a.filters, " and dct_coefficient_count ",
               a.coefficients, ", expected 1 <= coefficients <= channels");
  SM_CHECK_ARG(a.lower >= 0 && a.upper > a.lower, "found frequencies from ", a.lower, " to ",
               a.upper);
  return a;
}

Status MfccShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const MfccAttrs a, ReadMfccAttrs(ctx.attrs()));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 3));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  const Shape& in = ctx.input(0);
  if (in.known_rank()) ctx.set_output(0, Shape({in[0], in[1], a.coefficients}));
  return Status();
}

double Mel(double frequency) { return 1127.0 * std::log1p(frequency / 700.0); }

// Triangular filters, evenly spaced in mel. A spectrum bin adds its weight to one filter and the
// rest to the filter above.
class FilterBank {
 public:
  FilterBank(const MfccAttrs& a, int64_t bins, double sample_rate) : filters_(a.filters) {
    const double low = Mel(a.lower), spacing = (Mel(a.upper) - low) / (a.filters + 1);
    const auto center = [&](int64_t i) { return low + spacing * (i + 1); };
    const double hertz = 0.5 * sample_rate / static_cast<double>(bins - 1);
    begin_ = static_cast<int64_t>(std::min(1.5 + a.lower / hertz, 1e15));
    end_ = static_cast<int64_t>(std::min(a.upper / hertz, 1e15)) + 1;
    if (end_ > bins) end_ = begin_;  // the spectrum does not reach that far: no energy at all
    int64_t filter = 0;
    for (int64_t i = begin_; i < end_; ++i) {
      const double mel = Mel(i * hertz);
      while (filter < filters_ && center(filter) < mel) ++filter;
      const int64_t below = filter - 1;
      filter_.push_back(below);
      weight_.push_back(below >= 0 ? (center(below + 1) - mel) / spacing
                                   : (center(0) - mel) / (center(0) - low));
    }
  }
  bool empty() const { return begin_ >= end_; }
  void Run(const float* spectrum, double* out) const {
    std::fill_n(out, filters_, 0.0);
    for (int64_t i = begin_; i < end_; ++i) {
      const double value = std::sqrt(static_cast<double>(spectrum[i]));
      const double weighted = value * weight_[i - begin_];
      const int64_t below = filter_[i - begin_];
      if (below >= 0) out[below] += weighted;
      if (below + 1 < filters_) out[below + 1] += value - weighted;
    }
  }

 private:
  int64_t filters_, begin_ = 0, end_ = 0;
  std::vector<int64_t> filter_;  // of each bin from begin_ on; -1 below the first
  std::vector<double> weight_;
};

Status RunMfcc(OpContext& ctx, const MfccAttrs& a) {
  const Shape& in = ctx.input(0).shape();
  const int64_t bins = in[2], sample_rate = ctx.IntInput(1);
  SM_CHECK_ARG(bins >= 2 && sample_rate > 0, "found ", bins, " frequencies at sample rate ",
               sample_rate, ", expected two or more at a positive rate");
  const FilterBank bank(a, bins, static_cast<double>(sample_rate));
  const double norm = std::sqrt(2.0 / a.filters), step = M_PI / a.filters;
  float* y = ctx.out<float>(0);
  std::vector<double> energies(a.filters);
  for (int64_t frame = 0; frame < in[0] * in[1]; ++frame) {
    bank.Run(ctx.in<float>(0) + frame * bins, energies.data());
    for (double& e : energies) e = std::log(std::max(e, 1e-12));
    for (int64_t i = 0; i < a.coefficients; ++i) {
      SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
      double sum = 0;
      for (int64_t j = 0; j < a.filters; ++j)
        sum += norm * std::cos(i * step * (j + 0.5)) * energies[j];
      *y++ = bank.empty() ? 0 : static_cast<float>(sum);
    }
  }
  return Status();
}

StatusOr<KernelPtr> BuildMfcc(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const MfccAttrs a, ReadMfccAttrs(build.attrs()));
  return MakeKernel([a](OpContext& ctx) { return RunMfcc(ctx, a); });
}

constexpr OpDef kOps[] = {
    {.signature = "AudioSpectrogram(input: float) -> (spectrogram: float); window_size: int; "
                  "stride: int; magnitude_squared: bool = false",
     .shape = SpectrogramShape,
     .build = BuildSpectrogram},
    {.signature = "Mfcc(spectrogram: float, sample_rate: int32) -> (output: float); "
                  "upper_frequency_limit: float = 4000.0; lower_frequency_limit: float = 20.0; "
                  "filterbank_channel_count: int = 40; dct_coefficient_count: int = 13",
     .shape = MfccShape,
     .build = BuildMfcc},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SpectrogramOps() { return kOps; }

}  // namespace savedmodel
