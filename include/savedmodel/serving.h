/// The three methods of TensorFlow Serving's signatures: classify, regress, predict.
#pragma once

#include <string>
#include <vector>

#include "savedmodel/example.h"
#include "savedmodel/export.h"
#include "savedmodel/model.h"
#include "savedmodel/status.h"

namespace savedmodel {

/// One class that a classifier knows.
struct Class {
  std::string label;  // empty where the signature gives scores only
  float score = 0;    // 0 where it gives labels only
};

/// The classes of each example, in the model's order (`ClassificationOutput` of an Estimator).
///
/// `signature` is one with the method tensorflow/serving/classify; left empty it is
/// "serving_default", if that has the method, or else the only one that has. Examples go in as
/// serialised tf.Example; outputs are "classes" and "scores", one of which may be missing.
/// NOT_FOUND, INVALID_ARGUMENT when the signature is no classifier or answers in other shapes.
SAVEDMODEL_EXPORT StatusOr<std::vector<std::vector<Class>>> Classify(
    const Model& model, const std::vector<Example>& examples, const std::string& signature = "",
    const RunOptions& options = {});

/// The value of each example (`RegressionOutput`): a signature with the method
/// tensorflow/serving/regress, chosen as Classify chooses.
SAVEDMODEL_EXPORT StatusOr<std::vector<float>> Regress(const Model& model,
                                                       const std::vector<Example>& examples,
                                                       const std::string& signature = "",
                                                       const RunOptions& options = {});

/// Tensors in, tensors out, by any signature.
SAVEDMODEL_EXPORT StatusOr<TensorMap> Predict(const Model& model, const TensorMap& inputs,
                                              const std::string& signature = "serving_default",
                                              const RunOptions& options = {});

}  // namespace savedmodel
