// Calls one tf.function that was traced for several dtypes, shapes and Python values.
//
//   07_polymorphic_function tests/data/models/tf2_polymorphic/model
#include <iostream>

#include "savedmodel/model.h"

int main(int argc, char** argv) {
  using savedmodel::Tensor;
  using savedmodel::Value;
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model");
  // def f(x, scale=2, mode="mul")
  const savedmodel::Function f = model->function("f");
  for (const std::string& trace : f.traces()) std::cout << trace << "\n";

  const Tensor floats = Tensor::Vector<float>({1, 2});
  const Tensor ints = Tensor::Vector<int64_t>({1, 2});
  struct Case {
    const char* text;
    savedmodel::StatusOr<Value> result;
    const char* expected;
  };
  const Case cases[] = {
      {"f(floats)", f.Call({floats}), "[2, 4]"},  // defaults: scale=2, mode="mul"
      {"f(ints)", f.Call({ints}), "[2, 4]"},      // the trace for int64
      {"f(floats, 5)", f.Call({floats, Value::Int(5)}), "[5, 10]"},
      {"f(floats, scale=3, mode='sum')",
       f.Call({floats}, {{"scale", Value::Int(3)}, {"mode", Value::String("sum")}}), "6"},
      {"f(floats, tensor)", f.Call({floats, Tensor::Scalar(1.5f)}), "[1.5, 3]"},
  };
  bool as_expected = true;
  for (const Case& c : cases) {
    if (!c.result.ok()) {
      std::cerr << c.text << ": " << c.result.status() << "\n";
      return 1;
    }
    const std::string text = c.result->tensor().ToString();
    std::cout << c.text << " = " << text << "\n";
    as_expected = as_expected && text.find(c.expected) != std::string::npos;
  }

  // Nothing is traced anew: where no trace fits, the error lists those that there are.
  auto none = f.Call({Tensor::Vector<std::string>({"a", "b"})});
  std::cout << none.status() << "\n";
  return as_expected && !none.ok() ? 0 : 1;
}
