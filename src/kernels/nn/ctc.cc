// Connectionist temporal classification: greedy and beam search decoding, loss and gradient.
#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <unordered_map>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Inputs 0 [time, batch, classes] and `lengths` [batch].
struct Sequences {
  int64_t time = 0, batch = 0, classes = 0;
  std::vector<int64_t> lengths;
};

StatusOr<Sequences> ReadSequences(const OpContext& ctx, int lengths) {
  const Shape &x = ctx.input(0).shape(), &l = ctx.input(lengths).shape();
  SM_CHECK_ARG(x.rank() == 3, "inputs have shape ", x, ", expected [time, batch, classes]");
  SM_CHECK_ARG(l.rank() == 1, "sequence_length has shape ", l, ", expected a vector");
  Sequences s{x[0], x[1], x[2], ctx.IntsInput(lengths)};
  if (l[0] != s.batch) {
    return FailedPrecondition("sequence_length has ", l[0], " values, expected ", s.batch);
  }
  for (int64_t length : s.lengths) {
    if (length > s.time) {
      return FailedPrecondition("found sequence length ", length, ", expected at most ", s.time);
    }
  }
  SM_CHECK_ARG(s.classes > 0 && s.classes < (1 << 30), "found ", s.classes, " classes");
  return s;
}

using LabelSequence = std::vector<int64_t>;

// Writes one sparse tensor [batch, longest] to outputs `first`, `first` + stride, …
Status WriteSparse(OpContext& ctx, int first, int stride,
                   const std::vector<LabelSequence>& sequences) {
  int64_t total = 0, longest = 0;
  for (const LabelSequence& s : sequences) {
    total += static_cast<int64_t>(s.size());
    longest = std::max(longest, static_cast<int64_t>(s.size()));
  }
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(first, Shape({total, 2})));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(first + stride, Shape({total})));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(first + 2 * stride, Shape({2})));
  int64_t* indices = ctx.out<int64_t>(first);
  int64_t* values = ctx.out<int64_t>(first + stride);
  for (size_t b = 0; b < sequences.size(); ++b) {
    for (size_t i = 0; i < sequences[b].size(); ++i) {
      *indices++ = static_cast<int64_t>(b);
      *indices++ = static_cast<int64_t>(i);
      *values++ = sequences[b][i];
    }
  }
  int64_t* shape = ctx.out<int64_t>(first + 2 * stride);
  shape[0] = static_cast<int64_t>(sequences.size());
  shape[1] = longest;
  return Status();
}

StatusOr<KernelPtr> BuildGreedy(BuildContext& build) {
  const bool merge = build.attrs().Bool("merge_repeated");
  const int64_t blank_index = build.attrs().Int("blank_index");
  return MakeKernel([merge, blank_index](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Sequences s, ReadSequences(ctx, 1));
    const int64_t blank = blank_index < 0 ? s.classes + blank_index : blank_index;
    SM_CHECK_ARG(blank >= 0 && blank < s.classes, "found blank_index ", blank_index, " for ",
                 s.classes, " classes");
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(3, Shape({s.batch, 1})));
    std::vector<LabelSequence> decoded(s.batch);
    SM_RETURN_IF_ERROR(VisitDType<kFloatDouble>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      for (int64_t b = 0; b < s.batch; ++b) {
        T score = T(0);
        int64_t previous = -1;
        for (int64_t t = 0; t < s.lengths[b]; ++t) {
          const T* x = ctx.in<T>(0) + (t * s.batch + b) * s.classes;
          const int64_t best = std::max_element(x, x + s.classes) - x;
          score -= x[best];
          if (best != blank && !(merge && best == previous)) decoded[b].push_back(best);
          previous = best;
        }
        ctx.out<T>(3)[b] = score;
      }
      return Status();
    }));
    return WriteSparse(ctx, 0, 1, decoded);
  });
}

// ------------------------------------------------------------------------------- beam search

template <class T>
constexpr T kLogZero = -std::numeric_limits<T>::infinity();

template <class T>
T LogSumExp(T a, T b) {
  if (a == kLogZero<T>) return b;
  if (b == kLogZero<T>) return a;
  // In single precision for doubles, too, as in TensorFlow.
  const float difference = static_cast<float>(a > b ? b - a : a - b);
  return std::max(a, b) + T(std::log1p(std::exp(difference)));
}

template <class T>
struct Probability {
  T total = kLogZero<T>, blank = kLogZero<T>, label = kLogZero<T>;
};

// A prefix of labels: a node of the tree of all prefixes seen.
template <class T>
struct Beam {
  Beam* parent = nullptr;
  int64_t label = -1;
  std::unordered_map<int64_t, Beam*> children;
  Probability<T> before, now;

  bool active() const { return now.total != kLogZero<T>; }
};

template <class T>
class BeamSearch {
 public:
  BeamSearch(int64_t width, int64_t classes)
      : width_(static_cast<size_t>(width)), classes_(classes) {
    Beam<T>& root = nodes_.emplace_back();
    root.now.total = root.now.blank = T(0);
    Push(&root);
  }

  // One time step with scores x of all classes; the last class is blank.
  Status Step(const T* x) {
    const T largest = *std::max_element(x, x + classes_);
    T sum = T(0);
    for (int64_t c = 0; c < classes_; ++c) sum += std::exp(x[c] - largest);
    const T norm = largest + std::log(sum);
    std::vector<Beam<T>*> beams;
    for (auto it = leaves_.rbegin(); it != leaves_.rend(); ++it) beams.push_back(it->second);
    leaves_.clear();
    for (Beam<T>* b : beams) b->before = b->now;
    for (Beam<T>* b : beams) Extend(b, x, norm);
    for (Beam<T>* b : beams) {
      if (!IsCandidate(b->before)) continue;
      for (int64_t label = 0; label < classes_ - 1; ++label) Grow(b, label, x[label] - norm);
      if (nodes_.size() > kMostNodes) {
        return ResourceExhausted("the beam search has seen ", nodes_.size(),
                                 " prefixes; use a narrower beam");
      }
    }
    return Status();
  }

  // The best prefixes in falling order; fewer than `count` when there are no more.
  void Best(int64_t count, bool merge_repeated, std::vector<LabelSequence>* paths,
            std::vector<T>* scores) const {
    for (auto it = leaves_.rbegin(); it != leaves_.rend() && count > 0; ++it, --count) {
      LabelSequence path;
      int64_t previous = -1;
      for (const Beam<T>* b = it->second; b->parent != nullptr; b = b->parent) {
        if (!merge_repeated || b->label != previous) path.push_back(b->label);
        previous = b->label;
      }
      std::reverse(path.begin(), path.end());
      paths->push_back(std::move(path));
      scores->push_back(it->first);
    }
  }

 private:
  static constexpr size_t kMostNodes = size_t{1} << 23;

  bool IsCandidate(const Probability<T>& p) const {
    return p.total > kLogZero<T> && (leaves_.size() < width_ || p.total > leaves_.begin()->first);
  }
  void Push(Beam<T>* b) {
    leaves_.emplace(b->now.total, b);
    if (leaves_.size() > width_) leaves_.erase(leaves_.begin());
  }

  // The prefix itself, one step later.
  void Extend(Beam<T>* b, const T* x, T norm) {
    if (b->parent != nullptr) {
      if (b->parent->active()) {
        const T previous =
            b->label == b->parent->label ? b->parent->before.blank : b->parent->before.total;
        b->now.label = LogSumExp(b->now.label, previous);
      }
      b->now.label += x[b->label] - norm;
    }
    b->now.blank = b->before.total + x[classes_ - 1] - norm;
    b->now.total = LogSumExp(b->now.blank, b->now.label);
    Push(b);
  }

  // The prefix followed by `label`.
  void Grow(Beam<T>* b, int64_t label, T score) {
    const auto at = b->children.find(label);
    if (at != b->children.end() && at->second->active()) return;
    Probability<T> p;
    p.label = p.total = score + (label == b->label ? b->before.blank : b->before.total);
    if (!IsCandidate(p)) return;
    Beam<T>* child = at == b->children.end() ? nullptr : at->second;
    if (child == nullptr) {
      child = &nodes_.emplace_back();
      child->parent = b;
      child->label = label;
      b->children[label] = child;
    }
    child->before = Probability<T>();
    child->now = p;
    if (leaves_.size() == width_) leaves_.begin()->second->now = Probability<T>();
    Push(child);
  }

  size_t width_;
  int64_t classes_;
  std::deque<Beam<T>> nodes_;
  std::multimap<T, Beam<T>*> leaves_;  // by total probability
};

StatusOr<KernelPtr> BuildBeamSearch(BuildContext& build) {
  const int64_t width = build.attrs().Int("beam_width"), paths = build.attrs().Int("top_paths");
  const bool merge = build.attrs().Bool("merge_repeated");
  return MakeKernel([=](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Sequences s, ReadSequences(ctx, 1));
    const int scores_output = static_cast<int>(3 * paths);
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(scores_output, Shape({s.batch, paths})));
    std::vector<std::vector<LabelSequence>> decoded(paths, std::vector<LabelSequence>(s.batch));
    SM_RETURN_IF_ERROR(VisitDType<kFloatDouble>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      for (int64_t b = 0; b < s.batch; ++b) {
        BeamSearch<T> search(width, s.classes);
        for (int64_t t = 0; t < s.lengths[b]; ++t) {
          SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
          SM_RETURN_IF_ERROR(search.Step(ctx.in<T>(0) + (t * s.batch + b) * s.classes));
        }
        std::vector<LabelSequence> best;
        std::vector<T> scores;
        search.Best(paths, merge, &best, &scores);
        SM_CHECK_ARG(static_cast<int64_t>(best.size()) == paths, "found ", best.size(),
                     " paths, expected top_paths = ", paths);
        for (int64_t p = 0; p < paths; ++p) {
          decoded[p][b] = std::move(best[p]);
          ctx.out<T>(scores_output)[b * paths + p] = scores[p];
        }
      }
      return Status();
    }));
    for (int64_t p = 0; p < paths; ++p) {
      SM_RETURN_IF_ERROR(
          WriteSparse(ctx, static_cast<int>(p), static_cast<int>(paths), decoded[p]));
    }
    return Status();
  });
}

// -------------------------------------------------------------------------------------- loss

struct LossAttrs {
  bool collapse_repeated = false, merge_repeated = true, ignore_longer = false;
};

// The labels of each sequence, up to a null label (one that is not a class).
StatusOr<std::vector<LabelSequence>> ReadLabels(const OpContext& ctx, const Sequences& s,
                                                const LossAttrs& attrs) {
  const Shape &indices = ctx.input(1).shape(), &values = ctx.input(2).shape();
  SM_CHECK_ARG(
      indices.rank() == 2 && indices[1] == 2 && values.rank() == 1 && indices[0] == values[0],
      "labels have indices ", indices, " and values ", values, ", expected [n, 2] and [n]");
  std::vector<LabelSequence> labels(s.batch);
  std::vector<bool> finished(s.batch, false);
  std::vector<int64_t> previous(s.batch, -1);
  for (int64_t i = 0; i < values[0]; ++i) {
    const int64_t b = ctx.in<int64_t>(1)[2 * i];
    const int64_t label = ctx.in<int32_t>(2)[i];
    SM_CHECK_ARG(b >= 0 && b < s.batch, "a label is for batch entry ", b, " of ", s.batch);
    SM_CHECK_ARG(label >= 0, "found label ", label, ", expected non-negative ones");
    if (attrs.collapse_repeated && label == previous[b]) continue;
    previous[b] = label;
    if (label >= s.classes - 1) {
      finished[b] = true;
      continue;
    }
    SM_CHECK_ARG(!finished[b], "found label ", label, " behind a null label in batch entry ", b);
    labels[b].push_back(label);
  }
  return labels;
}

// Loss and gradient of one sequence of `time` steps; y(t) points to the softmax of step t, which
// the gradient replaces.
template <class T>
class Lattice {
 public:
  Lattice(const LabelSequence& labels, int64_t blank, bool merge_repeated)
      : blank_(blank), merge_(merge_repeated) {
    for (int64_t label : labels) {
      path_.push_back(blank);
      path_.push_back(label);
    }
    path_.push_back(blank);
  }

  int64_t size() const { return static_cast<int64_t>(path_.size()); }

  // `alpha` and `beta` are scratch of time * size() elements each.
  T Run(int64_t time, int64_t classes, const std::vector<T*>& y, T* alpha, T* beta) {
    const int64_t n = size();
    std::fill_n(alpha, time * n, kLogZero<T>);
    std::fill_n(beta, time * n, kLogZero<T>);
    Forward(time, n, y, alpha);
    Backward(time, n, y, beta);
    T log_p = kLogZero<T>;
    for (int64_t u = 0; u < n; ++u) log_p = LogSumExp(log_p, alpha[u] + beta[u]);
    if (log_p == kLogZero<T>) return log_p;
    std::vector<T> sums(classes);
    for (int64_t t = 0; t < time; ++t) {
      std::fill(sums.begin(), sums.end(), kLogZero<T>);
      for (int64_t u = 0; u < n; ++u) {
        T& sum = sums[path_[u]];
        sum = LogSumExp(sum, alpha[t * n + u] + beta[t * n + u]);
      }
      for (int64_t c = 0; c < classes; ++c) y[t][c] -= std::exp(sums[c] - log_p);
    }
    return log_p;
  }

 private:
  bool MayStay(int64_t u) const { return merge_ || path_[u] == blank_; }
  // From label u - 2 to label u, over the blank between them.
  bool MaySkip(int64_t u) const {
    return path_[u] != blank_ && !(merge_ && path_[u] == path_[u - 2]);
  }

  void Forward(int64_t time, int64_t n, const std::vector<T*>& y, T* alpha) const {
    for (int64_t u = 0; u < std::min<int64_t>(2, n); ++u) alpha[u] = std::log(y[0][path_[u]]);
    for (int64_t t = 1; t < time; ++t) {
      const T* before = alpha + (t - 1) * n;
      for (int64_t u = 0; u < n; ++u) {
        T sum = MayStay(u) ? before[u] : kLogZero<T>;
        if (u > 0) sum = LogSumExp(sum, before[u - 1]);
        if (u > 1 && MaySkip(u)) sum = LogSumExp(sum, before[u - 2]);
        alpha[t * n + u] = sum + std::log(y[t][path_[u]]);
      }
    }
  }

  void Backward(int64_t time, int64_t n, const std::vector<T*>& y, T* beta) const {
    for (int64_t u = std::max<int64_t>(0, n - 2); u < n; ++u) beta[(time - 1) * n + u] = T(0);
    for (int64_t t = time - 2; t >= 0; --t) {
      const T* after = beta + (t + 1) * n;
      const auto through = [&](int64_t u) { return after[u] + std::log(y[t + 1][path_[u]]); };
      for (int64_t u = 0; u < n; ++u) {
        T sum = MayStay(u) ? through(u) : kLogZero<T>;
        if (u + 1 < n) sum = LogSumExp(sum, through(u + 1));
        if (u + 2 < n && MaySkip(u + 2)) sum = LogSumExp(sum, through(u + 2));
        beta[t * n + u] = sum;
      }
    }
  }

  int64_t blank_;
  bool merge_;
  LabelSequence path_;  // labels with blanks around each
};

// Whether `time` steps are enough; an error when they are not, unless such are to be ignored.
StatusOr<bool> FitsTime(const LabelSequence& labels, int64_t time, const LossAttrs& attrs) {
  int64_t required = static_cast<int64_t>(labels.size());
  if (attrs.merge_repeated) {
    for (size_t i = 1; i < labels.size(); ++i) required += labels[i] == labels[i - 1];
  }
  if (required <= time) return true;
  if (attrs.ignore_longer) return false;
  return InvalidArgument("a sequence of ", time, " steps is too short for labels that take ",
                         required, "; ignore_longer_outputs_than_inputs lets such pass");
}

template <class T>
Status RunLoss(OpContext& ctx, const LossAttrs& attrs) {
  SM_ASSIGN_OR_RETURN(const Sequences s, ReadSequences(ctx, 3));
  SM_ASSIGN_OR_RETURN(const std::vector<LabelSequence> labels, ReadLabels(ctx, s, attrs));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, Shape({s.batch})));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, ctx.input(0).shape()));
  const T* x = ctx.in<T>(0);
  T* gradient = ctx.out<T>(1);
  std::fill_n(gradient, ctx.input(0).num_elements(), T(0));
  for (int64_t b = 0; b < s.batch; ++b) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    ctx.out<T>(0)[b] = T(0);
    const int64_t time = s.lengths[b];
    SM_ASSIGN_OR_RETURN(const bool fits, FitsTime(labels[b], time, attrs));
    if (time <= 0 || !fits) continue;
    std::vector<T*> y(time);
    for (int64_t t = 0; t < time; ++t) {
      const int64_t at = (t * s.batch + b) * s.classes;
      y[t] = gradient + at;
      const T largest = *std::max_element(x + at, x + at + s.classes);
      T sum = T(0);
      for (int64_t c = 0; c < s.classes; ++c) sum += y[t][c] = std::exp(x[at + c] - largest);
      for (int64_t c = 0; c < s.classes; ++c) y[t][c] /= sum;
    }
    Lattice<T> lattice(labels[b], s.classes - 1, attrs.merge_repeated);
    SM_ASSIGN_OR_RETURN(Tensor scratch,
                        ctx.AllocateTemp(DTypeOf<T>::value, Shape({2, time, lattice.size()})));
    T* alpha = static_cast<T*>(scratch.raw_mutable_data());
    ctx.out<T>(0)[b] = -lattice.Run(time, s.classes, y, alpha, alpha + time * lattice.size());
  }
  return Status();
}

StatusOr<KernelPtr> BuildLoss(BuildContext& build) {
  const LossAttrs attrs{build.attrs().Bool("preprocess_collapse_repeated"),
                        build.attrs().Bool("ctc_merge_repeated"),
                        build.attrs().Bool("ignore_longer_outputs_than_inputs")};
  return MakeKernel([attrs](OpContext& ctx) {
    return VisitDType<kFloatDouble>(ctx.input(0).dtype(), [&](auto tag) {
      return RunLoss<typename decltype(tag)::type>(ctx, attrs);
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "CTCBeamSearchDecoder(inputs: T, sequence_length: int32) -> (decoded_indices: "
                  "top_paths * int64, decoded_values: top_paths * int64, decoded_shape: top_paths "
                  "* int64, log_probability: T); beam_width: int >= 1; top_paths: int >= 1; "
                  "merge_repeated: bool = true; T: {float,double} = float",
     .shape = shape::Unknown,
     .build = BuildBeamSearch},
    {.signature = "CTCGreedyDecoder(inputs: T, sequence_length: int32) -> (decoded_indices: "
                  "int64, decoded_values: int64, decoded_shape: int64, log_probability: T); "
                  "merge_repeated: bool = false; blank_index: int = -1; "
                  "T: {float,double} = float",
     .shape = shape::Unknown,
     .build = BuildGreedy},
    {.signature = "CTCLoss(inputs: T, labels_indices: int64, labels_values: int32, "
                  "sequence_length: int32) -> (loss: T, gradient: T); "
                  "preprocess_collapse_repeated: bool = false; ctc_merge_repeated: bool = true; "
                  "ignore_longer_outputs_than_inputs: bool = false; T: {float,double} = float",
     .shape = shape::Unknown,
     .build = BuildLoss},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CtcOps() { return kOps; }

}  // namespace savedmodel
