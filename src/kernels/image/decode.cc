// Ops that decode and encode images. Every decoder takes every format, as TensorFlow's.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/codec.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

enum class DecodeOp { kJpeg, kPng, kGif, kBmp, kWebp, kImage, kCropJpeg };

struct DecodeOptions {
  DecodeOp op = DecodeOp::kImage;
  JpegOptions jpeg;
  int channels = 0;
  bool expand_animations = true;
};

// What ops behind rely on before an image is there, whatever its format.
Shape KnownShape(DecodeOp op, int64_t channels, bool expand_animations) {
  const int64_t known = channels > 0 ? channels : -1;
  switch (op) {
    case DecodeOp::kGif:
      return Shape({-1, -1, -1, 3});
    case DecodeOp::kWebp:
      return Shape({-1, -1, -1, known});
    case DecodeOp::kImage:
      return expand_animations ? Shape::Unknown() : Shape({-1, -1, known});
    default:
      return Shape({-1, -1, known});
  }
}

template <DecodeOp op>
Status DecodeShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 0));
  if (op == DecodeOp::kCropJpeg) SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const bool expand_animations = op == DecodeOp::kImage && ctx.attrs().Bool("expand_animations");
  ctx.set_output(0, KnownShape(op, ctx.attrs().Int("channels"), expand_animations));
  return Status();
}

StatusOr<DecodeOptions> ParseDecode(DecodeOp op, const Attrs& attrs) {
  DecodeOptions o;
  o.op = op;
  o.channels = static_cast<int>(attrs.Int("channels"));
  SM_CHECK_ARG(o.channels >= 0 && o.channels <= 4 && (o.channels != 2 || op == DecodeOp::kPng),
               "channels is ", o.channels, ", expected 0, 1, 3 or 4");
  o.jpeg.channels = o.channels;
  if (op == DecodeOp::kImage) o.expand_animations = attrs.Bool("expand_animations");
  if (op != DecodeOp::kJpeg && op != DecodeOp::kCropJpeg) return o;
  const int64_t ratio = attrs.Int("ratio");
  SM_CHECK_ARG(ratio == 1 || ratio == 2 || ratio == 4 || ratio == 8, "ratio is ", ratio,
               ", expected 1, 2, 4 or 8");
  const std::string& method = attrs.String("dct_method");
  SM_CHECK_ARG(method.empty() || method == "INTEGER_FAST" || method == "INTEGER_ACCURATE",
               "dct_method is ", method, ", expected '', INTEGER_FAST or INTEGER_ACCURATE");
  o.jpeg.ratio = static_cast<int>(ratio);
  o.jpeg.fancy_upscaling = attrs.Bool("fancy_upscaling");
  o.jpeg.recover_truncated = attrs.Bool("try_recover_truncated");
  o.jpeg.accurate = method == "INTEGER_ACCURATE";
  return o;
}

// 8-bit samples as samples of the output's dtype.
Status WidenSamples(const uint8_t* in, int64_t n, Tensor& out) {
  if (out.dtype() == DType::kUInt16) {
    auto* to = static_cast<uint16_t*>(out.raw_mutable_data());
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<uint16_t>(in[i] << 8);
  } else {
    auto* to = static_cast<float*>(out.raw_mutable_data());
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(in[i]) / 255.0f;
  }
  return Status();
}

Shape OutputShape(const DecodeOptions& o, ImageFormat format, const ImageSize& s) {
  const bool may_move = format == ImageFormat::kGif && o.op == DecodeOp::kImage;
  const bool has_frames = may_move || format == ImageFormat::kWebp;  // even if it is one
  if (o.op == DecodeOp::kGif || (has_frames && o.expand_animations)) {
    return Shape({s.frames, s.height, s.width, s.channels});
  }
  return Shape({s.height, s.width, s.channels});
}

Status DecodeAs(ImageFormat format, std::string_view data, const DecodeOptions& o, int bits,
                ImageAllocator allocate) {
  const bool is_gif_op = o.op == DecodeOp::kGif;
  const int channels = is_gif_op ? 3 : o.channels;
  switch (format) {
    case ImageFormat::kJpeg: {
      JpegOptions jpeg = o.jpeg;
      jpeg.channels = channels;
      return DecodeJpeg(data, jpeg, allocate);
    }
    case ImageFormat::kPng:
      return DecodePng(data, channels, bits, allocate);
    case ImageFormat::kGif:
      SM_CHECK_ARG(channels == 0 || channels == 3, "asked for ", channels,
                   " channels of a GIF image, expected 0 or 3");
      return DecodeGif(data, is_gif_op || (o.op == DecodeOp::kImage && o.expand_animations),
                       allocate);
    case ImageFormat::kBmp:
      return DecodeBmp(data, channels, allocate);
    case ImageFormat::kWebp:
      return DecodeWebp(data, channels, o.expand_animations, allocate);
    default:
      return InvalidArgument("found ", data.size(), " bytes of no known image format, expected ",
                             "JPEG, PNG, GIF, BMP or WebP");
  }
}

// Decodes input 0 to output 0.
Status RunDecode(OpContext& ctx, const DecodeOptions& o) {
  SM_RETURN_IF_ERROR(
      ctx.input(0).shape().rank() == 0
          ? Status()
          : InvalidArgument("contents have shape ", ctx.input(0).shape(), ", expected a scalar"));
  const std::string_view data = *ctx.in<std::string>(0);
  const ImageFormat format = DetectImageFormat(data);
  const DType dtype = ctx.output_dtype(0);
  SM_CHECK_ARG(format != ImageFormat::kWebp || dtype == DType::kUInt8, "asked for ", dtype,
               " of a WebP image, expected uint8");
  const Shape known = KnownShape(o.op, o.channels, o.expand_animations);
  const int bits = format == ImageFormat::kPng && dtype != DType::kUInt8 ? 16 : 8;
  const DType stored = bits == 16 ? DType::kUInt16 : DType::kUInt8;
  Status allocation;
  Tensor samples;
  const auto allocate = [&](const ImageSize& size) -> void* {
    const Shape shape = OutputShape(o, format, size);
    // TensorFlow returns these nevertheless: frames of WebP as a still image, or the reverse.
    allocation = shape.CompatibleWith(known)
                     ? ctx.AllocateOutput(0, shape)
                     : InvalidArgument("found an image of shape ", shape, ", expected ", known,
                                       "; DecodeImage takes every format");
    if (!allocation.ok()) return nullptr;
    if (stored == dtype) return ctx.output(0).raw_mutable_data();
    StatusOr<Tensor> temp = ctx.AllocateTemp(stored, shape);
    allocation = temp.status();
    if (!temp.ok()) return nullptr;
    samples = *std::move(temp);
    return samples.raw_mutable_data();
  };
  const Status decoded = DecodeAs(format, data, o, bits, allocate);
  SM_RETURN_IF_ERROR(allocation);
  SM_RETURN_IF_ERROR(decoded);
  if (stored == dtype) return Status();
  const int64_t n = samples.num_elements();
  if (stored == DType::kUInt8) return WidenSamples(samples.data<uint8_t>(), n, ctx.output(0));
  const uint16_t* in = samples.data<uint16_t>();
  float* out = ctx.out<float>(0);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) / 65535.0f;
  return Status();
}

template <DecodeOp op>
StatusOr<KernelPtr> BuildDecode(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const DecodeOptions options, ParseDecode(op, build.attrs()));
  return MakeKernel([options](OpContext& ctx) { return RunDecode(ctx, options); });
}

// ------------------------------------------------------------------------------------------- JPEG

StatusOr<KernelPtr> BuildCropJpeg(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const DecodeOptions o, ParseDecode(DecodeOp::kCropJpeg, build.attrs()));
  return MakeKernel([o](OpContext& ctx) -> Status {
    const std::vector<int64_t> crop = ctx.IntsInput(1);
    SM_CHECK_ARG(crop.size() == 4, "crop_window is ", crop, ", expected y, x, height, width");
    Status allocation;
    Tensor image;
    ImageSize size;
    const Status decoded =
        DecodeJpeg(*ctx.in<std::string>(0), o.jpeg, [&](const ImageSize& s) -> void* {
          size = s;
          StatusOr<Tensor> t =
              ctx.AllocateTemp(DType::kUInt8, Shape({s.height, s.width, s.channels}));
          allocation = t.status();
          if (!t.ok()) return nullptr;
          image = *std::move(t);
          return image.raw_mutable_data();
        });
    SM_RETURN_IF_ERROR(allocation);
    SM_RETURN_IF_ERROR(decoded);
    const int64_t y = crop[0], x = crop[1], height = crop[2], width = crop[3];
    SM_CHECK_ARG(y >= 0 && x >= 0 && height > 0 && width > 0 && y + height <= size.height &&
                     x + width <= size.width,
                 "crop_window is ", crop, ", expected one inside of ", size.height, " by ",
                 size.width, " pixels");
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, Shape({height, width, size.channels})));
    uint8_t* out = ctx.out<uint8_t>(0);
    for (int64_t r = 0; r < height; ++r) {
      const uint8_t* from = image.data<uint8_t>() + ((y + r) * size.width + x) * size.channels;
      out = std::copy_n(from, width * size.channels, out);
    }
    return Status();
  });
}

Status JpegShapeShape(ShapeContext& ctx) {
  ctx.set_output(0, Shape({3}));
  return ctx.ExpectRank(0, 0);
}

Status ExtractJpegShape(OpContext& ctx) {
  ImageSize size;
  SM_RETURN_IF_ERROR(ReadJpegSize(*ctx.in<std::string>(0), &size));
  const int64_t dims[] = {size.height, size.width, size.channels};
  for (int i = 0; i < 3; ++i) {
    if (int32_t* out = ctx.out<int32_t>(0)) out[i] = static_cast<int32_t>(dims[i]);
    if (int64_t* out = ctx.out<int64_t>(0)) out[i] = dims[i];
  }
  return Status();
}

// Output 0 is one string.
Status EncodeJpegShape(ShapeContext& ctx) {
  ctx.set_output(0, Shape());
  return ctx.ExpectRank(0, 3);
}

StatusOr<KernelPtr> BuildEncodeJpeg(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  JpegEncoding encoding;
  encoding.quality = static_cast<int>(std::clamp<int64_t>(attrs.Int("quality"), -1, 101));
  SM_CHECK_ARG(encoding.quality >= 0 && encoding.quality <= 100, "quality is ",
               attrs.Int("quality"), ", expected 0 to 100");
  encoding.progressive = attrs.Bool("progressive");
  encoding.optimize_size = attrs.Bool("optimize_size");
  encoding.chroma_downsampling = attrs.Bool("chroma_downsampling");
  encoding.density_unit = attrs.String("density_unit") == "cm" ? 2 : 1;
  encoding.x_density = static_cast<int>(attrs.Int("x_density"));
  encoding.y_density = static_cast<int>(attrs.Int("y_density"));
  encoding.xmp_metadata = attrs.String("xmp_metadata");
  const std::string& format = attrs.String("format");
  const int64_t want = format == "grayscale" ? 1 : format == "rgb" ? 3 : 0;
  return MakeKernel([encoding, want](OpContext& ctx) -> Status {
    const Shape& s = ctx.input(0).shape();
    SM_CHECK_ARG(s.rank() == 3 && (s[2] == 1 || s[2] == 3) && (want == 0 || s[2] == want),
                 "image has shape ", s, ", expected [height, width, channels] of ",
                 want == 0   ? "1 or 3"
                 : want == 1 ? "1"
                             : "3",
                 " channels");
    return EncodeJpeg(ctx.in<uint8_t>(0), {1, s[0], s[1], s[2]}, encoding, ctx.out<std::string>(0));
  });
}

Status VariableQualityShape(ShapeContext& ctx) {
  ctx.set_output(0, Shape());
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  return ctx.ExpectRank(0, 3);
}

Status EncodeJpegVariableQuality(OpContext& ctx) {
  const Shape& s = ctx.input(0).shape();
  SM_CHECK_ARG(s.rank() == 3 && (s[2] == 1 || s[2] == 3), "image has shape ", s,
               ", expected [height, width, channels] of 1 or 3 channels");
  JpegEncoding encoding;
  encoding.quality = static_cast<int>(ctx.IntInput(1));
  SM_CHECK_ARG(encoding.quality >= 0 && encoding.quality <= 100, "quality is ", encoding.quality,
               ", expected 0 to 100");
  return EncodeJpeg(ctx.in<uint8_t>(0), {1, s[0], s[1], s[2]}, encoding, ctx.out<std::string>(0));
}

// -------------------------------------------------------------------------------------------- PNG

Status EncodePngShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 3));
  const Shape& in = ctx.input(0);
  if (in.known_rank()) ctx.set_output(0, in.Slice(0, in.rank() - 3));
  return Status();
}

StatusOr<KernelPtr> BuildEncodePng(BuildContext& build) {
  const int64_t compression = build.attrs().Int("compression");
  SM_CHECK_ARG(compression >= -1 && compression <= 9, "compression is ", compression,
               ", expected -1 to 9");
  return MakeKernel([compression](OpContext& ctx) -> Status {
    const Tensor& images = ctx.input(0);
    const Shape& s = images.shape();
    const int rank = s.rank(), bits = images.dtype() == DType::kUInt16 ? 16 : 8;
    const ImageSize size = {1, s[rank - 3], s[rank - 2], s[rank - 1]};
    const int64_t bytes = s.Product(rank - 3, rank) * bits / 8;
    std::string* out = ctx.out<std::string>(0);
    for (int64_t i = 0; i < ctx.output(0).num_elements(); ++i) {
      SM_RETURN_IF_ERROR(EncodePng(static_cast<const char*>(images.raw_data()) + i * bytes, size,
                                   bits, static_cast<int>(compression), &out[i]));
    }
    return Status();
  });
}

#define SM_JPEG                                                                              \
  "channels: int = 0; ratio: int = 1; fancy_upscaling: bool = true; try_recover_truncated: " \
  "bool = false; acceptable_fraction: float = 1.0; dct_method: string = ''"

constexpr OpDef kOps[] = {
    {.signature =
         "DecodeAndCropJpeg(contents: string, crop_window: int32) -> (image: uint8); " SM_JPEG,
     .shape = DecodeShape<DecodeOp::kCropJpeg>,
     .build = BuildCropJpeg},
    {.signature = "DecodeBmp(contents: string) -> (image: uint8); channels: int = 0",
     .shape = DecodeShape<DecodeOp::kBmp>,
     .build = BuildDecode<DecodeOp::kBmp>},
    {.signature = "DecodeGif(contents: string) -> (image: uint8)",
     .shape = DecodeShape<DecodeOp::kGif>,
     .build = BuildDecode<DecodeOp::kGif>},
    {.signature = "DecodeImage(contents: string) -> (image: dtype); channels: int = 0; "
                  "dtype: {uint8,uint16,float} = uint8; expand_animations: bool = true",
     .shape = DecodeShape<DecodeOp::kImage>,
     .build = BuildDecode<DecodeOp::kImage>},
    {.signature = "DecodeJpeg(contents: string) -> (image: uint8); " SM_JPEG,
     .shape = DecodeShape<DecodeOp::kJpeg>,
     .build = BuildDecode<DecodeOp::kJpeg>},
    {.signature = "DecodePng(contents: string) -> (image: dtype); channels: int = 0; "
                  "dtype: {uint8,uint16} = uint8",
     .shape = DecodeShape<DecodeOp::kPng>,
     .build = BuildDecode<DecodeOp::kPng>},
    {.signature = "DecodeWebP(contents: string) -> (image: dtype); channels: int = 0; "
                  "dtype: {uint8} = uint8",
     .shape = DecodeShape<DecodeOp::kWebp>,
     .build = BuildDecode<DecodeOp::kWebp>},
    {.signature = "EncodeJpeg(image: uint8) -> (contents: string); "
                  "format: {'','grayscale','rgb'} = ''; quality: int = 95; "
                  "progressive: bool = false; optimize_size: bool = false; "
                  "chroma_downsampling: bool = true; density_unit: {'in','cm'} = 'in'; "
                  "x_density: int = 300; y_density: int = 300; xmp_metadata: string = ''",
     .shape = EncodeJpegShape,
     .build = BuildEncodeJpeg},
    {.signature = "EncodeJpegVariableQuality(images: uint8, quality: int32) -> (contents: string)",
     .shape = VariableQualityShape,
     .build = BuildPlain<EncodeJpegVariableQuality>},
    {.signature = "EncodePng(image: T) -> (contents: string); compression: int = -1; "
                  "T: {uint8,uint16} = uint8",
     .shape = EncodePngShape,
     .build = BuildEncodePng},
    {.signature = "ExtractJpegShape(contents: string) -> (image_shape: output_type); "
                  "output_type: {int32,int64} = int32",
     .shape = JpegShapeShape,
     .build = BuildPlain<ExtractJpegShape>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ImageCodecOps() { return kOps; }

}  // namespace savedmodel
