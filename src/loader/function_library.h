// The functions of a GraphDef, converted when first asked for.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/graph/graph.h"
#include "src/loader/graph_importer.h"

namespace savedmodel {

namespace proto {
class FunctionDefLibrary;
}  // namespace proto

class ProtoFunctionLibrary final : public FunctionLibrary {
 public:
  // The functions of `library`, which lives as long as `owner`. INVALID_ARGUMENT for two
  // functions of one name.
  static StatusOr<std::shared_ptr<ProtoFunctionLibrary>> Make(
      std::shared_ptr<const void> owner, const proto::FunctionDefLibrary& library,
      const OpRegistry& registry, const ImportOptions& options);

  bool Has(const std::string& name) const override { return index_.count(name) > 0; }
  StatusOr<std::shared_ptr<const GraphFunction>> Get(const FuncAttr& f) const override;
  std::vector<std::string> Names() const override;

  const FunctionIndex& index() const { return index_; }

 private:
  ProtoFunctionLibrary(std::shared_ptr<const void> owner, const OpRegistry& registry,
                       const ImportOptions& options)
      : owner_(std::move(owner)), registry_(registry), options_(options) {}

  StatusOr<std::shared_ptr<const GraphFunction>> Import(const proto::FunctionDef& function,
                                                        const Attrs* attrs) const;

  const std::shared_ptr<const void> owner_;
  const OpRegistry& registry_;
  const ImportOptions options_;
  FunctionIndex index_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::shared_ptr<const GraphFunction>> converted_;
};

}  // namespace savedmodel
