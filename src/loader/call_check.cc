#include "src/loader/call_check.h"

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/body_importer.h"

namespace savedmodel {
namespace {

using Types = std::vector<DType>;

template <class Args>
StatusOr<Types> TypesOf(const Args& args, const Attrs* attrs) {
  Types types;
  for (const auto& arg : args) {
    SM_ASSIGN_OR_RETURN(const ArgSpec spec, ArgSpecFromProto(arg));
    SM_ASSIGN_OR_RETURN(const Types some, ArgTypesOf(spec, attrs));
    types.insert(types.end(), some.begin(), some.end());
  }
  return types;
}

// `outputs` may be null: then any single output will do.
Status CheckOne(const FuncAttr& f, const FunctionIndex& functions, const Types& inputs,
                const Types* outputs) {
  auto it = functions.find(f.name);
  if (it == functions.end()) {
    return NotFound("function '", f.name, "' is not in the function library of the graph");
  }
  SM_ASSIGN_OR_RETURN(const proto::OpDef* const signature, it->second.Signature());
  SM_ASSIGN_OR_RETURN(const Types takes, TypesOf(signature->input_arg(), f.attrs.get()));
  SM_ASSIGN_OR_RETURN(const Types gives, TypesOf(signature->output_arg(), f.attrs.get()));
  if (takes != inputs) {
    return InvalidArgument("function '", f.name, "' takes (", StrJoin(takes, ", "),
                           "), but is called with (", StrJoin(inputs, ", "), ")");
  }
  if (outputs != nullptr ? gives != *outputs : gives.size() != 1) {
    return InvalidArgument("function '", f.name, "' gives (", StrJoin(gives, ", "),
                           "), but the call expects ",
                           outputs != nullptr ? StrCat("(", StrJoin(*outputs, ", "), ")")
                                              : std::string("a single condition"));
  }
  return Status();
}

}  // namespace

Status CheckCalls(const Node& node, const FunctionIndex& functions) {
  const Attrs& attrs = node.attrs;
  if (IsWhile(node)) {
    const Types& types = attrs.Types("T");
    SM_RETURN_IF_ERROR(CheckOne(attrs.Get<FuncAttr>("cond"), functions, types, nullptr));
    return CheckOne(attrs.Get<FuncAttr>("body"), functions, types, &types);
  }
  const Types& inputs = attrs.Types("Tin");
  const Types& outputs = attrs.Types("Tout");
  if (node.op == "PartitionedCall" || node.op == "StatefulPartitionedCall") {
    return CheckOne(attrs.Get<FuncAttr>("f"), functions, inputs, &outputs);
  }
  if (node.op == "If" || node.op == "StatelessIf") {
    SM_RETURN_IF_ERROR(CheckOne(attrs.Get<FuncAttr>("then_branch"), functions, inputs, &outputs));
    return CheckOne(attrs.Get<FuncAttr>("else_branch"), functions, inputs, &outputs);
  }
  if (node.op == "Case" || node.op == "StatelessCase") {
    for (const FuncAttr& branch : attrs.Get<std::vector<FuncAttr>>("branches")) {
      SM_RETURN_IF_ERROR(CheckOne(branch, functions, inputs, &outputs));
    }
  }
  return Status();
}

}  // namespace savedmodel
