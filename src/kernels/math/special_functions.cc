#include "src/kernels/math/special_functions.h"

#include <cmath>
#include <complex>
#include <limits>

namespace savedmodel {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kEulerGamma = 0.57721566490153286061;

// C(x) + i S(x) for x >= 0.
std::complex<double> Fresnel(double x) {
  if (x < 1.6) {
    // sum of (i pi/2)^k x^(2k+1) / (k! (2k+1))
    const std::complex<double> z(0, M_PI / 2 * x * x);
    std::complex<double> power = x, sum = 0;
    for (int k = 0; k < 60; ++k) {
      const std::complex<double> term = power / static_cast<double>(2 * k + 1);
      sum += term;
      if (std::abs(term) <= kEpsilon * std::abs(sum)) break;
      power *= z / static_cast<double>(k + 1);
    }
    return sum;
  }
  if (x > 1e8) return {0.5, 0.5};
  // (1 + i)/2 (1 - e^(i pi x^2 / 2) erfc-like continued fraction), by Lentz's method.
  const double pix2 = M_PI * x * x;
  std::complex<double> b(1, -pix2), c = kInfinity, d = 1.0 / b, h = d;
  for (int k = 2, n = -1; k < 200; ++k) {
    n += 2;
    const double a = -static_cast<double>(n) * (n + 1);
    b += 4.0;
    d = 1.0 / (a * d + b);
    c = k == 2 ? b : b + a / c;
    const std::complex<double> change = c * d;
    h *= change;
    if (std::abs(change.real() - 1) + std::abs(change.imag()) < kEpsilon) break;
  }
  h *= std::complex<double>(x, -x);
  // The argument of the rotation is reduced modulo 4 in x^2, which keeps its digits.
  const double square = std::fmod(x * x, 4.0);
  const std::complex<double> rotation(std::cos(M_PI / 2 * square), std::sin(M_PI / 2 * square));
  return std::complex<double>(0.5, 0.5) * (1.0 - rotation * h);
}

// sum of z^k / k^2, |z| <= 1/2.
double DilogarithmSeries(double z) {
  double sum = 0, power = 1;
  for (int k = 1; k < 100; ++k) {
    power *= z;
    const double term = power / (static_cast<double>(k) * k);
    sum += term;
    if (std::abs(term) <= kEpsilon * std::abs(sum)) break;
  }
  return sum;
}

}  // namespace

double Dawson(double x) {
  const double size = std::abs(x);
  if (size < 0.2) {
    const double x2 = x * x;
    double term = x, sum = x;
    for (int k = 1; k < 20; ++k) {
      term *= -2 * x2 / (2 * k + 1);
      sum += term;
    }
    return sum;
  }
  if (size > 20) {
    // 1/(2x) (1 + 1/(2x^2) (1 + 3/(2x^2) (1 + 5/(2x^2) ...)))
    const double y = 0.5 / size / size;
    double tail = 1;
    for (int k = 15; k > 0; k -= 2) tail = 1 + k * y * tail;
    return 0.5 / x * tail;
  }
  // Rybicki: sum over odd n of e^(-(x - n h)^2) / (n sqrt(pi)), which converges exponentially in h.
  constexpr double kStep = 0.2;
  const double nearest = 2 * std::round(0.5 * size / kStep), rest = size - nearest * kStep;
  double sum = 0;
  for (int n = -61; n <= 61; n += 2) {
    const double distance = rest - n * kStep;
    sum += std::exp(-distance * distance) / (n + nearest);
  }
  return std::copysign(sum / std::sqrt(M_PI), x);
}

double ExponentialIntegral(double x) {
  if (!(x >= 0) || std::isinf(x)) return kNan;
  if (x == 0) return -kInfinity;
  if (x < 40) {
    double sum = 0, term = 1;
    for (int k = 1; k < 300; ++k) {
      term *= x / k;
      sum += term / k;
      if (term / k < kEpsilon * sum) break;
    }
    return sum + std::log(x) + kEulerGamma;
  }
  double sum = 1, term = 1;
  for (int k = 1; k < 40; ++k) {
    term *= k / x;
    if (term < kEpsilon) break;
    sum += term;
  }
  return std::exp(x) * sum / x;
}

double FresnelCosine(double x) {
  if (x != x) return x;
  return std::copysign(Fresnel(std::abs(x)).real(), x);
}

double FresnelSine(double x) {
  if (x != x) return x;
  return std::copysign(Fresnel(std::abs(x)).imag(), x);
}

double Spence(double x) {
  if (!(x >= 0) || std::isinf(x)) return kNan;
  if (x == 0) return M_PI * M_PI / 6;
  if (x > 2) {  // from 1/x
    const double log = std::log(x);
    return -0.5 * log * log - Spence(1 / x);
  }
  if (x > 1.5) {  // Li2(1 - x) = -Li2(1 - 1/x) - ln(x)^2 / 2
    const double log = std::log(x);
    return -DilogarithmSeries(1 - 1 / x) - 0.5 * log * log;
  }
  if (x >= 0.5) return DilogarithmSeries(1 - x);
  return M_PI * M_PI / 6 - std::log(x) * std::log1p(-x) - DilogarithmSeries(x);
}

}  // namespace savedmodel
