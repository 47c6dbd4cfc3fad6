// GIF by giflib, and BMP.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "src/base/status_macros.h"
#include "src/kernels/image/codec.h"

namespace savedmodel {
namespace {

int ReadBytes(GifFileType* file, GifByteType* to, int count) {
  auto* rest = static_cast<std::string_view*>(file->UserData);
  const size_t n = std::min(rest->size(), static_cast<size_t>(std::max(count, 0)));
  std::memcpy(to, rest->data(), n);
  rest->remove_prefix(n);
  return static_cast<int>(n);
}

struct Frame {
  int64_t left, top, width, height;
  int transparent = NO_TRANSPARENT_COLOR;
  std::vector<uint8_t> colours;  // RGB triples
  std::vector<uint8_t> pixels;   // indices into `colours`
};

struct GifFile {
  std::string_view rest;
  GifFileType* file = nullptr;
  ~GifFile() {
    if (file != nullptr) DGifCloseFile(file, nullptr);
  }
};

bool ReadRaster(GifFileType* file, Frame* frame) {
  const int width = static_cast<int>(frame->width);
  const auto read_row = [&](int64_t y) {
    return DGifGetLine(file, frame->pixels.data() + y * width, width) == GIF_OK;
  };
  if (!file->Image.Interlace) {
    for (int64_t y = 0; y < frame->height; ++y) {
      if (!read_row(y)) return false;
    }
    return true;
  }
  static constexpr int kStart[] = {0, 4, 2, 1}, kStep[] = {8, 8, 4, 2};
  for (int pass = 0; pass < 4; ++pass) {
    for (int64_t y = kStart[pass]; y < frame->height; y += kStep[pass]) {
      if (!read_row(y)) return false;
    }
  }
  return true;
}

Status ReadFrame(GifFileType* file, size_t data_size, int transparent, Frame* frame) {
  if (DGifGetImageDesc(file) != GIF_OK) return InvalidArgument("a frame has no description");
  const GifImageDesc& d = file->Image;
  const ColorMapObject* map = d.ColorMap != nullptr ? d.ColorMap : file->SColorMap;
  SM_CHECK_ARG(map != nullptr, "a frame has no colours");
  *frame = {d.Left, d.Top, d.Width, d.Height, transparent, {}, {}};
  // No code of the compression stands for more than 4096 pixels.
  SM_CHECK_ARG(frame->width > 0 && frame->height > 0 &&
                   frame->width * frame->height / 4096 <= static_cast<int64_t>(data_size),
               "a frame has ", frame->height, " by ", frame->width, " pixels in ", data_size,
               " bytes");
  for (int i = 0; i < map->ColorCount; ++i) {
    const GifColorType& c = map->Colors[i];
    frame->colours.insert(frame->colours.end(), {c.Red, c.Green, c.Blue});
  }
  frame->pixels.resize(frame->width * frame->height);
  SM_CHECK_ARG(ReadRaster(file, frame), "a frame ends too early");
  return Status();
}

// Reads the frames up to the end, or up to what is broken.
Status ReadFrames(GifFileType* file, size_t data_size, bool all_frames,
                  std::vector<Frame>* frames) {
  int transparent = NO_TRANSPARENT_COLOR;
  while (all_frames || frames->empty()) {
    GifRecordType type;
    if (DGifGetRecordType(file, &type) != GIF_OK) return InvalidArgument("a record is broken");
    if (type == TERMINATE_RECORD_TYPE) break;
    if (type == IMAGE_DESC_RECORD_TYPE) {
      Frame frame;
      SM_RETURN_IF_ERROR(ReadFrame(file, data_size, transparent, &frame));
      frames->push_back(std::move(frame));
      transparent = NO_TRANSPARENT_COLOR;
    } else if (type == EXTENSION_RECORD_TYPE) {
      int code = 0;
      GifByteType* block = nullptr;
      if (DGifGetExtension(file, &code, &block) != GIF_OK)
        return InvalidArgument("broken extension");
      while (block != nullptr) {
        GraphicsControlBlock control;
        if (code == GRAPHICS_EXT_FUNC_CODE &&
            DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
          transparent = control.TransparentColor;
        }
        if (DGifGetExtensionNext(file, &block) != GIF_OK)
          return InvalidArgument("broken extension");
      }
    }
  }
  return Status();
}

// Draws `frame` over what `out` holds, within `size`.
Status DrawFrame(const Frame& frame, const ImageSize& size, uint8_t* out) {
  const int64_t right = std::min(frame.left + frame.width, size.width);
  const int64_t bottom = std::min(frame.top + frame.height, size.height);
  const int colours = static_cast<int>(frame.colours.size() / 3);
  for (int64_t y = std::max<int64_t>(frame.top, 0); y < bottom; ++y) {
    for (int64_t x = std::max<int64_t>(frame.left, 0); x < right; ++x) {
      const int colour = frame.pixels[(y - frame.top) * frame.width + x - frame.left];
      if (colour == frame.transparent) continue;
      SM_CHECK_ARG(colour < colours, "the GIF image has colour ", colour, ", expected less than ",
                   colours);
      std::copy_n(frame.colours.data() + 3 * colour, 3, out + (y * size.width + x) * 3);
    }
  }
  return Status();
}

// Little-endian bytes of a BMP header.
int64_t ReadLittle(std::string_view data, size_t at, int bytes) {
  uint32_t v = 0;
  for (int i = 0; i < bytes; ++i) {
    v |= static_cast<uint32_t>(static_cast<unsigned char>(data[at + i])) << (8 * i);
  }
  return bytes == 4 ? static_cast<int32_t>(v) : static_cast<int64_t>(v);
}

}  // namespace

ImageFormat DetectImageFormat(std::string_view data) {
  const auto starts = [&](std::string_view magic) { return data.substr(0, magic.size()) == magic; };
  if (starts("\xff\xd8\xff")) return ImageFormat::kJpeg;
  if (starts("\x89PNG\r\n\x1a\n")) return ImageFormat::kPng;
  if (starts("GIF87a") || starts("GIF89a") || starts("GIF8")) return ImageFormat::kGif;
  if (starts("BM")) return ImageFormat::kBmp;
  if (starts("RIFF") && data.size() > 12 && data.substr(8, 4) == "WEBP") return ImageFormat::kWebp;
  return ImageFormat::kUnknown;
}

Status DecodeGif(std::string_view data, bool all_frames, ImageAllocator allocate) {
  GifFile gif{.rest = data};
  int error = 0;
  gif.file = DGifOpen(&gif.rest, ReadBytes, &error);
  SM_CHECK_ARG(gif.file != nullptr, "the GIF data cannot be decoded: no header");
  std::vector<Frame> frames;
  const Status read = ReadFrames(gif.file, data.size(), all_frames, &frames);
  // Whole frames before the broken place are kept.
  if (frames.empty()) {
    SM_CHECK_ARG(read.ok(), "the GIF data cannot be decoded: ", read.message());
    return InvalidArgument("the GIF data hold no frame");
  }
  ImageSize size = {static_cast<int64_t>(frames.size()), 0, 0, 3};
  for (const Frame& f : frames) {
    size.height = std::max(size.height, f.height);
    size.width = std::max(size.width, f.width);
  }
  auto* out = static_cast<uint8_t*>(allocate(size));
  if (out == nullptr) return ResourceExhausted("no memory for the GIF image");
  const int64_t bytes = size.height * size.width * 3;
  for (size_t i = 0; i < frames.size(); ++i, out += bytes) {
    if (i == 0) {
      std::memset(out, 0, bytes);
    } else {
      std::memcpy(out, out - bytes, bytes);
    }
    SM_RETURN_IF_ERROR(DrawFrame(frames[i], size, out));
  }
  return Status();
}

Status DecodeBmp(std::string_view data, int channels, ImageAllocator allocate) {
  SM_CHECK_ARG(data.size() >= 32 && DetectImageFormat(data) == ImageFormat::kBmp,
               "the BMP data cannot be decoded: no header");
  const int64_t start = ReadLittle(data, 10, 4), width = ReadLittle(data, 18, 4);
  const int64_t signed_height = ReadLittle(data, 22, 4), bits = ReadLittle(data, 28, 2);
  const int64_t depth = bits / 8, height = std::abs(signed_height);
  SM_CHECK_ARG(bits == 8 || bits == 24 || bits == 32, "the BMP image has ", bits,
               " bits for each pixel, expected 8, 24 or 32");
  SM_CHECK_ARG(channels == 0 || channels == depth, "asked for ", channels,
               " channels of a BMP image, expected 0 or ", depth, " as the data have");
  const int64_t row = (depth * width + 3) / 4 * 4;
  SM_CHECK_ARG(width > 0 && height > 0 && start >= 0 && width < (int64_t{1} << 30) &&
                   row <= static_cast<int64_t>(data.size()) / height + depth * 4 &&
                   start + row * (height - 1) + depth * width <= static_cast<int64_t>(data.size()),
               "the BMP data are too short for ", height, " by ", width, " pixels of ", bits,
               " bits");
  auto* out = static_cast<uint8_t*>(allocate({1, height, width, depth}));
  if (out == nullptr) return ResourceExhausted("no memory for the BMP image");
  for (int64_t y = 0; y < height; ++y) {
    const int64_t from_row = signed_height < 0 ? y : height - 1 - y;
    const auto* from = reinterpret_cast<const uint8_t*>(data.data()) + start + from_row * row;
    for (int64_t x = 0; x < width; ++x, from += depth, out += depth) {
      for (int64_t k = 0; k < depth; ++k) out[k] = from[k];
      if (depth >= 3) std::swap(out[0], out[2]);  // blue comes first in the file
    }
  }
  return Status();
}

}  // namespace savedmodel
