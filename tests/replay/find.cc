// Which cases a path names.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/replay/case.h"

namespace savedmodel::replay {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> Sorted(const fs::path& directory) {
  std::error_code error;
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(directory, error)) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

// A case folder: each kind's case.json has a key of its own.
Status AddCaseFolder(const fs::path& directory, std::vector<Case>* cases) {
  auto text = ReadFile(directory / "case.json");
  if (!text.ok()) return text.status();
  if (text->find("\"accept\"") != std::string::npos ||
      text->find("\"accept_status\"") != std::string::npos) {
    return AddHostile(directory.parent_path().parent_path(), directory, cases);
  }
  if (text->find("\"synthetic_variables\"") != std::string::npos) return AddWild(directory, cases);
  return AddFixture(directory, cases);
}

Status AddFolder(const fs::path& path, std::vector<Case>* cases) {
  if (fs::exists(path / "case.json")) return AddCaseFolder(path, cases);
  if (fs::is_directory(path / "cases")) return AddFolder(path / "cases", cases);
  for (const fs::path& entry : Sorted(path)) {
    Status status;
    if (entry.extension() == ".pb") {
      status = AddConformanceFile(entry, cases);
    } else if (fs::exists(entry / "case.json")) {
      status = AddCaseFolder(entry, cases);
    }
    if (!status.ok()) return status;
  }
  return Status();
}

}  // namespace

StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Status(StatusCode::kNotFound, path + ": cannot be read");
  std::ostringstream out;
  out << in.rdbuf();
  return std::move(out).str();
}

StatusOr<Tensor> ReadTensor(const std::string& path) {
  auto bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  auto tensor = ParseTensorProto(*bytes);
  return tensor.ok() ? std::move(tensor) : StatusOr<Tensor>(tensor.status().At(path));
}

StatusOr<std::vector<Case>> FindCases(const std::string& path) {
  std::error_code error;
  const fs::path full = fs::canonical(path, error);
  if (error) return Status(StatusCode::kNotFound, path + ": " + error.message());
  std::vector<Case> cases;
  const Status status =
      fs::is_directory(full) ? AddFolder(full, &cases) : AddConformanceFile(full, &cases);
  if (!status.ok()) return status;
  if (cases.empty()) return Status(StatusCode::kNotFound, path + ": no cases there");
  return cases;
}

}  // namespace savedmodel::replay
