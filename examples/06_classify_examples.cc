// Gives rows of features (tf.Example) to a classifier that an Estimator exported.
//
//   06_classify_examples tests/data/models/est_dnn_classifier/model
#include <iostream>
#include <vector>

#include "savedmodel/serving.h"

int main(int argc, char** argv) {
  using savedmodel::Example;
  using savedmodel::Feature;
  auto model = savedmodel::Load(argc > 1 ? argv[1] : "model");
  const std::vector<Example> rows = {
      Example().Set("x", Feature::Floats{1, 2, 3}).Set("k", "b"),
      Example().Set("x", Feature::Floats{0, -1, 0.5f}).Set("k", "zz"),
  };

  // ClassificationOutput: labels and scores of each row.
  auto classes = savedmodel::Classify(*model, rows);
  if (!classes.ok()) {
    std::cerr << classes.status() << "\n";
    return 1;
  }
  for (const auto& row : *classes) {
    for (const auto& [label, score] : row) std::cout << label << " " << score << "  ";
    std::cout << "\n";
  }

  // PredictOutput: the same bytes as a string tensor, any output of the signature.
  std::vector<std::string> bytes;
  for (const Example& row : rows) bytes.push_back(row.Serialize());
  auto predicted = savedmodel::Predict(
      *model, {{"examples", savedmodel::Tensor::Vector<std::string>(bytes)}}, "predict");
  if (!predicted.ok()) {
    std::cerr << predicted.status() << "\n";
    return 1;
  }
  std::cout << "classes = " << predicted->at("classes").ToString() << "\n";

  // A row without a feature that the model needs is an error that names it.
  auto wrong = savedmodel::Classify(*model, {Example().Set("k", "b")});
  std::cout << wrong.status() << "\n";
  return classes->at(0).at(1).label == "mid" && !wrong.ok() ? 0 : 1;
}
