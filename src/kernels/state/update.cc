// Element updates of variables.
#include "src/kernels/state/update.h"

#include <type_traits>

#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Integers wrap around: the arithmetic is done without sign, in 32 bits or more.
template <Update update, class T>
T Apply(T a, T b) {
  if constexpr (update == Update::kAssign) {
    return b;
  } else if constexpr (update == Update::kMin) {
    return b < a ? b : a;
  } else if constexpr (update == Update::kMax) {
    return a < b ? b : a;
  } else if constexpr (std::is_integral_v<T>) {
    using W = typename std::conditional_t<sizeof(T) < 4, std::common_type<uint32_t>,
                                          std::make_unsigned<T>>::type;
    if constexpr (update == Update::kAdd) return static_cast<T>(W(a) + W(b));
    if constexpr (update == Update::kSub) return static_cast<T>(W(a) - W(b));
    if constexpr (update == Update::kMul) return static_cast<T>(W(a) * W(b));
    if constexpr (update == Update::kDiv) {
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(W(0) - W(a));
      return static_cast<T>(a / b);
    }
  } else {
    if constexpr (update == Update::kAdd) return static_cast<T>(a + b);
    if constexpr (update == Update::kSub) return static_cast<T>(a - b);
    if constexpr (update == Update::kMul) return static_cast<T>(a * b);
    if constexpr (update == Update::kDiv) return static_cast<T>(a / b);
  }
}

template <Update update, class T>
bool UpdateElements(void* to, const void* from, int64_t n, bool broadcast) {
  T* y = static_cast<T*>(to);
  const T* x = static_cast<const T*>(from);
  if constexpr (update == Update::kDiv && std::is_integral_v<T>) {
    for (int64_t i = 0; i < (broadcast ? 1 : n); ++i) {
      if (x[i] == 0) return false;
    }
  }
  if (broadcast) {
    for (int64_t i = 0; i < n; ++i) y[i] = Apply<update, T>(y[i], x[0]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = Apply<update, T>(y[i], x[i]);
  }
  return true;
}

template <Update update, DTypeSet set>
StatusOr<UpdateFn> Arithmetic(DType dtype) {
  UpdateFn fn = nullptr;
  SM_RETURN_IF_ERROR(VisitDType<set>(dtype, [&](auto tag) {
    fn = UpdateElements<update, typename decltype(tag)::type>;
    return Status();
  }));
  return fn;
}

}  // namespace

Update UpdateOf(std::string_view op_name) {
  if (op_name.ends_with("VariableOp")) op_name.remove_suffix(10);
  if (op_name.ends_with("Add")) return Update::kAdd;
  if (op_name.ends_with("Sub")) return Update::kSub;
  if (op_name.ends_with("Mul")) return Update::kMul;
  if (op_name.ends_with("Div")) return Update::kDiv;
  if (op_name.ends_with("Min")) return Update::kMin;
  if (op_name.ends_with("Max")) return Update::kMax;
  return Update::kAssign;
}

StatusOr<UpdateFn> FindUpdate(Update update, DType dtype) {
  switch (update) {
    case Update::kAssign:
      break;
    case Update::kAdd:
      return Arithmetic<Update::kAdd, kNumbers>(dtype);
    case Update::kSub:
      return Arithmetic<Update::kSub, kNumbers>(dtype);
    case Update::kMul:
      return Arithmetic<Update::kMul, kNumbers>(dtype);
    case Update::kDiv:
      return Arithmetic<Update::kDiv, kNumbers>(dtype);
    case Update::kMin:
      return Arithmetic<Update::kMin, kReals>(dtype);
    case Update::kMax:
      return Arithmetic<Update::kMax, kReals>(dtype);
  }
  UpdateFn fn = nullptr;
  SM_RETURN_IF_ERROR(VisitByElementSize(dtype, [&](auto tag) {
    fn = UpdateElements<Update::kAssign, typename decltype(tag)::type>;
    return Status();
  }));
  return fn;
}

}  // namespace savedmodel
