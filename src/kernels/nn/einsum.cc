// Einsum: any sum of products of one or two tensors, through at most one batch of matrix products.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/products.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// A dimension's name: a letter of the equation, or kEllipsis + i for the i-th dimension from the
// right of those that "..." stands for.
using Label = int;
using Labels = std::vector<Label>;
constexpr Label kEllipsis = 1000;

struct Equation {
  std::vector<Labels> inputs;  // kEllipsis stands for "..." until the ranks are known
  Labels output;
};

bool Contains(const Labels& labels, Label label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

StatusOr<Labels> ParseTerm(std::string_view term) {
  Labels labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term[i] == '.') {
      SM_CHECK_ARG(term.substr(i, 3) == "..." && !Contains(labels, kEllipsis),
                   "'.' is allowed in an equation only as one '...' for each term");
      labels.push_back(kEllipsis);
      i += 2;
      continue;
    }
    const char c = term[i];
    SM_CHECK_ARG((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), "found '", c,
                 "' in the equation, expected letters");
    labels.push_back(c);
  }
  return labels;
}

StatusOr<Equation> ParseEquation(std::string text, int num_inputs) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const size_t arrow = text.find("->");
  SM_CHECK_ARG(arrow != std::string::npos && text.find("->", arrow + 2) == std::string::npos,
               "equation '", text, "' must have exactly one '->'");
  Equation equation;
  const std::string left = text.substr(0, arrow);
  for (size_t from = 0;;) {
    const size_t comma = left.find(',', from);
    const size_t to = comma == std::string::npos ? left.size() : comma;
    SM_ASSIGN_OR_RETURN(Labels labels, ParseTerm(std::string_view(left).substr(from, to - from)));
    equation.inputs.push_back(std::move(labels));
    if (comma == std::string::npos) break;
    from = comma + 1;
  }
  SM_ASSIGN_OR_RETURN(equation.output, ParseTerm(std::string_view(text).substr(arrow + 2)));
  SM_CHECK_ARG(static_cast<int>(equation.inputs.size()) == num_inputs, "equation '", text,
               "' is for ", equation.inputs.size(), " inputs, found ", num_inputs);
  SM_CHECK_ARG(num_inputs <= 2, "found ", num_inputs, " inputs, expected one or two");
  for (Label label : equation.output) {
    const bool known = std::any_of(equation.inputs.begin(), equation.inputs.end(),
                                   [&](const Labels& in) { return Contains(in, label); });
    SM_CHECK_ARG(known || label == kEllipsis, "an output label of equation '", text,
                 "' is not among the inputs' labels");
  }
  return equation;
}

// Replaces "..." by `count` labels.
void ExpandEllipsis(int count, Labels* labels) {
  const auto at = std::find(labels->begin(), labels->end(), kEllipsis);
  if (at == labels->end()) return;
  Labels expanded(labels->begin(), at);
  for (int i = count; i > 0; --i) expanded.push_back(kEllipsis + i);
  expanded.insert(expanded.end(), at + 1, labels->end());
  *labels = std::move(expanded);
}

// An equation for inputs of given shapes: one label for each dimension, and each label's size.
struct Resolved {
  std::vector<Labels> inputs;
  Labels output;
  std::map<Label, int64_t> sizes;
};

Status AddSizes(const Labels& labels, const Shape& shape, std::map<Label, int64_t>* sizes) {
  for (size_t i = 0; i < labels.size(); ++i) {
    int64_t& size = sizes->emplace(labels[i], -1).first->second;
    const int64_t dim = shape[static_cast<int>(i)];
    if (size == -1 || (size == 1 && labels[i] > kEllipsis)) {
      size = dim == -1 ? size : dim;
    } else if (dim != -1 && dim != size && !(dim == 1 && labels[i] > kEllipsis)) {
      return InvalidArgument("a dimension of size ", dim, " of shape ", shape,
                             " has a label that stands for ", size, " elsewhere");
    }
  }
  return Status();
}

StatusOr<Resolved> Resolve(const Equation& equation, Span<const Shape* const> shapes) {
  Resolved r{equation.inputs, equation.output, {}};
  int widest = 0;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const bool has_ellipsis = Contains(r.inputs[i], kEllipsis);
    const int named = static_cast<int>(r.inputs[i].size()) - has_ellipsis;
    const int rank = shapes[i]->rank();
    SM_CHECK_ARG(has_ellipsis ? rank >= named : rank == named, "input ", i, " has shape ",
                 *shapes[i], ", expected rank ", named, has_ellipsis ? " or more" : "");
    widest = std::max(widest, rank - named);
    ExpandEllipsis(rank - named, &r.inputs[i]);
    SM_RETURN_IF_ERROR(AddSizes(r.inputs[i], *shapes[i], &r.sizes));
  }
  ExpandEllipsis(widest, &r.output);
  return r;
}

Status EinsumShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Equation equation,
                      ParseEquation(ctx.attrs().String("equation"), ctx.num_inputs()));
  std::vector<const Shape*> shapes;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.input(i).known_rank()) return Status();
    shapes.push_back(&ctx.input(i));
  }
  SM_ASSIGN_OR_RETURN(const Resolved r, Resolve(equation, shapes));
  std::vector<int64_t> dims;
  for (Label label : r.output) dims.push_back(r.sizes.at(label));
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

// ----------------------------------------------------------------------------- moving elements

// Elements of a tensor by label: the stride of each, several dimensions of one label added up
// (which walks their diagonal), dimensions that are broadcast at stride 0.
std::map<Label, int64_t> StridesOf(const Labels& labels, const Shape& shape) {
  std::map<Label, int64_t> strides;
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[labels[i]] += shape[i] == 1 ? 0 : stride;
    stride *= shape[i];
  }
  return strides;
}

struct Axis {
  int64_t size, from, to;  // strides in the source and the destination
};

// Sum over `summed` axes at one position.
template <class S, class D>
void SumAt(const S* from, const Axis* summed, size_t count, D* sum) {
  if (count == 0) {
    *sum += static_cast<D>(*from);
    return;
  }
  for (int64_t i = 0; i < summed->size; ++i)
    SumAt(from + i * summed->from, summed + 1, count - 1, sum);
}

// to[position] = sum of from over `summed`, for all positions of `kept`.
template <class S, class D>
void Gather(const S* from, D* to, const Axis* kept, size_t count, const std::vector<Axis>& summed) {
  if (count == 0) {
    D sum = D(0);
    SumAt(from, summed.data(), summed.size(), &sum);
    *to = sum;
    return;
  }
  if (count == 1 && summed.empty()) {
    if constexpr (std::is_same_v<S, D>) {
      if (kept->from == 1 && kept->to == 1) {
        std::copy_n(from, kept->size, to);
        return;
      }
    }
    for (int64_t i = 0; i < kept->size; ++i) {
      to[i * kept->to] = static_cast<D>(from[i * kept->from]);
    }
    return;
  }
  for (int64_t i = 0; i < kept->size; ++i) {
    Gather(from + i * kept->from, to + i * kept->to, kept + 1, count - 1, summed);
  }
}

int64_t SizeOf(const Resolved& r, const Labels& labels) {
  int64_t size = 1;
  for (Label label : labels) size *= r.sizes.at(label);
  return size;
}

// `t` as elements of C in the order of `order`, summed over its labels that are not in there.
// `t` itself where it is so already.
template <class T, class C>
StatusOr<Tensor> Arrange(OpContext& ctx, const Resolved& r, const Tensor& t, const Labels& labels,
                         const Labels& order) {
  bool broadcast = false;
  for (size_t i = 0; i < labels.size(); ++i) {
    broadcast |= t.shape()[static_cast<int>(i)] != r.sizes.at(labels[i]);
  }
  if (std::is_same_v<T, C> && labels == order && !broadcast) return t;
  std::map<Label, int64_t> strides = StridesOf(labels, t.shape());
  std::vector<Axis> kept, summed;
  int64_t stride = SizeOf(r, order);
  SM_ASSIGN_OR_RETURN(Tensor out, ctx.AllocateTemp(DTypeOf<C>::value, Shape({stride})));
  for (Label label : order) {
    const int64_t size = r.sizes.at(label);
    stride /= std::max<int64_t>(1, size);
    const auto at = strides.find(label);
    kept.push_back({size, at == strides.end() ? 0 : at->second, stride});
    if (at != strides.end()) strides.erase(at);
  }
  for (const auto& [label, from] : strides) summed.push_back({r.sizes.at(label), from, 0});
  C* to = static_cast<C*>(out.raw_mutable_data());
  if (out.num_elements() > 0) Gather(t.data<T>(), to, kept.data(), kept.size(), summed);
  return out;
}

// Writes `from`, in the order of `labels`, to the output; off a repeated label's diagonal is 0.
template <class C, class T>
void WriteOutput(OpContext& ctx, const Resolved& r, const C* from, const Labels& labels) {
  T* to = ctx.out<T>(0);
  const Shape& shape = ctx.output(0).shape();
  std::map<Label, int64_t> strides = StridesOf(r.output, shape);
  if (strides.size() != r.output.size()) std::fill_n(to, shape.num_elements(), T(0));
  std::vector<Axis> axes;
  int64_t stride = SizeOf(r, labels);
  for (Label label : labels) {
    const int64_t size = r.sizes.at(label);
    stride /= std::max<int64_t>(1, size);
    axes.push_back({size, stride, strides[label]});
  }
  Gather(from, to, axes.data(), axes.size(), {});
}

// ------------------------------------------------------------------------------- the product

// The roles of the labels of two inputs.
struct Roles {
  Labels batch, rows, columns, depth;
  bool b_is_transposed = false;  // b is arranged [batch][columns][depth]
};

Labels Join(std::initializer_list<const Labels*> parts) {
  Labels all;
  for (const Labels* part : parts) all.insert(all.end(), part->begin(), part->end());
  return all;
}

Labels ProductOrder(const Roles& roles) {
  return Join({&roles.batch, &roles.rows, &roles.columns});
}

// Adds labels of `from` that satisfy `pred`, each once.
template <class Pred>
void Select(const Labels& from, Pred&& pred, Labels* to) {
  for (Label label : from) {
    if (pred(label) && !Contains(*to, label)) to->push_back(label);
  }
}

Roles AssignRoles(const Labels& a, const Labels& b, const Labels& output) {
  Roles roles;
  const auto in = [](const Labels& labels) {
    return [&labels](Label l) { return Contains(labels, l); };
  };
  const auto in_a = in(a), in_b = in(b), in_output = in(output);
  Select(
      output, [&](Label l) { return in_a(l) && in_b(l); }, &roles.batch);
  Select(
      output, [&](Label l) { return in_a(l) && !in_b(l); }, &roles.rows);
  Select(
      output, [&](Label l) { return !in_a(l) && in_b(l); }, &roles.columns);
  Select(
      b, [&](Label l) { return in_a(l) && !in_output(l); }, &roles.depth);
  roles.b_is_transposed = b == Join({&roles.batch, &roles.columns, &roles.depth});
  return roles;
}

template <class T>
Status RunPair(OpContext& ctx, const Resolved& r, const PackedMatrices& packed,
               const Epilogue* epilogue) {
  using C = ComputeType<T>;
  int first = 0, second = 1;
  Roles roles = AssignRoles(r.inputs[0], r.inputs[1], r.output);
  if (packed == nullptr && ProductOrder(roles) != r.output) {
    // The transposed product may be what is wanted.
    const Roles swapped = AssignRoles(r.inputs[1], r.inputs[0], r.output);
    if (ProductOrder(swapped) == r.output) {
      roles = swapped;
      std::swap(first, second);
    }
  }
  SM_ASSIGN_OR_RETURN(const Tensor a,
                      (Arrange<T, C>(ctx, r, ctx.input(first), r.inputs[first],
                                     Join({&roles.batch, &roles.rows, &roles.depth}))));
  const Labels b_order = roles.b_is_transposed ? Join({&roles.batch, &roles.columns, &roles.depth})
                                               : Join({&roles.batch, &roles.depth, &roles.columns});
  SM_ASSIGN_OR_RETURN(const Tensor b,
                      (Arrange<T, C>(ctx, r, ctx.input(second), r.inputs[second], b_order)));
  const Labels order = ProductOrder(roles);
  const bool direct = std::is_same_v<T, C> && order == r.output;
  Tensor temp;
  if (!direct) {
    SM_ASSIGN_OR_RETURN(temp, ctx.AllocateTemp(DTypeOf<C>::value, Shape({SizeOf(r, order)})));
  }
  C* c = static_cast<C*>(direct ? ctx.output(0).raw_mutable_data() : temp.raw_mutable_data());
  ProductOf<C> product{.m = SizeOf(r, roles.rows),
                       .n = SizeOf(r, roles.columns),
                       .k = SizeOf(r, roles.depth),
                       .a = a.data<C>(),
                       .b = b.data<C>(),
                       .b_is_transposed = roles.b_is_transposed,
                       .c = c,
                       .packed = packed.get(),
                       .epilogue = direct ? epilogue : nullptr};
  const int64_t batch = SizeOf(r, roles.batch);
  for (int64_t i = 0; i < batch; ++i) product.pairs.push_back({i, i});
  SM_RETURN_IF_ERROR(MultiplyMatrices(ctx, product));
  if (!direct) WriteOutput<C, T>(ctx, r, c, order);
  return Status();
}

template <class T>
Status RunSingle(OpContext& ctx, const Resolved& r) {
  using C = ComputeType<T>;
  Labels order;
  Select(
      r.output, [](Label) { return true; }, &order);
  SM_ASSIGN_OR_RETURN(const Tensor sums, (Arrange<T, C>(ctx, r, ctx.input(0), r.inputs[0], order)));
  WriteOutput<C, T>(ctx, r, sums.data<C>(), order);
  return Status();
}

Status RunEinsum(OpContext& ctx, const Equation& equation, const PackedMatrices& packed) {
  std::vector<const Shape*> shapes;
  for (int i = 0; i < static_cast<int>(equation.inputs.size()); ++i) {
    shapes.push_back(&ctx.input(i).shape());
  }
  if (ctx.output(0).num_elements() == 0) return Status();
  SM_ASSIGN_OR_RETURN(const Resolved r, Resolve(equation, shapes));
  return VisitDType<kFloats | kComplexes | kInt32Or64>(ctx.input(0).dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (shapes.size() == 1) return RunSingle<T>(ctx, r);
    return RunPair<T>(ctx, r, packed, nullptr);
  });
}

// Packs a constant second input that is a plain matrix of [depth][columns] or its transpose.
StatusOr<PackedMatrices> PackSecond(BuildContext& build, const Equation& equation) {
  const Tensor* b = build.num_inputs() == 2 ? build.constant_input(1) : nullptr;
  if (b == nullptr || b->dtype() != DType::kFloat) return PackedMatrices();
  const Labels& labels = equation.inputs[1];
  const Roles roles = AssignRoles(equation.inputs[0], labels, equation.output);
  const bool plain = labels == Join({&roles.depth, &roles.columns});
  if (Contains(labels, kEllipsis) || !roles.batch.empty() ||
      (!plain && labels != Join({&roles.columns, &roles.depth}))) {
    return PackedMatrices();
  }
  const Shape& shape = b->shape();
  if (shape.rank() != static_cast<int>(labels.size())) return PackedMatrices();
  const int split = static_cast<int>(plain ? roles.depth.size() : roles.columns.size());
  const int64_t outer = shape.Product(0, split), inner = shape.Product(split, shape.rank());
  const int64_t depth = plain ? outer : inner, columns = plain ? inner : outer;
  return PackConstant(build, 1,
                      StrCat("product ", depth, plain ? " by " : " transposed by ", columns), 1,
                      depth, columns, build.precision(), [&](int64_t) {
                        return MatrixView{b->data<float>(), plain ? columns : 1, plain ? 1 : depth};
                      });
}

StatusOr<KernelPtr> BuildEinsum(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const Equation equation,
                      ParseEquation(build.attrs().String("equation"), build.num_inputs()));
  SM_ASSIGN_OR_RETURN(const PackedMatrices packed, PackSecond(build, equation));
  return MakeKernel(
      [equation, packed](OpContext& ctx) { return RunEinsum(ctx, equation, packed); });
}

constexpr OpDef kOps[] = {
    {.signature = "Einsum(inputs: N * T) -> (output: T); equation: string; N: int >= 1; T: type",
     .shape = EinsumShape,
     .build = BuildEinsum},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> EinsumOps() { return kOps; }

}  // namespace savedmodel
