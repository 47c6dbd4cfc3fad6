// Prints docs/ops.md: the table of built-in ops, from their rows.
//
// usage: savedmodel_ops_doc > docs/ops.md
#include <cstdio>
#include <string>

#include "src/graph/op_signature.h"
#include "src/kernels/all_ops.h"

namespace savedmodel {
namespace {

const char* EffectsName(Effects effects) {
  static constexpr const char* kNames[] = {"", "reads state", "writes state", "random"};
  return kNames[static_cast<size_t>(effects)];
}

std::string TypesText(const std::vector<DType>& types) {
  std::string out;
  for (const DType d : types) out += (out.empty() ? "" : ", ") + std::string(DTypeName(d));
  return out;
}

std::string ArgsText(const std::vector<ArgSpec>& args) {
  std::string out;
  for (const ArgSpec& a : args) {
    std::string type = !a.type_attr.empty()        ? a.type_attr
                       : !a.type_list_attr.empty() ? a.type_list_attr
                                                   : DTypeName(a.type);
    if (!a.number_attr.empty()) type = a.number_attr + "·" + type;
    out += (out.empty() ? "" : ", ") + a.name + ": " + type;
  }
  return out;
}

// "T: float, double; Tidx: int32, int64"
std::string DTypesText(const OpSignature& op) {
  std::string out;
  for (const AttrSpec& a : op.attrs) {
    if (a.kind != AttrKind::kType || a.allowed_types.empty()) continue;
    out += (out.empty() ? "" : "; ") + a.name + ": " + TypesText(a.allowed_types);
  }
  return out;
}

void Print() {
  const OpRegistry& registry = BuiltInOps();
  const std::vector<std::string_view> names = registry.Names();
  std::printf("# Ops\n\nGenerated from the op rows by `tools/ops_doc.cc`; do not edit. %zu ops.\n",
              names.size());
  std::printf("\n| op | inputs → outputs | dtypes | effects |\n|---|---|---|---|\n");
  for (const std::string_view name : names) {
    const RegisteredOp* op = registry.Find(name);
    if (op == nullptr) continue;
    std::printf("| %.*s | %s → %s | %s | %s |\n", static_cast<int>(name.size()), name.data(),
                ArgsText(op->signature.inputs).c_str(), ArgsText(op->signature.outputs).c_str(),
                DTypesText(op->signature).c_str(), EffectsName(op->def->effects));
  }
}

}  // namespace
}  // namespace savedmodel

int main() { savedmodel::Print(); }
