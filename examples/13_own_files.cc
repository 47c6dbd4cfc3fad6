// Loads a model from memory, and through a file reader of the host's own: here one that decrypts.
//
//   13_own_files tests/data/checkpoints/model
#include <fstream>
#include <iostream>

#include "savedmodel/model.h"

using savedmodel::FileContent, savedmodel::FileSystem, savedmodel::StatusOr;

static std::string Xor(std::string_view bytes) {
  std::string out(bytes);
  for (char& c : out) c = static_cast<char>(c ^ 0x5a);
  return out;
}

struct Decrypted final : FileContent {
  explicit Decrypted(std::string_view encrypted) : plain(Xor(encrypted)) {}
  std::string_view bytes() const override { return plain; }
  const std::string plain;
};

struct DecryptingFileSystem final : FileSystem {
  StatusOr<std::shared_ptr<const FileContent>> Read(const std::string& path) const override {
    auto file = encrypted->Read(path);
    if (!file.ok()) return file.status();
    return std::make_shared<Decrypted>((*file)->bytes());
  }
  StatusOr<std::vector<std::string>> List(const std::string& directory) const override {
    return encrypted->List(directory);
  }
  bool Exists(const std::string& path) const override { return encrypted->Exists(path); }
  std::shared_ptr<const FileSystem> encrypted;
};

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : "model";
  std::map<std::string, std::string> plain, encrypted;
  for (const std::string name :
       {"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"}) {
    std::ifstream file(folder + "/" + name, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    plain["model/" + name] = bytes;
    encrypted["model/" + name] = Xor(bytes);
  }
  savedmodel::LoadOptions from_memory, decrypting;
  from_memory.file_system = savedmodel::MemoryFileSystem(plain);
  auto reader = std::make_shared<DecryptingFileSystem>();
  reader->encrypted = savedmodel::MemoryFileSystem(encrypted);
  decrypting.file_system = reader;
  auto a = savedmodel::Load("model", from_memory), b = savedmodel::Load("model", decrypting);
  if (!a.ok() || !b.ok()) {
    std::cerr << a.status() << "\n" << b.status() << "\n";
    return 1;
  }
  const std::string w = a->variable("w").value().ToString();
  std::cout << "w = " << w << "\n";
  return b->variable("w").value().ToString() == w ? 0 : 1;
}
