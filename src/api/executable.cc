#include "src/api/executable.h"

#include <algorithm>
#include <unordered_map>

#include "src/base/denormals.h"
#include "src/base/status_macros.h"

namespace savedmodel::api {
namespace {

constexpr size_t kMostNesting = 256;
constexpr size_t kMostFunctions = 100'000;  // compiled or inferred for one plan

std::string ShapesKey(const std::string& name, Span<const Shape> shapes) {
  std::string key = name;
  for (const Shape& s : shapes) key += "|" + s.ToString();
  return key;
}

}  // namespace

// Everything that is thrown away when a frozen variable changes.
struct Executable::Compiled {
  explicit Compiled(const ModelContext& context) : library(context.functions.get()) {
    Use(&library);
  }

  OverlayLibrary library;
  OptimizeContext optimize;
  Graph optimized;
  uint64_t change_count = 0;
  PlanCache plans;
  // Bodies of control flow: optimised, and compiled for shapes, as long as a plan calls them.
  std::unordered_map<std::string, Graph> optimized_functions;
  std::unordered_map<std::string, std::weak_ptr<const CompiledFunction>> functions;
  std::unordered_map<std::string, std::vector<Shape>> inferred;
  std::vector<std::string> in_progress;

  void Use(OverlayLibrary* functions_of) {
    optimize.library = functions_of;
    optimize.env.functions = functions_of;
  }

  // What lasts as long as a plan is being compiled: functions that passes make for its shapes.
  class Compilation {
   public:
    Compilation(Compiled* compiled, RunState* run)
        : compiled_(compiled), library_(&compiled->library) {
      compiled_->optimize.env.run = run;
      compiled_->Use(&library_);
    }
    ~Compilation() {
      compiled_->optimize.env.run = nullptr;
      compiled_->Use(&compiled_->library);
      compiled_->inferred.clear();
      std::erase_if(compiled_->optimized_functions,
                    [&](const auto& entry) { return library_.HasAdded(entry.first); });
      std::erase_if(compiled_->functions, [](const auto& entry) { return entry.second.expired(); });
      compiled_->optimize.env.packs->DropUnused();
    }

   private:
    Compiled* const compiled_;
    OverlayLibrary library_;
  };

  // The optimised graph of a library function. What passes make of one of the model's stays.
  StatusOr<const Graph*> OptimizedFunction(const FuncAttr& f) {
    auto it = optimized_functions.find(f.name);
    if (it != optimized_functions.end()) return &it->second;
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> function, optimize.library->Get(f));
    SM_RETURN_IF_ERROR(Enter(f.name));
    Graph graph = function->graph;
    OverlayLibrary* const current = optimize.library;
    if (!current->HasAdded(f.name)) Use(&library);
    const Status status = Optimize(&optimize, &graph);
    Use(current);
    in_progress.pop_back();
    SM_RETURN_IF_ERROR(status.At(f.name));
    return &optimized_functions.emplace(f.name, std::move(graph)).first->second;
  }

  Status Enter(const std::string& name) {
    if (std::find(in_progress.begin(), in_progress.end(), name) != in_progress.end()) {
      return InvalidArgument("function ", name,
                             " calls itself through a loop or a branch; expected calls that end");
    }
    if (in_progress.size() >= kMostNesting) {
      return ResourceExhausted("control flow is nested more than ", kMostNesting,
                               " deep at function ", name);
    }
    if (functions.size() + inferred.size() >= kMostFunctions) {
      return ResourceExhausted("functions called by control flow must be compiled more than ",
                               kMostFunctions, " times");
    }
    in_progress.push_back(name);
    return Status();
  }

  // The graph of a library function for arguments of `shapes`.
  StatusOr<Graph> SpecializedFunction(const FuncAttr& f, Span<const Shape> shapes) {
    if (optimize.library->HasAdded(f.name)) {
      SM_ASSIGN_OR_RETURN(const auto function, optimize.library->Get(f));
      if (function->is_specialized) return function->graph;
    }
    SM_ASSIGN_OR_RETURN(const Graph* original, OptimizedFunction(f));
    Graph graph = *original;
    SM_RETURN_IF_ERROR(Enter(f.name));
    const Status status = Specialize(&optimize, shapes, &graph);
    in_progress.pop_back();
    SM_RETURN_IF_ERROR(status.At(f.name));
    return graph;
  }

  StatusOr<std::shared_ptr<const CompiledFunction>> CompileFunction(const FuncAttr& f,
                                                                    Span<const Shape> shapes) {
    const std::string key = ShapesKey(f.name, shapes);
    if (const auto known = functions[key].lock()) return known;
    SM_ASSIGN_OR_RETURN(Graph graph, SpecializedFunction(f, shapes));
    SM_RETURN_IF_ERROR(Enter(f.name));
    StatusOr<std::shared_ptr<const Plan>> plan = Plan::Make(std::move(graph), optimize.env);
    in_progress.pop_back();
    if (!plan.ok()) return plan.status().At(f.name);
    functions[key] = *plan;
    return std::shared_ptr<const CompiledFunction>(*plan);
  }

  StatusOr<std::vector<Shape>> InferFunction(const FuncAttr& f, Span<const Shape> shapes) {
    const std::string key = ShapesKey(f.name, shapes);
    auto it = inferred.find(key);
    if (it != inferred.end()) return it->second;
    SM_ASSIGN_OR_RETURN(const Graph* original, OptimizedFunction(f));
    if (original->args.size() != shapes.size()) {
      return InvalidArgument("function ", f.name, " takes ", original->args.size(),
                             " arguments, found ", shapes.size());
    }
    Graph graph = *original;
    for (size_t i = 0; i < shapes.size(); ++i) {
      graph.node(graph.args[i]).output_shapes = {shapes[i]};
    }
    SM_RETURN_IF_ERROR(Enter(f.name));
    const Status status = InferAndFold(&optimize, &graph);
    in_progress.pop_back();
    SM_RETURN_IF_ERROR(status.At(f.name));
    std::vector<Shape> results;
    for (const NodeOutput& v : graph.results) results.push_back(graph.shape(v));
    return inferred.emplace(key, std::move(results)).first->second;
  }
};

Executable::Executable(const ModelContext* context, std::string name, Graph graph)
    : context_(context), name_(std::move(name)), graph_(std::move(graph)) {}

Executable::~Executable() = default;

void Executable::Describe(const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs,
                          std::vector<TensorSpec>* input_specs,
                          std::vector<TensorSpec>* output_specs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const NodeOutput v{graph_.args[i], 0};
    input_specs->push_back({inputs[i], inputs[i], graph_.type(v), graph_.shape(v), false});
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const NodeOutput v = graph_.results[i];
    output_specs->push_back({outputs[i], outputs[i], graph_.type(v), graph_.shape(v), false});
  }
}

Status Executable::CheckInputs(Span<const std::string> names, Span<const Tensor> inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Node& arg = graph_.node(graph_.args[i]);
    const DType dtype = arg.output_types[0];
    if (inputs[i].dtype() != dtype) {
      return InvalidArgument("input '", names[i], "': found ", inputs[i].TypeString(),
                             ", expected dtype ", dtype);
    }
    if (!arg.output_shapes.empty() && !inputs[i].shape().CompatibleWith(arg.output_shapes[0])) {
      return InvalidArgument("input '", names[i], "': found shape ", inputs[i].shape(),
                             ", expected ", arg.output_shapes[0]);
    }
  }
  return Status();
}

bool Executable::IsStale(uint64_t change_count) const {
  if (change_count == VariableResource::ChangeCount()) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  if (compiled_ == nullptr) return true;
  for (const FrozenVariable& f : compiled_->optimize.frozen) {
    if (f.variable->version() != f.version) return true;
  }
  return false;
}

StatusOr<std::shared_ptr<const Plan>> Executable::CompilePlan(Span<const Shape> shapes,
                                                              RunState& run) const {
  if (compiled_ == nullptr) {
    auto compiled = std::make_unique<Compiled>(*context_);
    Compiled* c = compiled.get();
    c->change_count = VariableResource::ChangeCount();
    c->optimize.keep_variable = [this](const VariableResource& v) {
      return volatile_variables_.count(&v) > 0;
    };
    CompileEnv& env = c->optimize.env;
    env.registry = context_->registry;
    env.packs = context_->packs.get();
    env.precision = context_->options.precision;
    env.num_threads = context_->pool->num_threads();
    env.compile = [c](const FuncAttr& f, Span<const Shape> s) { return c->CompileFunction(f, s); };
    env.infer = [c](const FuncAttr& f, Span<const Shape> s) { return c->InferFunction(f, s); };
    Graph graph = graph_;
    env.run = &run;
    const Status status = Optimize(&c->optimize, &graph);
    env.run = nullptr;
    SM_RETURN_IF_ERROR(status);
    c->optimized = std::move(graph);
    compiled_ = std::move(compiled);
  }
  Compiled& c = *compiled_;
  const Compiled::Compilation compilation(&c, &run);
  Graph graph = c.optimized;
  SM_RETURN_IF_ERROR(Specialize(&c.optimize, shapes, &graph));
  return Plan::Make(std::move(graph), c.optimize.env);
}

StatusOr<std::shared_ptr<const Plan>> Executable::PlanFor(Span<const Shape> shapes, RunState& run,
                                                          bool may_be_common) const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (compiled_ != nullptr && compiled_->change_count != VariableResource::ChangeCount()) {
    const uint64_t now = VariableResource::ChangeCount();
    bool stale = false;
    for (const FrozenVariable& f : compiled_->optimize.frozen) {
      if (f.variable->version() == f.version) continue;
      // Once assigned, likely assigned again: read it from now on.
      volatile_variables_.insert(f.variable.get());
      stale = true;
    }
    if (stale) {
      compiled_.reset();
    } else {
      compiled_->change_count = now;
    }
  }
  if (compiled_ != nullptr) {
    PlanCache& plans = compiled_->plans;
    if (std::shared_ptr<const Plan> known = plans.Find(shapes)) return known;
    if (may_be_common && plans.WantsCommon(shapes)) {
      if (std::shared_ptr<const Plan> common = plans.FindCommon(shapes)) return common;
      std::vector<Shape> common_shapes = plans.CommonShapes(shapes);
      StatusOr<std::shared_ptr<const Plan>> common = CompilePlan(common_shapes, run);
      if (common.ok()) {
        plans.SetCommon(std::move(common_shapes), *common);
        return common;
      }
    }
  }
  StatusOr<std::shared_ptr<const Plan>> plan = CompilePlan(shapes, run);
  if (!plan.ok()) return plan.status().At(name_);
  compiled_->plans.Add(shapes, *plan);
  return plan;
}

Status Executable::Run(Span<Tensor> inputs, Span<Tensor> outputs, RunState& run) const {
  FlushDenormals flush;
  if (inputs.size() != graph_.args.size() || outputs.size() != graph_.results.size()) {
    return InvalidArgument(name_, ": the graph has ", graph_.args.size(), " arguments and ",
                           graph_.results.size(), " results, the call ", inputs.size(), " and ",
                           outputs.size());
  }
  SM_RETURN_IF_ERROR(CheckDTypes(inputs));
  std::vector<Shape> shapes;
  shapes.reserve(inputs.size());
  for (const Tensor& t : inputs) shapes.push_back(t.shape());
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const Plan> plan, PlanFor(shapes, run, true));
  SM_RETURN_IF_ERROR(plan->Run(inputs, outputs, run).At(name_));
  for (size_t i = 0; i < outputs.size(); ++i) {
    SM_RETURN_IF_ERROR(CheckResult(static_cast<int>(i), outputs[i]));
  }
  return Status();
}

Status Executable::CheckDTypes(Span<const Tensor> inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Node& arg = graph_.node(graph_.args[i]);
    if (inputs[i].dtype() == arg.output_types[0]) continue;
    return InvalidArgument(name_, ": argument ", i, " (", arg.name, ") is ", arg.output_types[0],
                           " in the graph, found ", inputs[i].TypeString());
  }
  return Status();
}

Status Executable::NoValue(int i) const {
  return InvalidArgument(name_, ": result ", i, " (", graph_.node(graph_.results[i].node).name,
                         ") has no value: it lies in a branch that was not taken");
}

}  // namespace savedmodel::api
