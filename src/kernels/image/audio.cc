// WAV files: 16-bit PCM to floats and back.
#include <algorithm>
#include <cmath>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/image_ops.h"

namespace savedmodel {
namespace {

// Reads a file front to back.
class WavReader {
 public:
  explicit WavReader(std::string_view data) : rest_(data) {}

  Status Expect(std::string_view text) {
    SM_CHECK_ARG(rest_.substr(0, text.size()) == text, "the WAV data have no '", text,
                 "' where it was expected");
    rest_.remove_prefix(text.size());
    return Status();
  }
  StatusOr<uint32_t> Number(size_t bytes) {
    SM_ASSIGN_OR_RETURN(const std::string_view text, Take(bytes));
    uint32_t v = 0;
    for (size_t i = 0; i < bytes; ++i) {
      v |= static_cast<uint32_t>(static_cast<unsigned char>(text[i])) << (8 * i);
    }
    return v;
  }
  StatusOr<std::string_view> Take(size_t bytes) {
    SM_CHECK_ARG(bytes <= rest_.size(), "the WAV data end too early: ", rest_.size(),
                 " bytes are left, expected ", bytes);
    const std::string_view out = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return out;
  }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

struct Wav {
  int64_t channels = 0;
  uint32_t sample_rate = 0;
  std::string_view samples;  // 16 bits each, channels interleaved

  int64_t frames() const { return static_cast<int64_t>(samples.size()) / (2 * channels); }
};

StatusOr<Wav> ParseWav(std::string_view data) {
  WavReader reader(data);
  Wav wav;
  SM_RETURN_IF_ERROR(reader.Expect("RIFF"));
  SM_RETURN_IF_ERROR(reader.Number(4).status());  // size of the file
  SM_RETURN_IF_ERROR(reader.Expect("WAVE"));
  SM_RETURN_IF_ERROR(reader.Expect("fmt "));
  SM_ASSIGN_OR_RETURN(const uint32_t format_size, reader.Number(4));
  SM_CHECK_ARG(format_size == 16 || format_size == 18, "the WAV format chunk has ", format_size,
               " bytes, expected 16 or 18");
  SM_ASSIGN_OR_RETURN(const uint32_t format, reader.Number(2));
  SM_ASSIGN_OR_RETURN(const uint32_t channels, reader.Number(2));
  SM_ASSIGN_OR_RETURN(wav.sample_rate, reader.Number(4));
  SM_ASSIGN_OR_RETURN(const uint32_t bytes_per_second, reader.Number(4));
  SM_ASSIGN_OR_RETURN(const uint32_t bytes_per_frame, reader.Number(2));
  SM_ASSIGN_OR_RETURN(const uint32_t bits, reader.Number(2));
  if (format_size == 18) SM_RETURN_IF_ERROR(reader.Take(2).status());
  SM_CHECK_ARG(format == 1 && bits == 16 && channels > 0, "the WAV data have format ", format, ", ",
               bits, " bits and ", channels, " channels, expected 16-bit PCM (format 1)");
  SM_CHECK_ARG(bytes_per_frame == 2 * channels &&
                   bytes_per_second == static_cast<uint64_t>(bytes_per_frame) * wav.sample_rate,
               "the WAV header contradicts itself about bytes for each frame and second");
  wav.channels = channels;
  while (!reader.done()) {
    SM_ASSIGN_OR_RETURN(const std::string_view name, reader.Take(4));
    SM_ASSIGN_OR_RETURN(const uint32_t size, reader.Number(4));
    SM_ASSIGN_OR_RETURN(const std::string_view chunk, reader.Take(size));
    if (name != "data") continue;
    wav.samples = chunk;
    return wav;
  }
  return InvalidArgument("the WAV data have no data chunk");
}

Status DecodeWavShape(ShapeContext& ctx) {
  const int64_t channels = ctx.attrs().Int("desired_channels");
  const int64_t samples = ctx.attrs().Int("desired_samples");
  SM_CHECK_ARG(channels >= -1 && samples >= -1, "found desired_channels ", channels,
               " and desired_samples ", samples, ", expected -1 or more");
  ctx.set_output(0, Shape({samples >= 0 ? samples : -1, channels > 0 ? channels : -1}));
  ctx.set_output(1, Shape());
  return ctx.ExpectRank(0, 0);
}

StatusOr<KernelPtr> BuildDecodeWav(BuildContext& build) {
  const int64_t want_channels = build.attrs().Int("desired_channels");
  const int64_t want_samples = build.attrs().Int("desired_samples");
  return MakeKernel([want_channels, want_samples](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Wav wav, ParseWav(*ctx.in<std::string>(0)));
    const int64_t frames = wav.frames();
    const int64_t channels = want_channels > 0 ? want_channels : wav.channels;
    const int64_t samples = want_samples >= 0 ? want_samples : frames;
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, Shape({samples, channels})));
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, Shape()));
    float* out = ctx.out<float>(0);
    std::fill_n(out, samples * channels, 0.0f);
    const auto* bytes = reinterpret_cast<const uint8_t*>(wav.samples.data());
    for (int64_t i = 0; i < std::min(samples, frames); ++i) {
      for (int64_t c = 0; c < channels; ++c) {
        // Channels that the file lacks repeat its last one.
        const uint8_t* s = bytes + 2 * (i * wav.channels + std::min(c, wav.channels - 1));
        const auto value = static_cast<int16_t>(static_cast<uint16_t>(s[0] | s[1] << 8));
        out[i * channels + c] = static_cast<float>(value) / 32768.0f;
      }
    }
    *ctx.out<int32_t>(1) = static_cast<int32_t>(wav.sample_rate);
    return Status();
  });
}

Status EncodeWavShape(ShapeContext& ctx) {
  ctx.set_output(0, Shape());
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  return ctx.ExpectRank(1, 0);
}

void AppendLittle(std::string* out, int64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

Status EncodeWav(OpContext& ctx) {
  const Shape& shape = ctx.input(0).shape();
  const int64_t channels = shape[1], rate = ctx.IntInput(1), n = shape.num_elements();
  SM_CHECK_ARG(channels > 0 && channels <= UINT16_MAX / 2 && rate > 0 && shape[0] > 0,
               "audio has shape ", shape, " and sample_rate is ", rate,
               ", expected some samples, channels and a rate above 0");
  SM_CHECK_ARG(n < (INT32_MAX - 36) / 2, "audio of shape ", shape, " is too long for a WAV file");
  std::string wav = "RIFF";
  AppendLittle(&wav, 36 + 2 * n, 4);
  wav += "WAVEfmt ";
  AppendLittle(&wav, 16, 4);
  AppendLittle(&wav, 1, 2);  // PCM
  AppendLittle(&wav, channels, 2);
  AppendLittle(&wav, rate, 4);
  AppendLittle(&wav, rate * channels * 2, 4);
  AppendLittle(&wav, channels * 2, 2);
  AppendLittle(&wav, 16, 2);
  wav += "data";
  AppendLittle(&wav, 2 * n, 4);
  const float* in = ctx.in<float>(0);
  for (int64_t i = 0; i < n; ++i) {
    const float v = std::min(std::max(-32768.0f, std::round(in[i] * 32768.0f)), 32767.0f);
    AppendLittle(&wav, static_cast<int64_t>(v), 2);
  }
  *ctx.out<std::string>(0) = std::move(wav);
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "DecodeWav(contents: string) -> (audio: float, sample_rate: int32); "
                  "desired_channels: int = -1; desired_samples: int = -1",
     .shape = DecodeWavShape,
     .build = BuildDecodeWav},
    {.signature = "EncodeWav(audio: float, sample_rate: int32) -> (contents: string)",
     .shape = EncodeWavShape,
     .build = BuildPlain<EncodeWav>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> AudioOps() { return kOps; }

}  // namespace savedmodel
