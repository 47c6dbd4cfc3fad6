// Scalar functions over matrices and arrays: what fused passes and epilogues apply.
#pragma once

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// Calls fn(f) with the vector function of unary `op`.
template <class F>
inline void WithUnary(ScalarOp op, float parameter, F&& fn) {
  switch (op) {
    case ScalarOp::kAbs:
      return fn([](Vec x) { return Abs(x); });
    case ScalarOp::kNeg:
      return fn([](Vec x) { return -x; });
    case ScalarOp::kSquare:
      return fn([](Vec x) { return x * x; });
    case ScalarOp::kSqrt:
      return fn([](Vec x) { return Sqrt(x); });
    case ScalarOp::kRsqrt:
      return fn([](Vec x) { return 1.0f / Sqrt(x); });
    case ScalarOp::kReciprocal:
      return fn([](Vec x) { return 1.0f / x; });
    case ScalarOp::kExp:
      return fn([](Vec x) { return Exp(x); });
    case ScalarOp::kLog:
      return fn([](Vec x) { return Log(x); });
    case ScalarOp::kLog1p:
      return fn([](Vec x) { return Log1p(x); });
    case ScalarOp::kExpm1:
      return fn([](Vec x) { return Expm1(x); });
    case ScalarOp::kTanh:
      return fn([](Vec x) { return Tanh(x); });
    case ScalarOp::kSigmoid:
      return fn([](Vec x) { return Sigmoid(x); });
    case ScalarOp::kRelu:
      return fn([](Vec x) { return AtLeast(x, 0); });
    case ScalarOp::kRelu6:
      return fn([](Vec x) { return AtMost(AtLeast(x, 0), 6); });
    case ScalarOp::kLeakyRelu:
      return fn([parameter](Vec x) { return x > Splat(0) ? x : x * parameter; });
    case ScalarOp::kElu:
      return fn([](Vec x) { return x < Splat(0) ? Expm1(x) : x; });
    case ScalarOp::kSelu:
      return fn([](Vec x) {
        return x < Splat(0) ? 1.7580993408473766f * Expm1(x) : 1.0507009873554805f * x;
      });
    case ScalarOp::kSoftplus:
      return fn([](Vec x) { return Softplus(x); });
    case ScalarOp::kSoftsign:
      return fn([](Vec x) { return x / (Abs(x) + 1.0f); });
    case ScalarOp::kErf:
      return fn([](Vec x) { return Erf(x); });
    case ScalarOp::kErfc:
      return fn([](Vec x) { return Erfc(x); });
    case ScalarOp::kSin:
      return fn([](Vec x) { return EachLane(x, [](float v) { return __builtin_sinf(v); }); });
    case ScalarOp::kCos:
      return fn([](Vec x) { return EachLane(x, [](float v) { return __builtin_cosf(v); }); });
    case ScalarOp::kFloor:
      return fn([](Vec x) { return Floor(x); });
    case ScalarOp::kCeil:
      return fn([](Vec x) { return Ceil(x); });
    case ScalarOp::kRint:
      return fn([](Vec x) { return Rint(x); });
    case ScalarOp::kSign:
      return fn([](Vec x) {
        const Vec one = FromBits(Bits(SignOf(x)) | Bits(Splat(1)));
        return x == Splat(0) || x != x ? x : one;
      });
    case ScalarOp::kGelu:
      return fn([](Vec x) { return Gelu(x); });
    case ScalarOp::kGeluTanh:
      return fn([](Vec x) { return GeluTanh(x); });
    case ScalarOp::kSwish:
      return fn([](Vec x) { return Swish(x); });
    default:
      return;
  }
}

// Calls fn(f) with the vector function of binary `op`.
template <class F>
inline void WithBinary(ScalarOp op, F&& fn) {
  switch (op) {
    case ScalarOp::kAdd:
      return fn([](Vec x, Vec y) { return x + y; });
    case ScalarOp::kSub:
      return fn([](Vec x, Vec y) { return x - y; });
    case ScalarOp::kMul:
      return fn([](Vec x, Vec y) { return x * y; });
    case ScalarOp::kDiv:
      return fn([](Vec x, Vec y) { return x / y; });
    case ScalarOp::kMaximum:
      return fn([](Vec x, Vec y) { return x < y || y != y ? y : x; });
    case ScalarOp::kMinimum:
      return fn([](Vec x, Vec y) { return x > y || y != y ? y : x; });
    case ScalarOp::kSquaredDifference:
      return fn([](Vec x, Vec y) { return (x - y) * (x - y); });
    case ScalarOp::kPow:
      return fn([](Vec x, Vec y) {
        Vec z = x;
        for (int i = 0; i < kLanes; ++i) z[i] = __builtin_powf(x[i], y[i]);
        return z;
      });
    default:
      return;
  }
}

// y[i] = f(x[i]) for n elements.
template <class F>
inline void MapArray(const float* x, float* y, int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, f(Load(x + i)));
  if (i < n) StoreSome(y + i, f(LoadSome(x + i, n - i)), n - i);
}

void Map(ScalarOp op, float parameter, const float* x, float* y, int64_t n) {
  WithUnary(op, parameter, [&](auto f) { MapArray(x, y, n, f); });
}

// z[i] = f(x[i * x_step], y[i * y_step]) for n elements.
template <class F>
inline void ZipArrays(const float* x, int64_t x_step, const float* y, int64_t y_step, float* z,
                      int64_t n, F&& f) {
  if (y_step == 0) {
    const Vec operand = Splat(*y);
    return MapArray(x, z, n, [&](Vec v) { return f(v, operand); });
  }
  if (x_step == 0) {
    const Vec operand = Splat(*x);
    return MapArray(y, z, n, [&](Vec v) { return f(operand, v); });
  }
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(z + i, f(Load(x + i), Load(y + i)));
  if (i < n) StoreSome(z + i, f(LoadSome(x + i, n - i), LoadSome(y + i, n - i)), n - i);
}

void RunSteps(const ArrayStep* steps, int num_steps, int64_t n) {
  for (int s = 0; s < num_steps; ++s) {
    const ArrayStep& step = steps[s];
    if (step.y == nullptr) {
      WithUnary(step.op, step.parameter, [&](auto f) { MapArray(step.x, step.result, n, f); });
      continue;
    }
    WithBinary(step.op, [&](auto f) {
      ZipArrays(step.x, step.x_step, step.y, step.y_step, step.result, n, f);
    });
  }
}

template <class F>
inline void BinaryRow(const VectorStep& step, const float* operand, float* c, int64_t n, F&& f) {
  if (step.operand_first) {
    ZipArrays(operand, step.column_stride, c, 1, c, n, f);
  } else {
    ZipArrays(c, 1, operand, step.column_stride, c, n, f);
  }
}

// Steps over columns [first_column, first_column + columns) of rows [row_begin, row_end); c is at
// row 0 and the first of these columns.
void ApplySteps(const VectorStep* steps, int num_steps, float* c, int64_t c_stride,
                int64_t row_begin, int64_t row_end, int64_t first_column, int64_t columns) {
  for (int s = 0; s < num_steps; ++s) {
    const VectorStep& step = steps[s];
    if (step.operand == nullptr) {
      WithUnary(step.op, step.parameter, [&](auto f) {
        for (int64_t r = row_begin; r < row_end; ++r) {
          MapArray(c + r * c_stride, c + r * c_stride, columns, f);
        }
      });
      continue;
    }
    WithBinary(step.op, [&](auto f) {
      for (int64_t r = row_begin; r < row_end; ++r) {
        BinaryRow(step, step.operand + r * step.row_stride + first_column * step.column_stride,
                  c + r * c_stride, columns, f);
      }
    });
  }
}

void Apply(const VectorStep* steps, int num_steps, float* c, int64_t c_stride, int64_t row_begin,
           int64_t row_end, int64_t columns) {
  ApplySteps(steps, num_steps, c, c_stride, row_begin, row_end, 0, columns);
}

}  // namespace
}  // namespace savedmodel
