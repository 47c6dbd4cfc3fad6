// From an inferred graph to a Plan: slots, homes, life times, kernels.
#include <algorithm>
#include <climits>
#include <numeric>

#include "src/base/status_macros.h"
#include "src/executor/memory_plan.h"
#include "src/executor/plan.h"

namespace savedmodel {
namespace {

// Ops whose outputs can be dead.
bool MakesDeadValues(const Node& node) { return SplitsDeadness(node) || IsMerge(node); }

// A user that may hold on to an input beyond its step. What a function keeps that is called in
// place, its own plan knows.
bool KeepsInputs(const Node& node) {
  if (node.registered == nullptr) return true;
  if (CallsInPlace(node)) return false;
  if (node.registered->def->effects == Effects::kWritesState || CallsFunctions(node)) return true;
  return std::any_of(node.output_types.begin(), node.output_types.end(),
                     [](DType d) { return d == DType::kVariant || d == DType::kResource; });
}

// Runs long and changes nothing: at the same time as others.
bool IsLong(const Node& node) {
  return node.registered != nullptr && node.registered->def->is_long &&
         node.registered->def->effects == Effects::kPure;
}

bool IsAlias(const Node& node) {
  return node.registered != nullptr && node.registered->def->in_place == InPlace::kAliasesInput0 &&
         node.num_outputs() == 1;
}

}  // namespace

class PlanBuilder {
 public:
  PlanBuilder(Graph graph, const CompileEnv& env)
      : env_(env), plan_(std::make_shared<Plan>()), graph_(plan_->graph_) {
    graph_ = std::move(graph);
    if (env.compile != nullptr) {
      env_.compile = [this, &env](const FuncAttr& f, Span<const Shape> shapes) {
        auto compiled = env.compile(f, shapes);
        if (compiled.ok()) {
          auto callee = std::dynamic_pointer_cast<const Plan>(*compiled);
          if (callee != nullptr) plan_->callees_.push_back({f.name, std::move(callee)});
        }
        return compiled;
      };
    }
  }

  StatusOr<std::shared_ptr<const Plan>> Build() {
    SM_ASSIGN_OR_RETURN(order_, graph_.TopologicalOrder([](const Node& n) { return IsLong(n); }));
    plan_->can_be_dead_ = std::any_of(order_.begin(), order_.end(),
                                      [&](NodeId id) { return MakesDeadValues(graph_.node(id)); });
    FindPositions();
    MakeSlots();
    FindLifeTimes();
    ChooseHomes();
    ShareMemory();
    PlaceArena();
    SM_RETURN_IF_ERROR(MakeSteps());
    MakeReleases();
    return std::shared_ptr<const Plan>(plan_);
  }

 private:
  struct Life {
    int made = -1;      // position of the producer
    int last_use = -1;  // position of the last user; INT_MAX for results
    bool kept = false;  // by a user, beyond its step
    bool is_result = false;
    int region = -1;  // slots of one region share memory
  };

  int slot_of(NodeOutput v) const { return first_slot_[v.node] + v.index; }

  // Constants need no step unless what they wait for may be dead.
  bool NeedsStep(const Node& node) const {
    if (node.is_arg()) return false;
    return !node.is_const() || (plan_->can_be_dead_ && !node.control_inputs.empty());
  }

  // Nodes that run at the same time have the same position.
  void FindPositions() {
    position_.assign(graph_.num_nodes(), -1);
    group_size_.assign(order_.size(), 1);
    size_t first = 0;
    for (size_t p = 0; p < order_.size(); ++p) {
      const Node& node = graph_.node(order_[p]);
      const auto needs_group = [&](NodeId input) {
        return position_[input] == static_cast<int>(first);
      };
      const bool joins =
          p > 0 && !plan_->can_be_dead_ && IsLong(node) && IsLong(graph_.node(order_[first])) &&
          std::none_of(node.inputs.begin(), node.inputs.end(),
                       [&](NodeOutput v) { return needs_group(v.node); }) &&
          std::none_of(node.control_inputs.begin(), node.control_inputs.end(), needs_group);
      if (joins) {
        ++group_size_[first];
      } else {
        first = p;
      }
      position_[order_[p]] = static_cast<int>(first);
    }
  }
  // Of the nodes that run at the same time as this one, itself included.
  int GroupSize(NodeId id) const { return group_size_[position_[id]]; }

  void MakeSlots() {
    first_slot_.assign(graph_.num_nodes(), -1);
    for (const NodeId id : order_) {
      const Node& node = graph_.node(id);
      first_slot_[id] = static_cast<int>(plan_->slots_.size());
      for (int i = 0; i < node.num_outputs(); ++i) {
        Slot slot;
        slot.dtype = node.output_types[i];
        slot.shape = graph_.shape({id, i});
        slot.is_ref = graph_.is_ref({id, i});
        if (node.is_arg()) slot.home = Home::kArgument;
        if (node.is_const() && !NeedsStep(node)) {
          slot.home = Home::kConstant;
          slot.constant = *graph_.constant({id, i});
        }
        Life life;
        life.made = position_[id];
        life.region = static_cast<int>(plan_->slots_.size());
        lives_.push_back(life);
        plan_->slots_.push_back(std::move(slot));
      }
    }
    for (NodeId id : graph_.args) plan_->arguments_.push_back(first_slot_[id]);
    for (const NodeOutput& v : graph_.results) plan_->results_.push_back(slot_of(v));
  }

  void FindLifeTimes() {
    for (int slot : plan_->results_) {
      lives_[slot].is_result = true;
      lives_[slot].last_use = INT_MAX;
    }
    for (NodeId id : order_) {
      const Node& node = graph_.node(id);
      const bool keeps = KeepsInputs(node);
      for (const NodeOutput& v : node.inputs) {
        Life& life = lives_[slot_of(v)];
        life.last_use = std::max(life.last_use, position_[id]);
        life.kept = life.kept || keeps;
      }
    }
    // An alias shares its input's memory, so what is true of it is true of the input.
    for (size_t p = order_.size(); p-- > 0;) {
      const Node& node = graph_.node(order_[p]);
      if (!IsAlias(node)) continue;
      const Life& out = lives_[slot_of({order_[p], 0})];
      Life& in = lives_[slot_of(node.inputs[0])];
      in.kept = in.kept || out.kept || out.is_result;
    }
  }

  void ChooseHomes() {
    for (int slot : plan_->arguments_) {
      plan_->uses_argument_.push_back(lives_[slot].last_use >= 0);
      plan_->keeps_argument_.push_back(lives_[slot].kept);
      plan_->keeps_any_argument_ = plan_->keeps_any_argument_ || lives_[slot].kept;
    }
    for (NodeId id : order_) {
      const Node& node = graph_.node(id);
      for (int i = 0; NeedsStep(node) && i < node.num_outputs(); ++i) {
        Slot& slot = plan_->slots_[first_slot_[id] + i];
        const Life& life = lives_[first_slot_[id] + i];
        // An alias in the arena has no step, which could say that its value is dead.
        const bool told = !plan_->can_be_dead_ || !IsAlias(node);
        const bool transient =
            IsPlainData(slot.dtype) && !life.kept && told && node.registered != nullptr;
        if (slot.is_ref || !slot.shape.fully_known()) {
          slot.home = Home::kRunTime;
        } else if (transient && !life.is_result && !IsStray(node)) {
          slot.home = Home::kArena;
        } else {
          slot.home = Home::kFixed;
        }
        slot.bindable = slot.home == Home::kFixed && transient && !plan_->can_be_dead_ &&
                        !IsAlias(node) && IsOneResult(first_slot_[id] + i);
      }
    }
  }

  bool IsOneResult(int slot) const {
    return std::count(plan_->results_.begin(), plan_->results_.end(), slot) == 1;
  }

  // An alias of a value that has no place in the arena just shares it.
  bool IsStray(const Node& node) const {
    return IsAlias(node) && plan_->slots_[slot_of(node.inputs[0])].home != Home::kArena;
  }

  bool IsFreeAlias(NodeId id) const {
    const Node& node = graph_.node(id);
    return IsAlias(node) && plan_->slots_[slot_of({id, 0})].home == Home::kArena;
  }

  int RegionOf(int slot) const {
    while (lives_[slot].region != slot) slot = lives_[slot].region;
    return slot;
  }

  // Puts `slot` into the region of `into`.
  void Unite(int slot, int into) {
    const int root = RegionOf(into);
    Life& life = lives_[RegionOf(slot)];
    life.region = root;
    lives_[root].last_use = std::max(lives_[root].last_use, life.last_use);
  }

  void ShareMemory() {
    for (NodeId id : order_) {
      if (IsFreeAlias(id)) Unite(slot_of({id, 0}), slot_of(graph_.node(id).inputs[0]));
    }
    for (NodeId id : order_) {
      const Node& node = graph_.node(id);
      if (node.num_outputs() < 1 || node.registered == nullptr) continue;
      const Slot& out = plan_->slots_[slot_of({id, 0})];
      if (out.home != Home::kArena || IsFreeAlias(id) || GroupSize(id) > 1) continue;
      const InPlace in_place = node.registered->def->in_place;
      const size_t candidates = in_place == InPlace::kInput0
                                    ? std::min<size_t>(1, node.inputs.size())
                                : in_place == InPlace::kAnyInput ? node.inputs.size()
                                                                 : 0;
      for (size_t i = 0; i < candidates; ++i) {
        const int input = slot_of(node.inputs[i]);
        const Slot& in = plan_->slots_[input];
        if (in.home != Home::kArena || Bytes(in) != Bytes(out)) continue;
        if (lives_[RegionOf(input)].last_use != position_[id]) continue;
        Unite(slot_of({id, 0}), input);
        break;
      }
    }
  }

  static int64_t Bytes(const Slot& slot) {
    return slot.shape.num_elements() * static_cast<int64_t>(DTypeSize(slot.dtype));
  }

  void PlaceArena() {
    std::vector<ArenaBlock> blocks;
    std::vector<int> block_of(lives_.size(), -1);
    for (size_t s = 0; s < lives_.size(); ++s) {
      const Slot& slot = plan_->slots_[s];
      if (slot.home != Home::kArena) continue;
      const int root = RegionOf(static_cast<int>(s));
      if (block_of[root] < 0) {
        block_of[root] = static_cast<int>(blocks.size());
        blocks.push_back(
            {Bytes(slot), lives_[root].made, std::max(lives_[root].last_use, lives_[root].made)});
      }
    }
    plan_->arena_bytes_ = PlaceBlocks(&blocks);
    plan_->largest_live_set_ = LargestLiveSet(blocks);
    for (size_t s = 0; s < lives_.size(); ++s) {
      Slot& slot = plan_->slots_[s];
      if (slot.home == Home::kArena) {
        slot.offset = blocks[block_of[RegionOf(static_cast<int>(s))]].offset;
      }
    }
  }

  Status MakeSteps() {
    std::vector<int> step_of(graph_.num_nodes(), -1);
    for (NodeId id : order_) {
      const Node& node = graph_.node(id);
      if (!NeedsStep(node) || IsFreeAlias(id)) continue;
      if (node.is_const()) graph_.node(id).registered = env_.registry->Find("Const");
      Step step;
      step.node = id;
      SM_ASSIGN_OR_RETURN(step.kernel, BuildKernel(env_, graph_, id));
      step.call = CallOf(*step.kernel);
      step.merges = IsMerge(node);
      if (order_[position_[id]] == id) step.together = GroupSize(id);
      step.first_input = static_cast<int>(plan_->input_slots_.size());
      step.num_inputs = static_cast<int>(node.inputs.size());
      for (const NodeOutput& v : node.inputs) plan_->input_slots_.push_back(slot_of(v));
      step.first_output = static_cast<int>(plan_->output_slots_.size());
      step.num_outputs = node.num_outputs();
      for (int i = 0; i < node.num_outputs(); ++i) {
        const Slot& slot = plan_->slots_[slot_of({id, i})];
        plan_->output_slots_.push_back(slot_of({id, i}));
        plan_->output_types_.push_back(slot.dtype);
        step.has_arena = step.has_arena || slot.home == Home::kArena;
        if (slot.home == Home::kRunTime && !IsAlias(node)) step.inferred = plan_->num_inferred_;
        step.allocates = step.allocates || (slot.home != Home::kArena && !IsAlias(node));
      }
      // Inputs of which nothing was known have not been checked yet.
      if (step.inferred < 0 && TakesUnknownShapes(node) && !IsAlias(node)) {
        step.inferred = plan_->num_inferred_;
        step.allocates = true;
      }
      if (step.inferred >= 0) ++plan_->num_inferred_;
      if (plan_->can_be_dead_) {
        step.first_control = static_cast<int>(plan_->controls_.size());
        for (NodeId c : node.control_inputs) {
          if (step_of[c] >= 0) plan_->controls_.push_back(step_of[c]);
        }
        step.num_controls = static_cast<int>(plan_->controls_.size()) - step.first_control;
      }
      step_of[id] = static_cast<int>(plan_->steps_.size());
      plan_->steps_.push_back(std::move(step));
    }
    return Status();
  }

  bool TakesUnknownShapes(const Node& node) const {
    return !CallsFunctions(node) &&
           std::any_of(node.inputs.begin(), node.inputs.end(), [&](NodeOutput v) {
             const Slot& slot = plan_->slots_[slot_of(v)];
             return !slot.is_ref && !slot.shape.fully_known();
           });
  }

  // A slot whose memory goes back when its last user is done.
  bool IsReleased(int slot) const {
    const Home home = plan_->slots_[slot].home;
    return !lives_[slot].is_result &&
           (home == Home::kFixed || home == Home::kRunTime || home == Home::kArgument);
  }

  void MakeReleases() {
    plan_->last_use_ = std::make_unique<bool[]>(plan_->input_slots_.size() + 1);
    // Inputs of the steps that run at the same time, which lie side by side.
    auto begin = plan_->input_slots_.begin(), end = begin;
    for (size_t s = 0; s < plan_->steps_.size(); ++s) {
      Step& step = plan_->steps_[s];
      const int position = position_[step.node];
      step.first_release = static_cast<int>(plan_->releases_.size());
      if (order_[position] == step.node) {
        const Step& last = plan_->steps_[s + step.together - 1];
        begin = plan_->input_slots_.begin() + step.first_input;
        end = plan_->input_slots_.begin() + last.first_input + last.num_inputs;
      }
      for (int i = step.first_input; i < step.first_input + step.num_inputs; ++i) {
        const int slot = plan_->input_slots_[i];
        if (!IsReleased(slot) || lives_[slot].last_use != position) continue;
        if (std::count(begin, end, slot) == 1) plan_->last_use_[i] = true;
        if (std::find(begin, end, slot) - plan_->input_slots_.begin() == i) {
          plan_->releases_.push_back(slot);
        }
      }
      for (int i = 0; i < step.num_outputs; ++i) {
        const int slot = plan_->output_slots_[step.first_output + i];
        if (IsReleased(slot) && lives_[slot].last_use < 0) plan_->releases_.push_back(slot);
      }
      step.num_releases = static_cast<int>(plan_->releases_.size()) - step.first_release;
    }
    const std::vector<int>& results = plan_->results_;
    for (auto it = results.begin(); it != results.end(); ++it) {
      plan_->moved_results_.push_back(plan_->slots_[*it].home != Home::kConstant &&
                                      std::find(it + 1, results.end(), *it) == results.end());
    }
    for (size_t s = 0; s < plan_->slots_.size(); ++s) {
      const Home home = plan_->slots_[s].home;
      if (home != Home::kConstant && home != Home::kArena) {
        plan_->clears_.push_back(static_cast<int>(s));
      }
    }
  }

  CompileEnv env_;  // which notes what functions are compiled for kernels
  std::shared_ptr<Plan> plan_;
  Graph& graph_;
  std::vector<NodeId> order_;
  std::vector<int> position_;    // of each node in order_; of a group, that of its first
  std::vector<int> group_size_;  // by position
  std::vector<int> first_slot_;  // of each node
  std::vector<Life> lives_;      // by slot
};

StatusOr<std::shared_ptr<const Plan>> Plan::Make(Graph graph, const CompileEnv& env) {
  return PlanBuilder(std::move(graph), env).Build();
}

}  // namespace savedmodel
