// Special functions that neither <cmath> nor Eigen has. Accurate to about 1e-12, NaN outside their
// domains.
#pragma once

namespace savedmodel {

// Dawson's integral e^(-x^2) int_0^x e^(t^2) dt.
double Dawson(double x);
// The exponential integral Ei(x) for x >= 0.
double ExponentialIntegral(double x);
// Fresnel's integrals int_0^x of cos and sin of pi t^2 / 2.
double FresnelCosine(double x);
double FresnelSine(double x);
// Spence's function -int_1^x ln(t) / (t - 1) dt for x >= 0.
double Spence(double x);

}  // namespace savedmodel
