// Hash buckets and fingerprints.
#include <cstring>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/string/each_string.h"
#include "src/kernels/string/hash.h"
#include "src/kernels/string/string_ops.h"

namespace savedmodel {
namespace {

template <class Hash>
StatusOr<KernelPtr> MakeBuckets(BuildContext& build, Hash hash) {
  const uint64_t buckets = static_cast<uint64_t>(build.attrs().Int("num_buckets"));
  return MakeKernel([buckets, hash](OpContext& ctx) -> Status {
    EachString<int64_t>(
        ctx, 30, [&](const std::string& s) { return static_cast<int64_t>(hash(s) % buckets); });
    return Status();
  });
}

StatusOr<KernelPtr> BuildLegacyBucket(BuildContext& build) {
  return MakeBuckets(build, [](const std::string& s) { return LegacyHash64(s); });
}

StatusOr<KernelPtr> BuildFastBucket(BuildContext& build) {
  return MakeBuckets(build, [](const std::string& s) { return FarmFingerprint64(s); });
}

StatusOr<KernelPtr> BuildStrongBucket(BuildContext& build) {
  const std::vector<int64_t>& key = build.attrs().Ints("key");
  SM_CHECK_ARG(key.size() == 2, "key: found ", key.size(), " elements, expected 2");
  return MakeBuckets(build, [a = key[0], b = key[1]](const std::string& s) {
    const uint64_t words[2] = {static_cast<uint64_t>(a), static_cast<uint64_t>(b)};
    return SipHash(words, s);
  });
}

uint64_t RowFingerprint(const std::string* row, int64_t n) {
  if (n == 1) return FarmFingerprint64(*row);
  // Several strings: the fingerprint of their fingerprints.
  std::string bytes;
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t h = FarmFingerprint64(row[i]);
    bytes.append(reinterpret_cast<const char*>(&h), sizeof(h));
  }
  return FarmFingerprint64(bytes);
}

Status Fingerprint(OpContext& ctx) {
  const std::string& method = *ctx.in<std::string>(1);
  SM_CHECK_ARG(method == "farmhash64", "method: found '", method, "', expected 'farmhash64'");
  const Tensor& data = ctx.input(0);
  SM_CHECK_ARG(data.dtype() == DType::kString || IsPlainData(data.dtype()), "data: found dtype ",
               data.dtype(), ", expected strings or plain elements");
  const int64_t rows = data.shape().dim(0);
  uint8_t* out = ctx.out<uint8_t>(0);
  if (data.num_elements() == 0 && data.dtype() == DType::kString) {
    std::memset(out, 0, ctx.output(0).num_bytes());
    return Status();
  }
  const int64_t row_elements = data.shape().Product(1, data.shape().rank());
  const size_t row_bytes = static_cast<size_t>(row_elements) * DTypeSize(data.dtype());
  const std::string* strings = data.data<std::string>();
  ctx.ParallelFor(rows, 20 + 0.3 * static_cast<double>(row_bytes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* bytes = static_cast<const char*>(data.raw_data());
      const uint64_t h =
          strings != nullptr
              ? RowFingerprint(strings + i * row_elements, row_elements)
              : FarmFingerprint64({bytes + static_cast<size_t>(i) * row_bytes, row_bytes});
      std::memcpy(out + i * 8, &h, 8);
    }
  });
  return Status();
}

Status FingerprintShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  if (ctx.input(0).known_rank()) ctx.set_output(0, Shape({ctx.input(0).dim(0), 8}));
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "Fingerprint(data: T, method: string) -> (fingerprint: uint8); T: type",
     .shape = FingerprintShape,
     .build = BuildPlain<Fingerprint>},
    {.signature = "StringToHashBucket(string_tensor: string) -> (output: int64); "
                  "num_buckets: int >= 1",
     .shape = shape::SameAsInput0,
     .build = BuildLegacyBucket},
    {.signature = "StringToHashBucketFast(input: string) -> (output: int64); num_buckets: int >= 1",
     .shape = shape::SameAsInput0,
     .build = BuildFastBucket},
    {.signature = "StringToHashBucketStrong(input: string) -> (output: int64); "
                  "num_buckets: int >= 1; key: list(int)",
     .shape = shape::SameAsInput0,
     .build = BuildStrongBucket},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> StringHashOps() { return kOps; }

}  // namespace savedmodel
