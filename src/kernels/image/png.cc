// PNG by libpng, with the conversions that TensorFlow asks for.
#include <png.h>

#include <csetjmp>
#include <cstring>
#include <vector>

#include "src/base/status_macros.h"
#include "src/kernels/image/codec.h"

namespace savedmodel {
namespace {

// libpng keeps colour profiles whole while it reads them.
constexpr png_alloc_size_t kMaxChunkBytes = 8'000'000;
// Chunks that do not change pixels, of which libpng would take the size on trust.
constexpr png_byte kIgnoredChunks[] = "tEXt\0zTXt\0iTXt\0sPLT\0pCAL\0sCAL\0eXIf";
constexpr int kNumIgnoredChunks = sizeof(kIgnoredChunks) / 5;

// As in JPEG: errors jump back, and functions that set the jump hold no objects with destructors.
struct PngState {
  png_structp png = nullptr;
  png_infop info = nullptr;
  bool writing = false;
  std::string_view rest;       // what is still to be read
  std::string* out = nullptr;  // where to write
  char message[128] = "broken data";

  ~PngState() {
    if (writing) {
      png_destroy_write_struct(&png, &info);
    } else {
      png_destroy_read_struct(&png, &info, nullptr);
    }
  }
};

void OnError(png_structp png, png_const_charp message) {
  auto* state = static_cast<PngState*>(png_get_error_ptr(png));
  std::strncpy(state->message, message, sizeof(state->message) - 1);
  longjmp(png_jmpbuf(png), 1);
}
void OnWarning(png_structp, png_const_charp) {}

void OnRead(png_structp png, png_bytep to, size_t count) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (count > state->rest.size()) png_error(png, "the data end before the image does");
  std::memcpy(to, state->rest.data(), count);
  state->rest.remove_prefix(count);
}
void OnWrite(png_structp png, png_bytep from, size_t count) {
  static_cast<PngState*>(png_get_io_ptr(png))->out->append(reinterpret_cast<char*>(from), count);
}
void OnFlush(png_structp) {}

bool ReadHeader(PngState* s) {
  if (setjmp(png_jmpbuf(s->png)) != 0) return false;
  png_set_chunk_malloc_max(s->png, kMaxChunkBytes);
  png_set_keep_unknown_chunks(s->png, PNG_HANDLE_CHUNK_NEVER, kIgnoredChunks, kNumIgnoredChunks);
  png_set_read_fn(s->png, s, OnRead);
  png_read_info(s->png, s->info);
  return true;
}

// The channels of the file, of its palette's colours where it has one.
int ChannelsOf(const PngState& s) {
  if (png_get_color_type(s.png, s.info) != PNG_COLOR_TYPE_PALETTE) {
    return png_get_channels(s.png, s.info);
  }
  return png_get_valid(s.png, s.info, PNG_INFO_tRNS) ? 4 : 3;
}

// Asks libpng for rows of `channels` of `bits`; samples of 8 bits or less come as 8 bits.
bool StartDecoding(PngState* s, int channels, int bits) {
  if (setjmp(png_jmpbuf(s->png)) != 0) return false;
  png_structp png = s->png;
  const int type = png_get_color_type(png, s->info), depth = png_get_bit_depth(png, s->info);
  const bool transparent = png_get_valid(png, s->info, PNG_INFO_tRNS) != 0;
  const bool alpha = (type & PNG_COLOR_MASK_ALPHA) != 0;
  const bool gray = (type & PNG_COLOR_MASK_COLOR) == 0;
  if (channels % 2 == 0) {
    if (transparent) {
      png_set_tRNS_to_alpha(png);
    } else if (!alpha) {
      png_set_add_alpha(png, (1u << depth) - 1, PNG_FILLER_AFTER);
    }
  } else if (alpha || transparent) {
    png_set_strip_alpha(png);
  }
  if (depth > 8 && bits <= 8) png_set_strip_16(png);
  png_set_packing(png);
  png_set_interlace_handling(png);
  if (bits > 8) png_set_swap(png);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (gray && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
  if (channels < 3 && !gray) png_set_rgb_to_gray(png, 1, 0.299, 0.587);
  if (channels >= 3 && gray) png_set_gray_to_rgb(png);
  png_read_update_info(png, s->info);
  return true;
}

bool ReadRows(PngState* s, png_bytepp rows) {
  if (setjmp(png_jmpbuf(s->png)) != 0) return false;
  png_read_image(s->png, rows);
  png_read_end(s->png, s->info);
  return true;
}

bool WriteAll(PngState* s, const ImageSize& size, int bits, int compression, png_bytepp rows) {
  static constexpr int kTypes[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA,
                                   PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};
  if (setjmp(png_jmpbuf(s->png)) != 0) return false;
  png_set_write_fn(s->png, s, OnWrite, OnFlush);
  png_set_compression_level(s->png, compression);
  png_set_IHDR(s->png, s->info, static_cast<png_uint_32>(size.width),
               static_cast<png_uint_32>(size.height), bits, kTypes[size.channels - 1],
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(s->png, s->info);
  if (bits > 8) png_set_swap(s->png);
  png_write_image(s->png, rows);
  png_write_end(s->png, nullptr);
  return true;
}

std::vector<png_bytep> RowPointers(void* data, int64_t height, int64_t stride) {
  std::vector<png_bytep> rows(height);
  for (int64_t y = 0; y < height; ++y) rows[y] = static_cast<png_bytep>(data) + y * stride;
  return rows;
}

}  // namespace

Status DecodePng(std::string_view data, int channels, int bits, ImageAllocator allocate) {
  SM_CHECK_ARG(channels >= 0 && channels <= 4, "asked for ", channels,
               " channels of a PNG image, expected 0 to 4");
  PngState s;
  s.rest = data;
  const auto broken = [&] {
    return InvalidArgument("the PNG data cannot be decoded: ", s.message);
  };
  s.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &s, OnError, OnWarning);
  if (s.png == nullptr) return ResourceExhausted("no memory to decode a PNG image");
  s.info = png_create_info_struct(s.png);
  if (s.info == nullptr) return ResourceExhausted("no memory to decode a PNG image");
  if (!ReadHeader(&s)) return broken();
  const int64_t width = png_get_image_width(s.png, s.info);
  const int64_t height = png_get_image_height(s.png, s.info);
  SM_CHECK_ARG(width > 0 && height > 0 && width < (int64_t{1} << 27) &&
                   height < (int64_t{1} << 27) && width * height < (int64_t{1} << 29),
               "the PNG image has ", height, " by ", width, " pixels, which is too large");
  // Deflate shrinks at most a thousandfold: no more pixels than that can follow.
  SM_CHECK_ARG(width * height / 8 / 1100 <= static_cast<int64_t>(data.size()),
               "the PNG data are too short for ", height, " by ", width, " pixels");
  if (channels == 0) channels = ChannelsOf(s);
  const bool widen = bits == 16 && png_get_bit_depth(s.png, s.info) <= 8;
  if (!StartDecoding(&s, channels, bits)) return broken();
  const int64_t stride = static_cast<int64_t>(png_get_rowbytes(s.png, s.info));
  const int64_t samples = width * channels, bytes = bits / 8;
  SM_CHECK_ARG(stride == samples * (widen ? 1 : bytes), "the PNG image has rows of ", stride,
               " bytes, expected ", samples);
  auto* out = static_cast<unsigned char*>(allocate({1, height, width, channels}));
  if (out == nullptr) return ResourceExhausted("no memory for the PNG image");
  // Rows to be widened are read into the upper half of the image's memory.
  unsigned char* from = widen ? out + height * samples : out;
  std::vector<png_bytep> rows = RowPointers(from, height, stride);
  if (!ReadRows(&s, rows.data())) return broken();
  if (widen) {
    for (int64_t i = 0; i < height * samples; ++i) {
      const unsigned char v = from[i];
      out[2 * i] = v;
      out[2 * i + 1] = v;
    }
  }
  return Status();
}

Status EncodePng(const void* pixels, const ImageSize& size, int bits, int compression,
                 std::string* out) {
  SM_CHECK_ARG(size.channels >= 1 && size.channels <= 4, "the image has ", size.channels,
               " channels, expected 1 to 4");
  SM_CHECK_ARG(size.height > 0 && size.width > 0 && size.height <= INT32_MAX / 16 &&
                   size.width <= INT32_MAX / 16,
               "the image has ", size.height, " by ", size.width, " pixels, expected 1 to ",
               INT32_MAX / 16, " either way");
  PngState s;
  s.writing = true;
  s.out = out;
  s.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &s, OnError, OnWarning);
  if (s.png == nullptr) return ResourceExhausted("no memory to encode a PNG image");
  s.info = png_create_info_struct(s.png);
  if (s.info == nullptr) return ResourceExhausted("no memory to encode a PNG image");
  std::vector<png_bytep> rows =
      RowPointers(const_cast<void*>(pixels), size.height, size.width * size.channels * bits / 8);
  if (!WriteAll(&s, size, bits, compression, rows.data())) {
    return Internal("PNG encoding failed: ", s.message);
  }
  return Status();
}

}  // namespace savedmodel
