// JPEG by libjpeg-turbo, with the settings that TensorFlow uses.
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

// After <cstdio>: jpeglib.h wants FILE.
#include <jpeglib.h>

#include "src/base/status_macros.h"
#include "src/kernels/image/codec.h"

namespace savedmodel {
namespace {

// libjpeg reports errors by a call that must not return: it jumps back to where the work began.
// Functions that set the jump hold no objects with destructors.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

void ExitWithError(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}
void IgnoreMessage(j_common_ptr) {}

jpeg_error_mgr* InitErrors(ErrorManager* manager) {
  jpeg_error_mgr* base = jpeg_std_error(&manager->base);
  base->error_exit = ExitWithError;
  base->output_message = IgnoreMessage;
  std::strcpy(manager->message, "broken data");
  return base;
}

// The bytes of one image. At their end: an end marker where truncated data shall be accepted.
struct Source {
  jpeg_source_mgr base;
  bool recover;
};
void InitSource(j_decompress_ptr) {}
boolean FillInput(j_decompress_ptr info) {
  static const JOCTET kEnd[] = {0xFF, JPEG_EOI};
  auto* source = reinterpret_cast<Source*>(info->src);
  if (!source->recover) {
    auto* manager = reinterpret_cast<ErrorManager*>(info->err);
    std::strcpy(manager->message, "the data end before the image does");
    std::longjmp(manager->jump, 1);
  }
  source->base.next_input_byte = kEnd;
  source->base.bytes_in_buffer = sizeof(kEnd);
  return TRUE;
}
void SkipInput(j_decompress_ptr info, long count) {  // NOLINT: libjpeg's type
  jpeg_source_mgr* source = info->src;
  while (count > 0 && static_cast<size_t>(count) > source->bytes_in_buffer) {
    count -= static_cast<long>(source->bytes_in_buffer);  // NOLINT
    FillInput(info);
    if (source->bytes_in_buffer == 2) return;  // the end marker
  }
  if (count <= 0) return;
  source->next_input_byte += count;
  source->bytes_in_buffer -= static_cast<size_t>(count);
}

// What one decoding needs, so that all of it is freed in one place.
struct Decoder {
  jpeg_decompress_struct info = {};
  ErrorManager errors = {};
  Source source = {};
  JSAMPLE* row = nullptr;  // one row of a CMYK image

  Decoder(std::string_view data, bool recover) {
    info.err = InitErrors(&errors);
    source.recover = recover;
    source.base.init_source = InitSource;
    source.base.fill_input_buffer = FillInput;
    source.base.skip_input_data = SkipInput;
    source.base.resync_to_restart = jpeg_resync_to_restart;
    source.base.term_source = InitSource;
    source.base.next_input_byte = reinterpret_cast<const JOCTET*>(data.data());
    source.base.bytes_in_buffer = data.size();
  }
  ~Decoder() {
    std::free(row);
    jpeg_destroy_decompress(&info);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
};

bool ReadHeader(Decoder* d) {
  if (setjmp(d->errors.jump) != 0) return false;
  jpeg_create_decompress(&d->info);
  d->info.src = &d->source.base;
  jpeg_read_header(&d->info, TRUE);
  return true;
}

bool StartDecoding(Decoder* d, const JpegOptions& options, int channels) {
  if (setjmp(d->errors.jump) != 0) return false;
  jpeg_decompress_struct& info = d->info;
  const bool cmyk = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  info.out_color_space = channels == 1 ? JCS_GRAYSCALE : cmyk ? JCS_CMYK : JCS_RGB;
  info.do_fancy_upsampling = options.fancy_upscaling ? TRUE : FALSE;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(options.ratio);
  info.dct_method = options.accurate ? JDCT_ISLOW : JDCT_IFAST;
  jpeg_start_decompress(&info);
  return true;
}

// CMYK to RGB; files by Adobe hold inverted inks.
void ToRgb(const JSAMPLE* in, bool inverted, int64_t width, uint8_t* out) {
  for (int64_t i = 0; i < width; ++i, in += 4, out += 3) {
    for (int k = 0; k < 3; ++k) {
      const int ink = inverted ? in[k] : 255 - in[k], black = inverted ? in[3] : 255 - in[3];
      out[k] = static_cast<uint8_t>(black * ink / 255);
    }
  }
}

bool ReadRows(Decoder* d, int channels, uint8_t* out) {
  if (setjmp(d->errors.jump) != 0) return false;
  jpeg_decompress_struct& info = d->info;
  const int64_t stride = static_cast<int64_t>(info.output_width) * channels;
  const bool cmyk = info.out_color_space == JCS_CMYK;
  while (info.output_scanline < info.output_height) {
    uint8_t* to = out + stride * info.output_scanline;
    JSAMPROW row = cmyk ? d->row : to;
    if (jpeg_read_scanlines(&info, &row, 1) != 1) return false;
    if (cmyk) ToRgb(d->row, info.saw_Adobe_marker, info.output_width, to);
  }
  return true;
}

Status BrokenJpeg(const Decoder& d) {
  return InvalidArgument("the JPEG data cannot be decoded: ", d.errors.message);
}

}  // namespace

Status ReadJpegSize(std::string_view data, ImageSize* size) {
  Decoder d(data, false);
  if (!ReadHeader(&d)) return BrokenJpeg(d);
  *size = {1, d.info.image_height, d.info.image_width, d.info.num_components};
  return Status();
}

Status DecodeJpeg(std::string_view data, const JpegOptions& options, ImageAllocator allocate) {
  SM_CHECK_ARG(options.channels == 0 || options.channels == 1 || options.channels == 3,
               "asked for ", options.channels, " channels of a JPEG image, expected 0, 1 or 3");
  Decoder d(data, options.recover_truncated);
  if (!ReadHeader(&d)) return BrokenJpeg(d);
  int channels = options.channels;
  if (channels == 0) channels = d.info.num_components == 1 ? 1 : 3;
  const int64_t pixels = static_cast<int64_t>(d.info.image_width) * d.info.image_height;
  SM_CHECK_ARG(pixels > 0 && pixels < (int64_t{1} << 29), "the JPEG image has ",
               d.info.image_height, " by ", d.info.image_width, " pixels, which is too large");
  // Far more pixels for each byte than even one flat colour takes.
  SM_CHECK_ARG(pixels / 8192 <= static_cast<int64_t>(data.size()),
               "the JPEG data are too short for ", pixels, " pixels");
  if (!StartDecoding(&d, options, channels)) return BrokenJpeg(d);
  if (d.info.out_color_space == JCS_CMYK) {
    d.row = static_cast<JSAMPLE*>(std::malloc(size_t{4} * d.info.output_width));
    if (d.row == nullptr) return ResourceExhausted("no memory for a row of the JPEG image");
  }
  void* out = allocate({1, d.info.output_height, d.info.output_width, channels});
  if (out == nullptr) return ResourceExhausted("no memory for the JPEG image");
  if (!ReadRows(&d, channels, static_cast<uint8_t*>(out))) return BrokenJpeg(d);
  return Status();
}

namespace {

struct Encoder {
  jpeg_compress_struct info = {};
  ErrorManager errors = {};
  unsigned char* buffer = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's type

  Encoder() { info.err = InitErrors(&errors); }
  ~Encoder() {
    jpeg_destroy_compress(&info);
    std::free(buffer);
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
};

bool RunEncoder(Encoder* e, const uint8_t* pixels, const ImageSize& size,
                const JpegEncoding& encoding, const std::string& xmp_marker) {
  if (setjmp(e->errors.jump) != 0) return false;
  jpeg_compress_struct& info = e->info;
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &e->buffer, &e->size);
  info.image_width = static_cast<JDIMENSION>(size.width);
  info.image_height = static_cast<JDIMENSION>(size.height);
  info.input_components = static_cast<int>(size.channels);
  info.in_color_space = size.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  if (encoding.optimize_size) info.optimize_coding = TRUE;
  info.density_unit = static_cast<UINT8>(encoding.density_unit);
  info.X_density = static_cast<UINT16>(encoding.x_density);
  info.Y_density = static_cast<UINT16>(encoding.y_density);
  jpeg_set_quality(&info, encoding.quality, TRUE);
  if (encoding.progressive) jpeg_simple_progression(&info);
  if (!encoding.chroma_downsampling) {
    for (int i = 0; i < info.num_components; ++i) {
      info.comp_info[i].h_samp_factor = 1;
      info.comp_info[i].v_samp_factor = 1;
    }
  }
  jpeg_start_compress(&info, TRUE);
  if (!xmp_marker.empty()) {
    jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(xmp_marker.data()),
                      static_cast<unsigned>(xmp_marker.size()));
  }
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(pixels + size.width * size.channels * info.next_scanline);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

}  // namespace

Status EncodeJpeg(const uint8_t* pixels, const ImageSize& size, const JpegEncoding& encoding,
                  std::string* out) {
  SM_CHECK_ARG(size.height > 0 && size.width > 0 && size.height <= JPEG_MAX_DIMENSION &&
                   size.width <= JPEG_MAX_DIMENSION,
               "the image has ", size.height, " by ", size.width, " pixels, expected 1 to ",
               JPEG_MAX_DIMENSION, " either way");
  std::string marker;
  if (!encoding.xmp_metadata.empty()) {
    marker = std::string("http://ns.adobe.com/xap/1.0/", 29) + encoding.xmp_metadata;
    SM_CHECK_ARG(marker.size() <= 65533, "xmp_metadata has ", encoding.xmp_metadata.size(),
                 " bytes, expected at most 65504");
  }
  Encoder e;
  if (!RunEncoder(&e, pixels, size, encoding, marker)) {
    return Internal("JPEG encoding failed: ", e.errors.message);
  }
  out->assign(reinterpret_cast<const char*>(e.buffer), e.size);
  return Status();
}

}  // namespace savedmodel
