// savedmodel show: what is in a model.
#include <cstdio>
#include <map>
#include <set>

#include "src/cli/commands.h"
#include "src/cli/json_output.h"

namespace savedmodel::cli {
namespace {

constexpr size_t kMaxTreeLines = 2000;

const char* KindName(Object::Kind kind) {
  static constexpr const char* kNames[] = {"object", "variable", "function", "constant",
                                           "asset",  "resource", "none"};
  return kNames[static_cast<size_t>(kind)];
}

std::string SpecText(const TensorSpec& spec) {
  return spec.name + ": " + DTypeNumpyName(spec.dtype) + (spec.is_ref ? "_ref" : "") +
         spec.shape.ToString() + (spec.tensor_name.empty() ? "" : "  (" + spec.tensor_name + ")");
}

std::string Describe(const Object& object) {
  switch (object.kind()) {
    case Object::Kind::kVariable: {
      const Variable v = object.variable();
      return std::string(DTypeNumpyName(v.dtype())) + v.shape().ToString() + "  '" + v.name() +
             "'" + (v.trainable() ? "" : ", not trainable");
    }
    case Object::Kind::kFunction: {
      std::string out = "function";
      const size_t traces = object.function().traces().size();
      if (traces != 1) out += " of " + std::to_string(traces) + " traces";
      return out;
    }
    case Object::Kind::kObject:
      return object.type_name();
    default:
      return KindName(object.kind());
  }
}

// Visits the tree depth first, each object once: `visit(name, object, depth, seen_before)`.
template <class Visit>
void WalkTree(const Object& root, int max_depth, Visit visit) {
  struct Entry {
    std::string name;
    Object object;
    int depth;
  };
  std::set<std::string> seen;
  std::vector<Entry> open = {{".", root, 0}};
  for (size_t lines = 0; !open.empty() && lines < kMaxTreeLines; ++lines) {
    const Entry e = std::move(open.back());
    open.pop_back();
    const bool again = !seen.insert(e.object.path()).second;
    visit(e.name, e.object, e.depth, again);
    if (again || e.depth >= max_depth) continue;
    auto children = e.object.children();
    for (size_t i = children.size(); i-- > 0;) {
      open.push_back({children[i].first, children[i].second, e.depth + 1});
    }
  }
}

// What Keras calls each object, by path; damaged metadata is said in place of it.
std::map<std::string, std::string> LayerNames(const Model& model) {
  const StatusOr<std::vector<KerasLayer>> layers = model.layers();
  if (!layers.ok()) return {{".", layers.status().ToString()}};
  std::map<std::string, std::string> names;
  for (const KerasLayer& layer : *layers) {
    names[layer.path] = layer.class_name + " '" + layer.name + "'";
  }
  return names;
}

void PrintTree(const Model& model, int depth) {
  std::printf("\nobjects:\n");
  const std::map<std::string, std::string> layers = LayerNames(model);
  WalkTree(model.root(), depth, [&](const std::string& name, const Object& o, int d, bool again) {
    const auto layer = layers.find(o.path());
    std::printf("%*s%s  %s%s%s\n", 2 + 2 * d, "", name.c_str(), Describe(o).c_str(),
                layer == layers.end() ? "" : ("  " + layer->second).c_str(),
                again && o.kind() == Object::Kind::kObject ? "  (shown above)" : "");
  });
}

void PrintSignatures(const Model& model) {
  std::printf("\nsignatures:\n");
  for (const SignatureInfo& info : model.signatures()) {
    std::printf("  %s%s%s\n", info.key.c_str(), info.method_name.empty() ? "" : "  method ",
                info.method_name.c_str());
    for (const TensorSpec& s : info.inputs) std::printf("    in   %s\n", SpecText(s).c_str());
    for (const TensorSpec& s : info.outputs) std::printf("    out  %s\n", SpecText(s).c_str());
  }
}

void PrintVariables(const Model& model) {
  const auto variables = model.variables();
  int64_t elements = 0;
  for (const auto& [path, v] : variables)
    elements += std::max<int64_t>(v.shape().num_elements(), 0);
  std::printf("\nvariables: %zu, %lld values\n", variables.size(),
              static_cast<long long>(elements));
  for (const auto& [path, v] : variables) {
    std::printf("  %s  %s%s\n", path.c_str(), DTypeNumpyName(v.dtype()),
                v.shape().ToString().c_str());
  }
}

void PrintOps(const Model& model) {
  std::string supported, unsupported;
  for (const OpUse& use : model.ops()) {
    const std::string text = use.op + (use.count > 1 ? " ×" + std::to_string(use.count) : "");
    std::string& list = use.supported ? supported : unsupported;
    list += (list.empty() ? "  " : ", ") + text;
  }
  std::printf("\nops:\n%s\n", supported.c_str());
  if (!unsupported.empty()) {
    std::printf("\nops that this library lacks (only functions that reach them fail):\n%s\n",
                unsupported.c_str());
  }
}

int PrintPlan(const Model& model, const ModelArgs& args, const ShowArgs& show) {
  auto info = ChooseSignature(model, args);
  if (!info.ok()) return Fail(info.status());
  auto shapes = ParseShapes(show.shapes);
  if (!shapes.ok()) return Fail(shapes.status());
  auto plan = model.Signature(info->key).PlanText(*shapes);
  if (!plan.ok()) return Fail(plan.status());
  if (args.json) {
    PrintJson({{"signature", info->key}, {"plan", *plan}});
  } else {
    std::printf("plan of signature %s:\n%s\n", info->key.c_str(), plan->c_str());
  }
  return kOk;
}

int PrintVariable(const Model& model, const ModelArgs& args, const std::string& path) {
  const Variable variable = model.variable(path);
  auto value = variable.Read();
  if (!value.ok()) return Fail(value.status());
  if (args.json) {
    PrintJson({{"path", path}, {"name", variable.name()}, {"value", ToJson(*value)}});
  } else {
    std::printf("%s: %s\n", path.c_str(), value->ToString(1000).c_str());
  }
  return kOk;
}

Json SignaturesJson(const Model& model) {
  Json out = Json::object();
  for (const SignatureInfo& info : model.signatures()) {
    Json inputs = Json::array(), outputs = Json::array();
    for (const TensorSpec& s : info.inputs) inputs.push_back(ToJson(s));
    for (const TensorSpec& s : info.outputs) outputs.push_back(ToJson(s));
    out[info.key] = {{"method_name", info.method_name}, {"inputs", inputs}, {"outputs", outputs}};
  }
  return out;
}

// The numbers as text: readers of JSON may keep no more than 53 bits.
Json FingerprintJson(const std::optional<Fingerprint>& f) {
  if (!f.has_value()) return nullptr;
  return {{"saved_model_checksum", std::to_string(f->saved_model_checksum)},
          {"graph_def_program_hash", std::to_string(f->graph_def_program_hash)},
          {"signature_def_hash", std::to_string(f->signature_def_hash)},
          {"saved_object_graph_hash", std::to_string(f->saved_object_graph_hash)},
          {"checkpoint_hash", std::to_string(f->checkpoint_hash)},
          {"uuid", f->uuid}};
}

Json ModelJson(const Model& model, const std::vector<std::vector<std::string>>& tag_sets,
               int depth) {
  Json objects = Json::array(), variables = Json::array(), ops = Json::array();
  WalkTree(model.root(), depth, [&](const std::string&, const Object& o, int, bool again) {
    if (!again) {
      objects.push_back(
          {{"path", o.path()}, {"kind", KindName(o.kind())}, {"type", o.type_name()}});
    }
  });
  Json layers = Json::array();
  if (const auto found = model.layers(); found.ok()) {
    for (const KerasLayer& layer : *found) {
      layers.push_back(
          {{"name", layer.name}, {"class_name", layer.class_name}, {"path", layer.path}});
    }
  }
  for (const auto& [path, v] : model.variables()) {
    variables.push_back({{"path", path},
                         {"name", v.name()},
                         {"dtype", DTypeNumpyName(v.dtype())},
                         {"shape", ToJson(v.shape())},
                         {"trainable", v.trainable()}});
  }
  for (const OpUse& use : model.ops()) {
    ops.push_back({{"op", use.op}, {"count", use.count}, {"supported", use.supported}});
  }
  return {{"tag_sets", tag_sets},
          {"tags", model.tags()},
          {"tensorflow_version", model.tensorflow_version()},
          {"fingerprint", FingerprintJson(model.fingerprint())},
          {"signatures", SignaturesJson(model)},
          {"objects", objects},
          {"layers", layers},
          {"variables", variables},
          {"functions", model.function_names()},
          {"assets", model.assets()},
          {"ops", ops}};
}

std::string Join(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "" : ", ") + item;
  return out;
}

// The lines of code that made the nodes whose name holds `node`.
int PrintSource(const Model& model, const std::string& node) {
  const auto traces = model.source_traces();
  if (!traces.ok()) return Fail(traces.status());
  int found = 0;
  for (const auto& [name, lines] : *traces) {
    if (name.find(node) == std::string::npos) continue;
    ++found;
    std::printf("%s\n", name.c_str());
    for (const std::string& line : lines) std::printf("  %s\n", line.c_str());
  }
  if (found > 0) return kOk;
  return Fail(Status(StatusCode::kNotFound,
                     "node '" + node + "': the model's debug information has " +
                         std::to_string(traces->size()) + " nodes, none of this name"));
}

void PrintFacts(const Model& model) {
  std::printf("written by TensorFlow %s\n", model.tensorflow_version().c_str());
  if (const auto f = model.fingerprint(); f.has_value()) {
    std::printf("fingerprint: checksum %llu, uuid %s\n",
                static_cast<unsigned long long>(f->saved_model_checksum),
                f->uuid.empty() ? "none" : f->uuid.c_str());
  }
  const auto traces = model.source_traces();
  if (!traces.ok()) {
    std::printf("debug information: %s\n", traces.status().ToString().c_str());
  } else if (!traces->empty()) {
    std::printf("debug information: lines of code of %zu nodes (--source NODE)\n", traces->size());
  }
}

}  // namespace

int Show(const ModelArgs& args, const ShowArgs& show) {
  auto tag_sets = ListTagSets(args.directory);
  if (!tag_sets.ok()) return Fail(tag_sets.status());
  auto model = LoadModel(args);
  if (!model.ok()) return Fail(model.status());
  if (show.plan) return PrintPlan(*model, args, show);
  if (!show.variable.empty()) return PrintVariable(*model, args, show.variable);
  if (!show.source.empty()) return PrintSource(*model, show.source);
  if (args.json) {
    PrintJson(ModelJson(*model, *tag_sets, show.depth));
    return kOk;
  }
  for (const auto& tags : *tag_sets) {
    std::printf("tags: {%s}%s\n", Join(tags).c_str(),
                tag_sets->size() > 1 && tags == model->tags() ? "  (shown)" : "");
  }
  PrintFacts(*model);
  PrintSignatures(*model);
  PrintTree(*model, show.depth);
  PrintVariables(*model);
  if (!model->assets().empty()) std::printf("\nassets: %s\n", Join(model->assets()).c_str());
  std::printf("\nfunctions of the library: %zu\n", model->function_names().size());
  PrintOps(*model);
  return kOk;
}

}  // namespace savedmodel::cli
