// Calls with structured arguments: TensorFlow's choice among the traces of a tf.function.
#include <algorithm>
#include <iterator>

#include "savedmodel/model.h"
#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel {
namespace api {
namespace {

using Kind = StructuredValue::Kind;

Value FromStructured(const StructuredValue& s) {
  std::vector<Value> items;
  for (const StructuredValue& item : s.items) items.push_back(FromStructured(item));
  switch (s.kind) {
    case Kind::kBool:
      return Value::Bool(s.bool_value);
    case Kind::kInt:
      return Value::Int(s.int_value);
    case Kind::kFloat:
      return Value::Float(s.float_value);
    case Kind::kString:
      return Value::String(s.text);
    case Kind::kTensor:
      return Value(s.tensor);
    case Kind::kList:
      return Value::List(std::move(items));
    case Kind::kTuple:
      return Value::Tuple(std::move(items));
    case Kind::kDict: {
      std::map<std::string, Value> dict;
      for (size_t i = 0; i < items.size(); ++i) dict[s.keys[i]] = items[i];
      return Value::Dict(dict);
    }
    case Kind::kNamedTuple: {
      std::vector<std::pair<std::string, Value>> fields;
      for (size_t i = 0; i < items.size(); ++i) fields.emplace_back(s.keys[i], items[i]);
      return Value::NamedTuple(s.text, std::move(fields));
    }
    default:
      return Value();
  }
}

// Positional and keyword arguments put in the places that the Python signature gives them.
struct Canonical {
  std::vector<Value> args;
  std::map<std::string, Value> kwargs;
};

StatusOr<Canonical> Canonicalize(const FunctionSpec* spec, const std::vector<Value>& args,
                                 const std::map<std::string, Value>& kwargs) {
  Canonical out;
  out.args = args;
  out.kwargs = kwargs;
  if (spec == nullptr || !spec->known) return out;
  std::vector<std::string> names = spec->args;
  if (spec->is_method && !names.empty()) names.erase(names.begin());
  if (args.size() > names.size() && spec->varargs.empty()) {
    return InvalidArgument("found ", args.size(), " positional arguments, expected at most ",
                           names.size(), " (", StrJoin(names, ", "), ")");
  }
  const size_t first_default = names.size() - std::min(names.size(), spec->defaults.size());
  for (size_t i = args.size(); i < names.size(); ++i) {
    auto it = out.kwargs.find(names[i]);
    if (it != out.kwargs.end()) {
      out.args.push_back(it->second);
      out.kwargs.erase(it);
    } else if (i >= first_default) {
      out.args.push_back(FromStructured(spec->defaults[spec->defaults.size() - names.size() + i]));
    } else {
      return InvalidArgument("argument '", names[i], "' is missing; expected (",
                             StrJoin(names, ", "), ")");
    }
  }
  for (size_t i = 0; i < std::min(args.size(), names.size()); ++i) {
    if (kwargs.count(names[i]) > 0) {
      return InvalidArgument("argument '", names[i], "' is given twice");
    }
  }
  for (const auto& [name, value] : spec->kwonlydefaults) {
    if (out.kwargs.count(name) == 0) out.kwargs[name] = FromStructured(value);
  }
  return out;
}

template <class T>
bool FillScalar(double number, Tensor* t) {
  *t = Tensor::Scalar(static_cast<T>(number));
  return true;
}

// A Python scalar as a tensor of the dtype that a trace expects, as tf.convert_to_tensor would.
bool ConvertScalar(const Value& v, DType dtype, Tensor* t) {
  if (v.kind() == Value::Kind::kString) {
    *t = Tensor::Scalar(v.string_value());
    return dtype == DType::kString;
  }
  if (v.kind() == Value::Kind::kBool) {
    *t = Tensor::Scalar(v.bool_value());
    return dtype == DType::kBool;
  }
  const bool is_int = v.kind() == Value::Kind::kInt;
  if (!is_int && v.kind() != Value::Kind::kFloat) return false;
  const double number = is_int ? static_cast<double>(v.int_value()) : v.float_value();
  switch (dtype) {
    case DType::kFloat:
      return FillScalar<float>(number, t);
    case DType::kDouble:
      return FillScalar<double>(number, t);
    case DType::kHalf:
      return FillScalar<half>(number, t);
    case DType::kBFloat16:
      return FillScalar<bfloat16>(number, t);
    default:
      break;
  }
  if (!is_int) return false;
  switch (dtype) {
    case DType::kInt64:
      *t = Tensor::Scalar(v.int_value());
      return true;
    case DType::kInt32:
      return FillScalar<int32_t>(number, t);
    case DType::kInt16:
      return FillScalar<int16_t>(number, t);
    case DType::kInt8:
      return FillScalar<int8_t>(number, t);
    case DType::kUInt8:
      return FillScalar<uint8_t>(number, t);
    case DType::kUInt16:
      return FillScalar<uint16_t>(number, t);
    case DType::kUInt32:
      return FillScalar<uint32_t>(number, t);
    case DType::kUInt64:
      return FillScalar<uint64_t>(number, t);
    default:
      return false;
  }
}

// Matches a call against one trace and collects the tensors that the trace's graph takes.
class Matcher {
 public:
  explicit Matcher(bool convert) : convert_(convert) {}

  bool MatchCall(const Canonical& call, const StructuredValue& signature) {
    if (signature.items.size() != 2) return false;
    const StructuredValue& args = signature.items[0];
    const StructuredValue& kwargs = signature.items[1];
    if (args.items.size() != call.args.size() || kwargs.items.size() != call.kwargs.size()) {
      return false;
    }
    for (size_t i = 0; i < call.args.size(); ++i) {
      if (!Match(call.args[i], args.items[i])) return false;
    }
    for (size_t i = 0; i < kwargs.items.size(); ++i) {
      auto it = call.kwargs.find(kwargs.keys[i]);
      if (it == call.kwargs.end() || !Match(it->second, kwargs.items[i])) return false;
    }
    return true;
  }

  std::vector<Tensor>& tensors() { return tensors_; }

 private:
  // Recursion is bounded by the signature's nesting, which the file format limits.
  bool Match(const Value& v, const StructuredValue& expected) {
    switch (expected.kind) {
      case Kind::kTensorSpec:
      case Kind::kBoundedTensorSpec:
        return MatchTensor(v, expected);
      case Kind::kTypeSpec:
        return MatchComposite(v, expected);
      case Kind::kList:
      case Kind::kTuple: {
        const bool sequence =
            v.kind() == (expected.kind == Kind::kList ? Value::Kind::kList : Value::Kind::kTuple);
        if (!sequence || v.size() != expected.items.size()) return false;
        for (size_t i = 0; i < v.size(); ++i) {
          if (!Match(v.items()[i], expected.items[i])) return false;
        }
        return true;
      }
      case Kind::kDict:
      case Kind::kNamedTuple: {
        const bool keyed = v.kind() == (expected.kind == Kind::kDict ? Value::Kind::kDict
                                                                     : Value::Kind::kNamedTuple);
        if (!keyed || v.size() != expected.items.size()) return false;
        for (size_t i = 0; i < expected.items.size(); ++i) {
          const auto key = std::find(v.keys().begin(), v.keys().end(), expected.keys[i]);
          if (key == v.keys().end()) return false;
          if (!Match(v.items()[key - v.keys().begin()], expected.items[i])) return false;
        }
        return true;
      }
      default:
        return EqualLeaf(v, expected);
    }
  }

  bool MatchTensor(const Value& v, const StructuredValue& spec) {
    Tensor t = v.tensor();
    if (!v.is_tensor() && !(convert_ && ConvertScalar(v, spec.dtype, &t))) return false;
    if (t.dtype() != spec.dtype || !t.shape().CompatibleWith(spec.shape)) return false;
    tensors_.push_back(std::move(t));
    return true;
  }

  bool MatchComposite(const Value& v, const StructuredValue& spec) {
    if (spec.type_spec == StructuredValue::TypeSpec::kRaggedTensor &&
        v.kind() == Value::Kind::kRagged) {
      // Flat values, then row splits from the outermost.
      std::vector<Tensor> splits;
      const Value* at = &v;
      while (at->kind() == Value::Kind::kRagged && at->size() == 2) {
        splits.push_back(at->items()[1].tensor());
        at = &at->items()[0];
      }
      tensors_.push_back(at->tensor());
      tensors_.insert(tensors_.end(), splits.begin(), splits.end());
      return true;
    }
    const bool sparse = spec.type_spec == StructuredValue::TypeSpec::kSparseTensor;
    const bool other = spec.type_spec != StructuredValue::TypeSpec::kRaggedTensor;
    if ((sparse && v.kind() == Value::Kind::kSparse) ||
        (!sparse && other && v.kind() == Value::Kind::kTuple)) {
      for (const Value& item : v.items()) tensors_.push_back(item.tensor());
      return spec.num_flat_components == 0 ||
             spec.num_flat_components == static_cast<int>(v.size());
    }
    // A composite of one component may be given as that component.
    if (other && v.is_tensor() && spec.num_flat_components == 1) {
      tensors_.push_back(v.tensor());
      return true;
    }
    return false;
  }

  static bool EqualLeaf(const Value& v, const StructuredValue& expected) {
    const auto number = [](const Value& x) {
      return x.kind() == Value::Kind::kInt    ? static_cast<double>(x.int_value())
             : x.kind() == Value::Kind::kBool ? static_cast<double>(x.bool_value())
                                              : x.float_value();
    };
    const bool numeric = v.kind() == Value::Kind::kInt || v.kind() == Value::Kind::kBool ||
                         v.kind() == Value::Kind::kFloat;
    switch (expected.kind) {
      case Kind::kNone:
        return v.kind() == Value::Kind::kNone;
      case Kind::kBool:
        return numeric && number(v) == static_cast<double>(expected.bool_value);
      case Kind::kInt:
        return numeric && number(v) == static_cast<double>(expected.int_value);
      case Kind::kFloat:
        return numeric && number(v) == expected.float_value;
      case Kind::kString:
        return v.kind() == Value::Kind::kString && v.string_value() == expected.text;
      default:
        return false;
    }
  }

  const bool convert_;
  std::vector<Tensor> tensors_;
};

// Puts result tensors into the structure that the trace returns.
class Packer {
 public:
  explicit Packer(Span<Tensor> tensors) : tensors_(tensors) {}

  StatusOr<Value> Pack(const StructuredValue& s) {
    switch (s.kind) {
      case Kind::kTensorSpec:
      case Kind::kBoundedTensorSpec: {
        SM_ASSIGN_OR_RETURN(Tensor t, Next());
        return Value(std::move(t));
      }
      case Kind::kTypeSpec:
        return PackComposite(s);
      case Kind::kList:
      case Kind::kTuple:
      case Kind::kDict:
      case Kind::kNamedTuple: {
        std::vector<Value> items;
        for (const StructuredValue& item : s.items) {
          SM_ASSIGN_OR_RETURN(Value v, Pack(item));
          items.push_back(std::move(v));
        }
        if (s.kind == Kind::kList) return Value::List(std::move(items));
        if (s.kind == Kind::kTuple) return Value::Tuple(std::move(items));
        if (s.kind == Kind::kDict) {
          std::map<std::string, Value> dict;
          for (size_t i = 0; i < items.size(); ++i) dict[s.keys[i]] = std::move(items[i]);
          return Value::Dict(dict);
        }
        std::vector<std::pair<std::string, Value>> fields;
        for (size_t i = 0; i < items.size(); ++i) fields.emplace_back(s.keys[i], items[i]);
        return Value::NamedTuple(s.text, std::move(fields));
      }
      default:
        return FromStructured(s);
    }
  }

 private:
  StatusOr<Tensor> Next() {
    if (next_ >= tensors_.size()) {
      return Internal("the declared result structure has more tensors than the function returns");
    }
    return std::move(tensors_[next_++]);
  }

  StatusOr<Value> PackComposite(const StructuredValue& s) {
    if (s.type_spec == StructuredValue::TypeSpec::kSparseTensor) {
      SM_ASSIGN_OR_RETURN(Tensor indices, Next());
      SM_ASSIGN_OR_RETURN(Tensor values, Next());
      SM_ASSIGN_OR_RETURN(Tensor dense_shape, Next());
      return Value::Sparse(std::move(indices), std::move(values), std::move(dense_shape));
    }
    if (s.type_spec == StructuredValue::TypeSpec::kRaggedTensor) {
      SM_ASSIGN_OR_RETURN(Tensor flat, Next());
      std::vector<Tensor> splits;
      // The state of the spec is (shape, dtype, ragged_rank, row_splits_dtype, …).
      const StructuredValue* state = s.items.empty() ? nullptr : &s.items[0];
      int64_t ragged_rank = std::max(1, s.num_flat_components - 1);
      if (s.num_flat_components == 0 && state != nullptr && state->items.size() > 2) {
        ragged_rank = state->items[2].int_value;
      }
      for (int64_t i = 0; i < ragged_rank; ++i) {
        SM_ASSIGN_OR_RETURN(Tensor split, Next());
        splits.push_back(std::move(split));
      }
      Value v(std::move(flat));
      while (!splits.empty()) {
        v = Value::Ragged(std::move(v), std::move(splits.back()));
        splits.pop_back();
      }
      return v;
    }
    const int count = std::max(1, s.num_flat_components);
    std::vector<Value> parts;
    for (int i = 0; i < count; ++i) {
      SM_ASSIGN_OR_RETURN(Tensor t, Next());
      parts.emplace_back(std::move(t));
    }
    return parts.size() == 1 ? std::move(parts[0]) : Value::Tuple(std::move(parts));
  }

  Span<Tensor> tensors_;
  size_t next_ = 0;
};

void DescribeSpec(const StructuredValue& s, std::string* out) {
  switch (s.kind) {
    case Kind::kTensorSpec:
    case Kind::kBoundedTensorSpec:
      *out += StrCat(s.dtype, s.shape);
      if (!s.text.empty()) *out += " " + s.text;
      return;
    case Kind::kTypeSpec:
      *out += s.text;
      return;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kNamedTuple:
      *out += s.kind == Kind::kDict ? "{" : s.kind == Kind::kList ? "[" : "(";
      for (size_t i = 0; i < s.items.size(); ++i) {
        if (i > 0) *out += ", ";
        if (i < s.keys.size()) *out += s.keys[i] + ": ";
        DescribeSpec(s.items[i], out);
      }
      *out += s.kind == Kind::kDict ? "}" : s.kind == Kind::kList ? "]" : ")";
      return;
    default:
      *out += FromStructured(s).ToString();
  }
}

std::string DescribeTraces(const FunctionImpl& f) {
  std::string out;
  for (const Trace& trace : f.traces) {
    out += out.empty() ? "" : "; ";
    DescribeSpec(trace.signature->input_signature, &out);
  }
  return out;
}

std::string DescribeCall(const Canonical& call) {
  std::string out;
  for (const Value& v : call.args) out += (out.empty() ? "" : ", ") + v.ToString();
  for (const auto& [name, v] : call.kwargs) {
    out += (out.empty() ? "" : ", ") + name + "=" + v.ToString();
  }
  return "(" + out + ")";
}

}  // namespace

static Value ListOf(std::vector<Tensor> tensors) {
  return Value::List(
      {std::make_move_iterator(tensors.begin()), std::make_move_iterator(tensors.end())});
}

// A bare concrete function is called by keyword, and by position as far as it allows.
static StatusOr<Value> CallFlat(const FunctionImpl& f, const std::vector<Value>& args,
                                const std::map<std::string, Value>& kwargs,
                                const RunOptions& options) {
  TensorMap inputs;
  for (size_t i = 0; i < args.size(); ++i) {
    if (i >= f.inputs.size()) {
      return InvalidArgument(f.name, ": found ", args.size(), " arguments, expected ",
                             f.inputs.size());
    }
    inputs[f.inputs[i].name] = args[i].tensor();
  }
  for (const auto& [name, value] : kwargs) inputs[name] = value.tensor();
  StatusOr<std::vector<Tensor>> ordered = OrderInputs(f, inputs);
  if (!ordered.ok()) return ordered.status().At(f.name);
  RunState run = f.model->context.MakeRun(options);
  std::vector<Tensor> outputs(f.outputs.size());
  SM_RETURN_IF_ERROR(f.executable->Run(*ordered, outputs, run));
  if (f.returns_list) return ListOf(std::move(outputs));
  std::map<std::string, Value> dict;
  for (size_t i = 0; i < outputs.size(); ++i) dict[f.outputs[i].name] = std::move(outputs[i]);
  return Value::Dict(dict);
}

}  // namespace api

StatusOr<Value> Function::Call(const std::vector<Value>& args,
                               const std::map<std::string, Value>& kwargs,
                               const RunOptions& options) const {
  SM_RETURN_IF_ERROR(status());
  const api::FunctionImpl& f = *impl_;
  const bool bare = f.traces.empty() || f.spec == nullptr ||
                    (!f.spec->known && f.traces.size() == 1 && args.empty());
  if (bare) return api::CallFlat(f, args, kwargs, options);
  StatusOr<api::Canonical> call = api::Canonicalize(f.spec, args, kwargs);
  if (!call.ok()) return call.status().At(f.name);
  for (const bool convert : {false, true}) {
    for (const api::Trace& trace : f.traces) {
      api::Matcher matcher(convert);
      if (!matcher.MatchCall(*call, trace.signature->input_signature)) continue;
      std::shared_ptr<const api::Executable> executable = trace.executable;
      if (executable == nullptr) {
        SM_ASSIGN_OR_RETURN(executable, f.model->Concrete(trace.function));
      }
      if (executable->num_inputs() != static_cast<int>(matcher.tensors().size())) {
        return Internal(f.name, ": the trace takes ", executable->num_inputs(),
                        " tensors, its signature says ", matcher.tensors().size());
      }
      RunState run = f.model->context.MakeRun(options);
      std::vector<Tensor> outputs(executable->num_outputs());
      SM_RETURN_IF_ERROR(executable->Run(matcher.tensors(), outputs, run));
      if (f.returns_list) return api::ListOf(std::move(outputs));
      return api::Packer(outputs).Pack(trace.signature->output_signature);
    }
  }
  return InvalidArgument(f.name, ": no trace takes ", api::DescribeCall(*call), "; the model has ",
                         f.traces.size(), ": ", api::DescribeTraces(f));
}

std::vector<std::string> Function::traces() const {
  std::vector<std::string> out;
  if (impl_ == nullptr) return out;
  for (const api::Trace& trace : impl_->traces) {
    std::string text;
    api::DescribeSpec(trace.signature->input_signature, &text);
    out.push_back(std::move(text));
  }
  return out;
}

}  // namespace savedmodel
