// Scalar functions over matrices and arrays: what fused passes and epilogues apply.
#pragma once

#include "src/kernels/isa/level/angles.h"
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
      return fn([](Vec x) { return Sin(x); });
    case ScalarOp::kCos:
      return fn([](Vec x) { return Cos(x); });
    case ScalarOp::kTan:
      return fn([](Vec x) { return Tan(x); });
    case ScalarOp::kAsin:
      return fn([](Vec x) { return Asin(x); });
    case ScalarOp::kAcos:
      return fn([](Vec x) { return Acos(x); });
    case ScalarOp::kAtan:
      return fn([](Vec x) { return Atan(x); });
    case ScalarOp::kSinh:
      return fn([](Vec x) { return Sinh(x); });
    case ScalarOp::kCosh:
      return fn([](Vec x) { return Cosh(x); });
    case ScalarOp::kAsinh:
      return fn([](Vec x) { return Asinh(x); });
    case ScalarOp::kAcosh:
      return fn([](Vec x) { return Acosh(x); });
    case ScalarOp::kAtanh:
      return fn([](Vec x) { return Atanh(x); });
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
    case ScalarOp::kMish:
      return fn([](Vec x) { return Mish(x); });
    case ScalarOp::kHardSigmoid:
      return fn([](Vec x) { return HardSigmoid(x); });
    case ScalarOp::kHardSwish:
      return fn([](Vec x) { return x * HardSigmoid(x); });
    default:
      return;
  }
}

// 1 where the condition holds, 0 elsewhere.
inline Vec OneWhere(IntVec condition) { return FromBits(condition & Bits(Splat(1))); }

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
    case ScalarOp::kDivNoNan:
      return fn([](Vec x, Vec y) { return y == Splat(0) ? Splat(0) : x / y; });
    case ScalarOp::kFloorDiv:
      return fn([](Vec x, Vec y) { return Floor(x / y); });
    case ScalarOp::kAtan2:
      return fn([](Vec x, Vec y) { return Atan2(x, y); });
    case ScalarOp::kXlogy:
      return fn([](Vec x, Vec y) { return x == Splat(0) ? Splat(0) : x * Log(y); });
    case ScalarOp::kEqual:
      return fn([](Vec x, Vec y) { return OneWhere(x == y); });
    case ScalarOp::kNotEqual:
      return fn([](Vec x, Vec y) { return OneWhere(x != y); });
    case ScalarOp::kLess:
      return fn([](Vec x, Vec y) { return OneWhere(x < y); });
    case ScalarOp::kLessEqual:
      return fn([](Vec x, Vec y) { return OneWhere(x <= y); });
    case ScalarOp::kGreater:
      return fn([](Vec x, Vec y) { return OneWhere(x > y); });
    case ScalarOp::kGreaterEqual:
      return fn([](Vec x, Vec y) { return OneWhere(x >= y); });
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

// The same of rows that lie `stride` apart.
void MapRows(ScalarOp op, float parameter, const float* x, float* y, int64_t stride, int64_t rows,
             int64_t n) {
  WithUnary(op, parameter, [&](auto f) {
    for (int64_t r = 0; r < rows; ++r) MapArray(x + r * stride, y + r * stride, n, f);
  });
}

void Map(ScalarOp op, float parameter, const float* x, float* y, int64_t n) {
  MapRows(op, parameter, x, y, 0, 1, n);
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

// z[i] = condition(i, n) != 0 ? x[i * x_step] : y[i * y_step] of n elements from i on.
template <class Condition>
inline void SelectBy(const float* x, int64_t x_step, const float* y, int64_t y_step, float* z,
                     int64_t n, Condition&& condition) {
  const auto load = [n](const float* p, int64_t step, int64_t i) {
    return step == 0 ? Splat(*p) : n - i < kLanes ? LoadSome(p + i, n - i) : Load(p + i);
  };
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t some = n - i < kLanes ? n - i : kLanes;
    const Vec result = condition(i, some) ? load(x, x_step, i) : load(y, y_step, i);
    if (some < kLanes) {
      StoreSome(z + i, result, some);
    } else {
      Store(z + i, result);
    }
  }
}

void SelectByBools(const bool* condition, const float* x, int64_t x_step, const float* y,
                   int64_t y_step, float* z, int64_t n) {
  SelectBy(x, x_step, y, y_step, z, n, [&](int64_t i, int64_t some) {
    const bool* p = condition + i;
    return (some < kLanes ? LoadBools(p, some) : LoadBools(p, kLanes)) != 0;
  });
}

void SelectArrays(const ArrayStep& s, int64_t n) {
  SelectBy(s.y, s.y_step, s.z, s.z_step, s.result, n, [&](int64_t i, int64_t some) {
    return (some < kLanes ? LoadSome(s.x + i, some) : Load(s.x + i)) != Splat(0);
  });
}

void RunSteps(const ArrayStep* steps, int num_steps, int64_t n) {
  for (int s = 0; s < num_steps; ++s) {
    const ArrayStep& step = steps[s];
    if (step.z != nullptr) {
      SelectArrays(step, n);
      continue;
    }
    if (step.y == nullptr) {
      Map(step.op, step.parameter, step.x, step.result, n);
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
      const int64_t rows = row_end - row_begin;
      const bool is_whole = c_stride == columns;  // one row after the other
      float* const from = c + row_begin * c_stride;
      MapRows(step.op, step.parameter, from, from, c_stride, is_whole ? 1 : rows,
              is_whole ? rows * columns : columns);
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
