/// tf.Example and tf.SequenceExample, built without protobuf.
///
///   std::string bytes = savedmodel::Example().Set("age", 39).Set("job", "pilot").Serialize();
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "savedmodel/export.h"

namespace savedmodel {

/// The value of one feature: a list of integers, floats or byte strings.
class Feature {
 public:
  using Ints = std::vector<int64_t>;
  using Floats = std::vector<float>;
  using Strings = std::vector<std::string>;

  Feature() = default;                            // a feature without a kind or value
  Feature(int value) : list_(Ints{value}) {}      // NOLINT(runtime/explicit)
  Feature(int64_t value) : list_(Ints{value}) {}  // NOLINT
  Feature(float value) : list_(Floats{value}) {}  // NOLINT
  Feature(double value) : list_(Floats{static_cast<float>(value)}) {}  // NOLINT
  Feature(const char* value) : list_(Strings{value}) {}                // NOLINT
  Feature(std::string value) : list_(Strings{std::move(value)}) {}     // NOLINT
  Feature(Ints values) : list_(std::move(values)) {}                   // NOLINT
  Feature(Floats values) : list_(std::move(values)) {}                 // NOLINT
  Feature(Strings values) : list_(std::move(values)) {}                // NOLINT

  const std::variant<std::monostate, Ints, Floats, Strings>& list() const { return list_; }

 private:
  std::variant<std::monostate, Ints, Floats, Strings> list_;
};

/// A row of named features: what classify and regress signatures take.
class SAVEDMODEL_EXPORT Example {
 public:
  Example& Set(const std::string& name, Feature value) {
    features_[name] = std::move(value);
    return *this;
  }
  /// A serialised tensorflow.Example; equal examples give equal bytes.
  std::string Serialize() const;

 private:
  std::map<std::string, Feature> features_;
};

/// Features of a whole (context) and lists of features of its steps.
class SAVEDMODEL_EXPORT SequenceExample {
 public:
  SequenceExample& SetContext(const std::string& name, Feature value) {
    context_[name] = std::move(value);
    return *this;
  }
  /// Appends one step to the list `name`.
  SequenceExample& Append(const std::string& name, Feature step) {
    lists_[name].push_back(std::move(step));
    return *this;
  }
  /// A serialised tensorflow.SequenceExample.
  std::string Serialize() const;

 private:
  std::map<std::string, Feature> context_;
  std::map<std::string, std::vector<Feature>> lists_;
};

}  // namespace savedmodel
