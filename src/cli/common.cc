#include <algorithm>
#include <charconv>
#include <cstdio>

#include "src/cli/commands.h"
#include "src/cli/literal.h"
#include "src/cli/npy.h"

namespace savedmodel::cli {
namespace {

Status Wrong(const std::string& what) { return Status(StatusCode::kInvalidArgument, what); }

// Splits "name=value" at the first '='.
StatusOr<std::pair<std::string, std::string>> Split(const std::string& text) {
  const size_t at = text.find('=');
  if (at == std::string::npos || at == 0) {
    return Wrong("found '" + text + "', expected NAME=VALUE");
  }
  return std::make_pair(text.substr(0, at), text.substr(at + 1));
}

// Splits "a=1;b=2" at semicolons outside quotes.
std::vector<std::string> SplitList(const std::vector<std::string>& texts) {
  std::vector<std::string> out;
  for (const std::string& text : texts) {
    std::string part;
    char quote = 0;
    for (const char c : text) {
      if (quote == 0 && c == ';') {
        out.push_back(std::move(part));
        part.clear();
        continue;
      }
      if (c == '\'' || c == '"') quote = quote == 0 ? c : quote == c ? 0 : quote;
      part += c;
    }
    if (!part.empty()) out.push_back(std::move(part));
  }
  return out;
}

StatusOr<const TensorSpec*> FindSpec(const std::vector<TensorSpec>& specs,
                                     const std::string& name) {
  std::string names;
  for (const TensorSpec& spec : specs) {
    if (spec.name == name) return &spec;
    names += (names.empty() ? "" : ", ") + spec.name;
  }
  return Wrong("found no input '" + name + "', expected one of: " + names);
}

}  // namespace

StatusOr<Model> LoadModel(const ModelArgs& args) {
  LoadOptions options;
  options.num_threads = args.threads;
  options.precision = args.precision;
  if (!args.tags.empty()) {
    options.tags = args.tags;
  } else {
    auto sets = ListTagSets(args.directory);
    if (!sets.ok()) return sets.status();
    if (sets->size() == 1) options.tags = sets->front();
  }
  return Load(args.directory, options);
}

StatusOr<SignatureInfo> ChooseSignature(const Model& model, const ModelArgs& args) {
  const std::vector<SignatureInfo> all = model.signatures();
  const std::string wanted = args.signature.empty() ? "serving_default" : args.signature;
  std::string names;
  for (const SignatureInfo& info : all) {
    if (info.key == wanted || (args.signature.empty() && all.size() == 1)) return info;
    names += (names.empty() ? "" : ", ") + info.key;
  }
  const std::string hint = all.empty() ? "the model has none; call its functions from C++"
                                       : "choose with --signature from: " + names;
  return Status(StatusCode::kNotFound,
                args.directory + ": found no signature '" + wanted + "'; " + hint);
}

int Fail(const Status& status) {
  std::fprintf(stderr, "savedmodel: %s\n", status.ToString().c_str());
  return kFailed;
}

StatusOr<TensorMap> ReadInputs(const std::vector<std::string>& files,
                               const std::vector<std::string>& expressions,
                               const std::vector<TensorSpec>* specs) {
  TensorMap out;
  for (const std::string& text : SplitList(files)) {
    auto pair = Split(text);
    if (!pair.ok()) return pair.status();
    if (specs != nullptr) {
      if (auto spec = FindSpec(*specs, pair->first); !spec.ok()) return spec.status();
    }
    auto tensor = ReadNpy(pair->second);
    if (!tensor.ok()) return tensor.status();
    out[pair->first] = *std::move(tensor);
  }
  for (const std::string& text : SplitList(expressions)) {
    auto pair = Split(text);
    if (!pair.ok()) return pair.status();
    std::string name = pair->first;
    DType dtype = DType::kFloat;
    if (specs != nullptr) {
      auto spec = FindSpec(*specs, name);
      if (!spec.ok()) return spec.status();
      dtype = (*spec)->dtype;
    } else if (const size_t colon = name.rfind(':');
               colon != std::string::npos &&
               DTypeFromName(name.substr(colon + 1)) != DType::kInvalid) {
      dtype = DTypeFromName(name.substr(colon + 1));
      name.resize(colon);
    }
    auto tensor = ParseLiteral(pair->second, dtype);
    if (!tensor.ok()) return tensor.status().At("input '" + name + "'");
    out[name] = *std::move(tensor);
  }
  return out;
}

StatusOr<std::map<std::string, Shape>> ParseShapes(const std::vector<std::string>& texts) {
  std::map<std::string, Shape> out;
  for (const std::string& text : SplitList(texts)) {
    const Status wrong = Wrong("found --shape '" + text + "', expected NAME=DIM,DIM,…");
    auto pair = Split(text);
    if (!pair.ok()) return wrong;
    std::vector<int64_t> dims;
    std::istringstream in(pair->second);
    for (std::string d; std::getline(in, d, ',');) {
      const auto [end, error] = std::from_chars(d.data(), d.data() + d.size(), dims.emplace_back());
      if (error != std::errc() || end != d.data() + d.size()) return wrong;
    }
    auto shape = Shape::Make(dims);
    if (!shape.ok() || !shape->fully_known()) return wrong;
    out[pair->first] = *shape;
  }
  return out;
}

}  // namespace savedmodel::cli
