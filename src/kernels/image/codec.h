// Image codecs over bytes in memory. None of them throws, leaks on broken data, or asks for more
// memory than a sane image of as many bytes takes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "savedmodel/dtype.h"
#include "savedmodel/span.h"
#include "savedmodel/status.h"

namespace savedmodel {

struct ImageSize {
  int64_t frames = 1;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
};
// Provides memory for an image once its size is known; null when there is none.
using ImageAllocator = FunctionRef<void*(const ImageSize&)>;

enum class ImageFormat { kUnknown, kJpeg, kPng, kGif, kBmp, kWebp };
ImageFormat DetectImageFormat(std::string_view data);

struct JpegOptions {
  int channels = 0;  // 0: as the file says
  int ratio = 1;     // shrinks by 1, 2, 4 or 8
  bool fancy_upscaling = true;
  bool recover_truncated = false;
  bool accurate = false;  // the slower, more exact transform
};
// 8-bit rows of `channels` (1 or 3).
Status DecodeJpeg(std::string_view data, const JpegOptions& options, ImageAllocator allocate);
Status ReadJpegSize(std::string_view data, ImageSize* size);

struct JpegEncoding {
  int quality = 95;
  bool progressive = false;
  bool optimize_size = false;
  bool chroma_downsampling = true;
  int density_unit = 1;  // 1: per inch, 2: per centimetre
  int x_density = 300;
  int y_density = 300;
  std::string xmp_metadata;
};
Status EncodeJpeg(const uint8_t* pixels, const ImageSize& size, const JpegEncoding& encoding,
                  std::string* out);

// Rows of `channels` (0: as the file says, or 1 to 4) of 8 or 16 bits.
Status DecodePng(std::string_view data, int channels, int bits, ImageAllocator allocate);
Status EncodePng(const void* pixels, const ImageSize& size, int bits, int compression,
                 std::string* out);

// Frames of 3 channels, each drawn over the one before; the first frame alone unless `all_frames`.
Status DecodeGif(std::string_view data, bool all_frames, ImageAllocator allocate);
// Rows of 3 or 4 channels, or frames of 4; `channels` 0 or as many as the file has. The first frame
// alone unless `all_frames`.
Status DecodeWebp(std::string_view data, int channels, bool all_frames, ImageAllocator allocate);
// Rows of 1, 3 or 4 channels; `channels` 0 or as many as the file has.
Status DecodeBmp(std::string_view data, int channels, ImageAllocator allocate);

}  // namespace savedmodel
