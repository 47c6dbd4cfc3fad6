// Classify, regress and predict, over the signatures of a model.
#include "savedmodel/serving.h"

#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"

namespace savedmodel {
namespace {

constexpr char kClassify[] = "tensorflow/serving/classify";
constexpr char kRegress[] = "tensorflow/serving/regress";

// The signature `key`, or the one to take when `key` is empty.
StatusOr<SignatureInfo> FindSignature(const Model& model, const std::string& key,
                                      const std::string& method) {
  SM_RETURN_IF_ERROR(model.status());
  std::vector<SignatureInfo> fitting;
  for (const SignatureInfo& s : model.signatures()) {
    if (s.key == key && s.method_name != method) {
      return InvalidArgument("signature '", key, "' has the method ", s.method_name, ", expected ",
                             method);
    }
    if (s.method_name != method) continue;
    if (s.key == key || (key.empty() && s.key == "serving_default")) return s;
    fitting.push_back(s);
  }
  if (!key.empty()) return model.Signature(key).status();
  if (fitting.size() == 1) return fitting[0];
  return NotFound("found ", fitting.size(), " signatures with the method ", method,
                  ", expected one; name the signature");
}

// Calls a signature whose one input takes serialised examples.
StatusOr<TensorMap> CallOnExamples(const Model& model, const SignatureInfo& signature,
                                   const std::vector<Example>& examples,
                                   const RunOptions& options) {
  if (signature.inputs.size() != 1 || signature.inputs[0].dtype != DType::kString) {
    return InvalidArgument("signature '", signature.key, "' has ", signature.inputs.size(),
                           " inputs, expected one of strings, which takes serialised examples");
  }
  std::vector<std::string> rows;
  rows.reserve(examples.size());
  for (const Example& example : examples) rows.push_back(example.Serialize());
  return model.Signature(signature.key)(
      {{signature.inputs[0].name, Tensor::Vector<std::string>(std::move(rows))}}, options);
}

// Elements for each of `rows` examples in an output of shape [rows, n] or [rows].
StatusOr<int64_t> Width(const Tensor& output, const std::string& name, int64_t rows) {
  const Shape& shape = output.shape();
  if ((shape.rank() == 1 || shape.rank() == 2) && shape[0] == rows) {
    return shape.rank() == 1 ? 1 : shape[1];
  }
  return InvalidArgument("output '", name, "' has shape ", shape, ", expected [", rows,
                         ", n] for as many examples");
}

// Output `name` of dtype T, or null when the signature has none of that name.
template <class T>
StatusOr<const Tensor*> FindOutput(const TensorMap& outputs, const std::string& name) {
  const auto it = outputs.find(name);
  if (it == outputs.end()) return static_cast<const Tensor*>(nullptr);
  if (it->second.dtype() != DTypeOf<T>::value) {
    return InvalidArgument("output '", name, "' is ", it->second.TypeString(), ", expected ",
                           DTypeOf<T>::value);
  }
  return &it->second;
}

StatusOr<std::vector<std::vector<Class>>> ClassesOf(const TensorMap& outputs, int64_t rows) {
  SM_ASSIGN_OR_RETURN(const Tensor* labels, FindOutput<std::string>(outputs, "classes"));
  SM_ASSIGN_OR_RETURN(const Tensor* scores, FindOutput<float>(outputs, "scores"));
  if (labels == nullptr && scores == nullptr) {
    return InvalidArgument("found neither output 'classes' nor 'scores'");
  }
  int64_t width = -1;
  for (const auto& [name, tensor] : {std::pair{"classes", labels}, std::pair{"scores", scores}}) {
    if (tensor == nullptr) continue;
    SM_ASSIGN_OR_RETURN(const int64_t found, Width(*tensor, name, rows));
    if (width >= 0 && width != found) {
      return InvalidArgument("outputs 'classes' and 'scores' have ", width, " and ", found,
                             " classes");
    }
    width = found;
  }
  std::vector<std::vector<Class>> result(rows, std::vector<Class>(width));
  for (int64_t i = 0; i < rows * width; ++i) {
    Class& c = result[i / width][i % width];
    if (labels != nullptr) c.label = labels->data<std::string>()[i];
    if (scores != nullptr) c.score = scores->data<float>()[i];
  }
  return result;
}

StatusOr<std::vector<float>> ValuesOf(const TensorMap& outputs, int64_t rows) {
  SM_ASSIGN_OR_RETURN(const Tensor* values, FindOutput<float>(outputs, "outputs"));
  if (values == nullptr) return InvalidArgument("found no output 'outputs'");
  SM_ASSIGN_OR_RETURN(const int64_t width, Width(*values, "outputs", rows));
  if (width != 1) {
    return InvalidArgument("output 'outputs' has ", width, " values for an example, expected one");
  }
  return std::vector<float>(values->data<float>(), values->data<float>() + rows);
}

}  // namespace

StatusOr<std::vector<std::vector<Class>>> Classify(const Model& model,
                                                   const std::vector<Example>& examples,
                                                   const std::string& signature,
                                                   const RunOptions& options) {
  SM_ASSIGN_OR_RETURN(const SignatureInfo info, FindSignature(model, signature, kClassify));
  SM_ASSIGN_OR_RETURN(const TensorMap outputs, CallOnExamples(model, info, examples, options));
  auto classes = ClassesOf(outputs, static_cast<int64_t>(examples.size()));
  if (!classes.ok()) return classes.status().At(info.key);
  return classes;
}

StatusOr<std::vector<float>> Regress(const Model& model, const std::vector<Example>& examples,
                                     const std::string& signature, const RunOptions& options) {
  SM_ASSIGN_OR_RETURN(const SignatureInfo info, FindSignature(model, signature, kRegress));
  SM_ASSIGN_OR_RETURN(const TensorMap outputs, CallOnExamples(model, info, examples, options));
  auto values = ValuesOf(outputs, static_cast<int64_t>(examples.size()));
  if (!values.ok()) return values.status().At(info.key);
  return values;
}

StatusOr<TensorMap> Predict(const Model& model, const TensorMap& inputs,
                            const std::string& signature, const RunOptions& options) {
  return model.Signature(signature)(inputs, options);
}

}  // namespace savedmodel
