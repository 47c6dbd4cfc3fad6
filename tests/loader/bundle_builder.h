// Makes V2 checkpoints for tests.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "proto/savedmodel_checkpoint.pb.h"
#include "src/loader/ordered_code.h"
#include "tests/loader/table_builder.h"

namespace savedmodel {

// A bundle of one shard, written the way TensorFlow does.
struct Bundle {
  std::map<std::string, std::string> entries;
  std::string data;

  Bundle() {
    proto::BundleHeaderProto header;
    header.set_num_shards(1);
    header.mutable_version()->set_producer(1);
    entries[""] = header.SerializeAsString();
  }

  proto::BundleEntryProto Place(proto::DataType dtype, const std::vector<int64_t>& shape,
                                const std::string& bytes, uint32_t crc) {
    proto::BundleEntryProto entry;
    entry.set_dtype(dtype);
    for (int64_t d : shape) entry.mutable_shape()->add_dim()->set_size(d);
    entry.set_offset(static_cast<int64_t>(data.size()));
    entry.set_size(static_cast<int64_t>(bytes.size()));
    entry.set_crc32c(MaskCrc32c(crc));
    data += bytes;
    return entry;
  }

  void Add(const std::string& key, proto::DataType dtype, const std::vector<int64_t>& shape,
           const std::string& bytes) {
    entries[key] = Place(dtype, shape, bytes, Crc32c(bytes)).SerializeAsString();
  }

  void AddFloats(const std::string& key, const std::vector<int64_t>& shape,
                 const std::vector<float>& values) {
    Add(key, proto::DT_FLOAT, shape, Bytes(values));
  }

  static std::string Bytes(const std::vector<float>& values) {
    return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }

  void AddStrings(const std::string& key, const std::vector<std::string>& strings) {
    std::string lengths, fixed, text;
    for (const std::string& s : strings) {
      AppendVarint(s.size(), &lengths);
      AppendFixed32(static_cast<uint32_t>(s.size()), &fixed);
      text += s;
    }
    std::string checksum;
    AppendFixed32(MaskCrc32c(Crc32c(fixed)), &checksum);
    const uint32_t crc = Crc32c(fixed + checksum + text);
    entries[key] = Place(proto::DT_STRING, {static_cast<int64_t>(strings.size())},
                         lengths + checksum + text, crc)
                       .SerializeAsString();
  }

  // A [4] float variable in two halves.
  void AddPartitioned(const std::string& key, bool second_half = true, int64_t second_start = 2) {
    proto::BundleEntryProto whole;
    whole.set_dtype(proto::DT_FLOAT);
    whole.mutable_shape()->add_dim()->set_size(4);
    for (int64_t start : {int64_t{0}, second_start}) {
      if (start > 0 && !second_half) continue;
      auto* extent = whole.add_slices()->add_extent();
      extent->set_start(start);
      extent->set_length(2);
      const float base = static_cast<float>(start);
      const std::string bytes = Bytes({base, base + 1});
      entries[SliceKey(key, {{start}, {2}})] =
          Place(proto::DT_FLOAT, {2}, bytes, Crc32c(bytes)).SerializeAsString();
    }
    entries[key] = whole.SerializeAsString();
  }

  // The two files under `prefix`.
  std::map<std::string, std::string> Files(const std::string& prefix) const {
    return {{prefix + ".index", TableBuilder().Build(entries)},
            {prefix + ".data-00000-of-00001", data}};
  }
};

}  // namespace savedmodel
