// Named resources of one Model.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "savedmodel/resource.h"

namespace savedmodel {

// Variables, tables and the like by (kind of resource, container, shared name). Thread-safe.
class ResourceTable {
 public:
  // The resource under `key`, made by `make` when there is none.
  ResourceRef GetOrCreate(const std::string& key, FunctionRef<ResourceRef()> make) {
    std::lock_guard<std::mutex> lock(mutex_);
    ResourceRef& slot = resources_[key];
    if (slot == nullptr) slot = make();
    return slot;
  }
  ResourceRef Find(const std::string& key) const {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = resources_.find(key);
    return it == resources_.end() ? nullptr : it->second;
  }
  void Put(const std::string& key, ResourceRef resource) {
    std::lock_guard<std::mutex> lock(mutex_);
    resources_[key] = std::move(resource);
  }
  bool Erase(const std::string& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    return resources_.erase(key) > 0;
  }
  std::vector<std::pair<std::string, ResourceRef>> All() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return {resources_.begin(), resources_.end()};
  }
  // The key of a resource of `kind` ("variable", "table", …) named `name` in `container`.
  static std::string Key(const std::string& kind, const std::string& container,
                         const std::string& name) {
    return kind + "|" + container + "|" + name;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, ResourceRef> resources_;
};

}  // namespace savedmodel
