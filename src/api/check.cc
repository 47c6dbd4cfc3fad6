// What keeps functions of a model from running, found before they run.
#include <set>

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel::api {
namespace {

class Checker {
 public:
  explicit Checker(const ModelImpl& model) : model_(model) {}

  std::vector<Problem> Run() {
    for (const SignatureInfo& s : model_.signatures) {
      const std::shared_ptr<const FunctionImpl> f = model_.MakeSignature(s.key);
      if (f->error.ok()) {
        CheckExecutable(s.key, *f->executable);
      } else if (!CheckOutputs(s)) {
        problems_.push_back({s.key, "", "", f->error});
      }
    }
    const ObjectGraph& objects = *model_.meta.objects;
    for (size_t id = 0; id < objects.nodes.size(); ++id) {
      if (model_.node_paths[id].empty()) continue;
      for (const std::string& concrete : objects.nodes[id].concrete_functions) {
        CheckConcrete(model_.node_paths[id], concrete);
      }
    }
    return std::move(problems_);
  }

 private:
  // Names the outputs of a signature of the main graph that cannot be computed; false when there
  // are none.
  bool CheckOutputs(const SignatureInfo& signature) {
    const StatusOr<const LoadedGraph*> loaded = model_.meta.main_graph->Get();
    if (!loaded.ok()) return false;
    const LoadedGraph& main = **loaded;
    bool found = false;
    for (const TensorSpec& output : signature.outputs) {
      std::string_view name;
      int32_t index = 0;
      if (!SplitTensorName(output.tensor_name, &name, &index)) continue;
      const auto it = main.by_name.find(std::string(name));
      if (it == main.by_name.end() || main.graph.node(it->second).error.ok()) continue;
      found = true;
      AddProblem(signature.key, main.graph.node(it->second));
    }
    return found;
  }

  void CheckConcrete(const std::string& path, const std::string& concrete) {
    if (!seen_.insert(concrete).second) return;
    StatusOr<std::shared_ptr<const Executable>> executable = model_.Concrete(concrete);
    if (!executable.ok()) {
      problems_.push_back({path, "", "", executable.status()});
    } else {
      CheckExecutable(path, **executable);
    }
  }

  void CheckExecutable(const std::string& function, const Executable& executable) {
    const size_t before = problems_.size();
    std::vector<std::string> pending;
    CheckNodes(function, executable.graph(), &pending);
    while (!pending.empty()) {
      FuncAttr f;
      f.name = std::move(pending.back());
      pending.pop_back();
      auto body = model_.context.functions->Get(f);
      if (!body.ok()) {
        problems_.push_back({function, "", f.name, body.status()});
      } else {
        CheckNodes(function, (*body)->graph, &pending);
      }
    }
    if (problems_.size() > before) return;
    std::vector<Shape> shapes;
    const Graph& graph = executable.graph();
    for (NodeId arg : graph.args) shapes.push_back(graph.shape({arg, 0}));
    RunState run = model_.context.MakeRun(RunOptions());
    const Status compiled = executable.PlanFor(shapes, run).status();
    if (!compiled.ok() && reported_.insert(compiled.message()).second) {
      problems_.push_back({function, "", "", compiled});
    }
  }

  // Adds functions that nodes call, each once, to `pending`.
  void CheckNodes(const std::string& function, Graph graph, std::vector<std::string>* pending) {
    graph.Compact();  // what nothing needs does not run
    for (const Node& node : graph.nodes()) {
      if (!node.error.ok()) AddProblem(function, node);
      for (const auto& [name, value] : node.attrs) {
        if (const auto* f = std::get_if<FuncAttr>(&value)) AddFunction(*f, pending);
        if (const auto* list = std::get_if<std::vector<FuncAttr>>(&value)) {
          for (const FuncAttr& f : *list) AddFunction(f, pending);
        }
      }
    }
  }

  void AddProblem(const std::string& function, const Node& node) {
    if (reported_.insert(node.op + "|" + node.name).second) {
      problems_.push_back({function, node.name, node.op, node.error});
    }
  }

  void AddFunction(const FuncAttr& f, std::vector<std::string>* pending) {
    if (!f.name.empty() && seen_.insert(f.name).second) pending->push_back(f.name);
  }

  const ModelImpl& model_;
  std::set<std::string> seen_;      // functions
  std::set<std::string> reported_;  // "op|name" of nodes, messages of compilations
  std::vector<Problem> problems_;
};

}  // namespace

std::vector<Problem> CheckModel(const ModelImpl& model) { return Checker(model).Run(); }

}  // namespace savedmodel::api
