// tf.Example on the wire: messages with one field each, maps as repeated (key = 1, value = 2).
#include "savedmodel/example.h"

#include <cstring>

namespace savedmodel {
namespace {

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void AppendField(int number, const std::string& bytes, std::string* out) {
  constexpr int kLengthDelimited = 2;
  AppendVarint(static_cast<uint64_t>(number << 3 | kLengthDelimited), out);
  AppendVarint(bytes.size(), out);
  *out += bytes;
}

std::string MapEntry(const std::string& key, const std::string& value) {
  std::string entry;
  AppendField(1, key, &entry);
  AppendField(2, value, &entry);
  return entry;
}

// Feature { oneof { BytesList = 1; FloatList = 2; Int64List = 3 } }, each with values = 1.
std::string FeatureBytes(const Feature& feature) {
  std::string values, list, out;
  if (const auto* strings = std::get_if<Feature::Strings>(&feature.list())) {
    for (const std::string& s : *strings) AppendField(1, s, &list);
    AppendField(1, list, &out);
  } else if (const auto* floats = std::get_if<Feature::Floats>(&feature.list())) {
    for (const float f : *floats) {
      uint32_t bits;
      std::memcpy(&bits, &f, sizeof(bits));
      for (int shift = 0; shift < 32; shift += 8)
        values.push_back(static_cast<char>(bits >> shift));
    }
    if (!values.empty()) AppendField(1, values, &list);
    AppendField(2, list, &out);
  } else if (const auto* ints = std::get_if<Feature::Ints>(&feature.list())) {
    for (const int64_t i : *ints) AppendVarint(static_cast<uint64_t>(i), &values);
    if (!values.empty()) AppendField(1, values, &list);
    AppendField(3, list, &out);
  }
  return out;
}

// Features { map<string, Feature> feature = 1 }
std::string FeaturesBytes(const std::map<std::string, Feature>& features) {
  std::string out;
  for (const auto& [name, feature] : features) {
    AppendField(1, MapEntry(name, FeatureBytes(feature)), &out);
  }
  return out;
}

}  // namespace

std::string Example::Serialize() const {
  std::string out;
  AppendField(1, FeaturesBytes(features_), &out);
  return out;
}

std::string SequenceExample::Serialize() const {
  std::string lists;
  for (const auto& [name, steps] : lists_) {
    std::string list;
    for (const Feature& step : steps) AppendField(1, FeatureBytes(step), &list);
    AppendField(1, MapEntry(name, list), &lists);
  }
  std::string out;
  if (!context_.empty()) AppendField(1, FeaturesBytes(context_), &out);
  AppendField(2, lists, &out);
  return out;
}

}  // namespace savedmodel
