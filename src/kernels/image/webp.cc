// WebP by libwebp.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "src/base/status_macros.h"
#include "src/kernels/image/codec.h"

namespace savedmodel {
namespace {

const uint8_t* Bytes(std::string_view data) {
  return reinterpret_cast<const uint8_t*>(data.data());
}

template <class T, void (*destroy)(T*)>
struct Destroy {
  void operator()(T* t) const { destroy(t); }
};
using Demuxer = std::unique_ptr<WebPDemuxer, Destroy<WebPDemuxer, WebPDemuxDelete>>;
using Animation = std::unique_ptr<WebPAnimDecoder, Destroy<WebPAnimDecoder, WebPAnimDecoderDelete>>;

// Frames as they are shown, always of 4 channels.
Status DecodeFrames(std::string_view data, bool all_frames, ImageAllocator allocate) {
  const WebPData bytes = {Bytes(data), data.size()};
  const Demuxer demuxer(WebPDemux(&bytes));
  SM_CHECK_ARG(demuxer != nullptr, "the WebP animation is broken");
  const auto number = [&](WebPFormatFeature feature) {
    return static_cast<int64_t>(WebPDemuxGetI(demuxer.get(), feature));
  };
  const ImageSize size = {.frames = all_frames ? number(WEBP_FF_FRAME_COUNT) : 1,
                          .height = number(WEBP_FF_CANVAS_HEIGHT),
                          .width = number(WEBP_FF_CANVAS_WIDTH),
                          .channels = 4};
  auto* out = static_cast<uint8_t*>(allocate(size));  // before the library takes as much
  if (out == nullptr) return ResourceExhausted("no memory for the WebP animation");
  const Animation animation(WebPAnimDecoderNew(&bytes, nullptr));
  SM_CHECK_ARG(animation != nullptr, "the WebP animation cannot be decoded");
  const int64_t bytes_per_frame = size.height * size.width * size.channels;
  for (int64_t i = 0; i < size.frames; ++i, out += bytes_per_frame) {
    uint8_t* frame = nullptr;
    int end = 0;  // in milliseconds
    SM_CHECK_ARG(WebPAnimDecoderGetNext(animation.get(), &frame, &end) != 0, "frame ", i, " of ",
                 size.frames, " of the WebP animation cannot be decoded");
    std::memcpy(out, frame, bytes_per_frame);
  }
  return Status();
}

}  // namespace

Status DecodeWebp(std::string_view data, int channels, bool all_frames, ImageAllocator allocate) {
  WebPBitstreamFeatures features;
  SM_CHECK_ARG(WebPGetFeatures(Bytes(data), data.size(), &features) == VP8_STATUS_OK,
               "the WebP data has no valid header");
  const int in_file = features.has_animation || features.has_alpha ? 4 : 3;
  SM_CHECK_ARG(channels == 0 || channels == in_file, "asked for ", channels,
               " channels of a WebP image, expected 0 or ", in_file);
  if (features.has_animation) return DecodeFrames(data, all_frames, allocate);
  const ImageSize size = {.height = features.height, .width = features.width, .channels = in_file};
  auto* out = static_cast<uint8_t*>(allocate(size));
  if (out == nullptr) return ResourceExhausted("no memory for the WebP image");
  const size_t row = static_cast<size_t>(size.width * size.channels);
  const auto decode = in_file == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  SM_CHECK_ARG(decode(Bytes(data), data.size(), out, row * static_cast<size_t>(size.height),
                      static_cast<int>(row)) != nullptr,
               "the WebP image cannot be decoded");
  return Status();
}

}  // namespace savedmodel
