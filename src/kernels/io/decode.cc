// Bytes to tensors: DecodeRaw, DecodePaddedRaw, DecodeCSV, DecodeCompressed.
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/string/number.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// ------------------------------------------------------------------------------------------ raw

// Turns `bytes` bytes of big-endian numbers into the machine's order. Complex numbers are pairs.
void SwapBytes(DType dtype, char* data, size_t bytes) {
  const bool complex = dtype == DType::kComplex64 || dtype == DType::kComplex128;
  const size_t size = DTypeSize(dtype) / (complex ? 2 : 1);
  for (size_t i = 0; i + size <= bytes; i += size) std::reverse(data + i, data + i + size);
}

StatusOr<KernelPtr> BuildDecodeRaw(BuildContext& build) {
  return MakeKernel([swap = !build.attrs().Bool("little_endian")](OpContext& ctx) -> Status {
    const Span<const std::string> in = ctx.input(0).values<std::string>();
    const DType dtype = ctx.output_dtype(0);
    const size_t element = DTypeSize(dtype), bytes = in.empty() ? 0 : in[0].size();
    for (size_t i = 0; i < in.size(); ++i) {
      SM_CHECK_ARG(in[i].size() == bytes, "DecodeRaw requires input strings to all be the same ",
                   "size, but element ", i, " has size ", in[i].size(), " != ", bytes);
    }
    SM_CHECK_ARG(bytes % element == 0, "Input to DecodeRaw has length ", bytes,
                 " that is not a multiple of ", element, ", the size of ", dtype);
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(
        0, ctx.input(0).shape().WithAppended(static_cast<int64_t>(bytes / element))));
    char* out = static_cast<char*>(ctx.output(0).raw_mutable_data());
    for (size_t i = 0; i < in.size() && bytes > 0; ++i) {
      std::memcpy(out + i * bytes, in[i].data(), bytes);
    }
    if (swap) SwapBytes(dtype, out, bytes * in.size());
    if (dtype == DType::kBool) {
      for (size_t i = 0; i < bytes * in.size(); ++i) out[i] = out[i] != 0;
    }
    return Status();
  });
}

Status DecodeRawShape(ShapeContext& ctx) {
  if (ctx.input(0).known_rank()) ctx.set_output(0, ctx.input(0).WithAppended(-1));
  return Status();
}

Status DecodePaddedRawShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  int64_t length = -1;
  if (ctx.IntValue(1, &length)) {
    const int64_t element = static_cast<int64_t>(DTypeSize(ctx.attrs().Type("out_type")));
    SM_CHECK_ARG(length > 0, "fixed_length (", length, ") must be greater than zero.");
    SM_CHECK_ARG(length % element == 0, "fixed_length (", length,
                 ") must be a multiple of the size of out_type (", element, ")");
    length /= element;
  }
  if (ctx.input(0).known_rank()) ctx.set_output(0, ctx.input(0).WithAppended(length));
  return Status();
}

StatusOr<KernelPtr> BuildDecodePaddedRaw(BuildContext& build) {
  return MakeKernel([swap = !build.attrs().Bool("little_endian")](OpContext& ctx) -> Status {
    const Span<const std::string> in = ctx.input(0).values<std::string>();
    const size_t bytes = static_cast<size_t>(ctx.IntInput(1));
    char* out = static_cast<char*>(ctx.output(0).raw_mutable_data());
    for (size_t i = 0; i < in.size(); ++i) {
      const size_t n = std::min(in[i].size(), bytes);
      std::memcpy(out + i * bytes, in[i].data(), n);
      std::memset(out + i * bytes + n, 0, bytes - n);
    }
    if (swap) SwapBytes(ctx.output_dtype(0), out, bytes * in.size());
    return Status();
  });
}

// ------------------------------------------------------------------------------------------ CSV

struct CsvFormat {
  char delimiter = ',';
  bool quotes = true;
  std::string missing;           // a field of this text is missing, as an empty one is
  std::vector<int64_t> columns;  // the fields wanted, all when empty
};

StatusOr<CsvFormat> ParseCsvFormat(const Attrs& attrs) {
  CsvFormat format;
  const std::string& delimiter = attrs.String("field_delim");
  SM_CHECK_ARG(delimiter.size() == 1, "field_delim: found '", delimiter,
               "', expected one character");
  format.delimiter = delimiter[0];
  format.quotes = attrs.Bool("use_quote_delim");
  format.missing = attrs.String("na_value");
  format.columns = attrs.Ints("select_cols");
  SM_CHECK_ARG(format.columns.empty() || format.columns.size() == attrs.Types("OUT_TYPE").size(),
               "select_cols should match output size");
  for (size_t i = 0; i < format.columns.size(); ++i) {
    SM_CHECK_ARG(format.columns[i] >= 0 && (i == 0 || format.columns[i] > format.columns[i - 1]),
                 "select_cols should be strictly increasing indices");
  }
  return format;
}

// Takes a quoted field from `*rest`, up to the delimiter behind it.
StatusOr<std::string> TakeQuoted(std::string_view* rest, char delimiter) {
  std::string field;
  rest->remove_prefix(1);
  while (true) {
    SM_CHECK_ARG(!rest->empty(), "Quoted field has to end with quote followed by delim or end");
    const char c = rest->front();
    rest->remove_prefix(1);
    if (c == '"') {
      if (rest->empty() || rest->front() == delimiter) return field;
      SM_CHECK_ARG(rest->front() == '"',
                   "Quote inside a string has to be escaped by another quote");
      rest->remove_prefix(1);
    }
    field += c;
  }
}

// The fields wanted of one record.
StatusOr<std::vector<std::string>> SplitRecord(const std::string& record, const CsvFormat& format) {
  std::vector<std::string> fields;
  std::string_view rest = record;
  size_t wanted = 0;
  for (int64_t column = 0; !record.empty(); ++column) {
    std::string field;
    if (format.quotes && !rest.empty() && rest.front() == '"') {
      SM_ASSIGN_OR_RETURN(field, TakeQuoted(&rest, format.delimiter));
    } else {
      field = std::string(rest.substr(0, rest.find(format.delimiter)));
      SM_CHECK_ARG(field.find_first_of(format.quotes ? "\"\n\r" : "\n\r") == std::string::npos,
                   "Unquoted fields cannot have quotes/CRLFs inside");
      rest.remove_prefix(field.size());
    }
    if (format.columns.empty() ||
        (wanted < format.columns.size() && format.columns[wanted] == column)) {
      fields.push_back(std::move(field));
      ++wanted;
    }
    if (rest.empty()) break;
    rest.remove_prefix(1);
  }
  return fields;
}

Status StoreField(OpContext& ctx, int output, int64_t record, std::string field,
                  const std::string& missing) {
  constexpr DTypeSet kTypes = kFloatDouble | kInt32Or64 | Only(DType::kString);
  return VisitDType<kTypes>(ctx.output_dtype(output), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = ctx.out<T>(output) + record;
    if (field.empty() || field == missing) {
      const Tensor& fallback = ctx.input(1 + output);
      SM_CHECK_ARG(fallback.num_elements() == 1, "Field ", output,
                   " is required but missing in record ", record, "!");
      *out = fallback.data<T>()[0];
    } else if constexpr (std::is_same_v<T, std::string>) {
      *out = std::move(field);
    } else {
      SM_CHECK_ARG(ParseNumber(field, out), "Field ", output, " in record ", record,
                   " is not a valid ", ctx.output_dtype(output), ": ", field);
    }
    return Status();
  });
}

StatusOr<KernelPtr> BuildDecodeCsv(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const CsvFormat format, ParseCsvFormat(build.attrs()));
  return MakeKernel([format](OpContext& ctx) -> Status {
    const Span<const std::string> records = ctx.input(0).values<std::string>();
    const size_t n = static_cast<size_t>(ctx.num_outputs());
    for (size_t i = 0; i < records.size(); ++i) {
      SM_ASSIGN_OR_RETURN(std::vector<std::string> fields, SplitRecord(records[i], format));
      SM_CHECK_ARG(fields.size() == n, "Expect ", n, " fields but have ", fields.size(),
                   " in record ", i);
      for (size_t k = 0; k < n; ++k) {
        SM_RETURN_IF_ERROR(StoreField(ctx, static_cast<int>(k), static_cast<int64_t>(i),
                                      std::move(fields[k]), format.missing));
      }
    }
    return Status();
  });
}

Status DecodeCsvShape(ShapeContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    const Shape& fallback = ctx.input(1 + i);
    SM_CHECK_ARG(!fallback.known_rank() || fallback.rank() <= 1, "record_defaults of field ", i,
                 ": found shape ", fallback, ", expected a scalar or a vector");
    SM_CHECK_ARG(fallback.num_elements() <= 1,
                 "There should only be 1 default per field but field ", i, " has ",
                 fallback.num_elements());
    ctx.set_output(i, ctx.input(0));
  }
  return Status();
}

// ----------------------------------------------------------------------------------- compressed

// Charges a budget for memory that is not a tensor's, for as long as this lives.
class ScopedCharge {
 public:
  explicit ScopedCharge(MemoryBudget* budget) : budget_(budget) {}
  ScopedCharge(const ScopedCharge&) = delete;
  ~ScopedCharge() {
    if (budget_ != nullptr) budget_->Refund(charged_);
  }
  bool Charge(int64_t bytes) {
    if (budget_ != nullptr && !budget_->Charge(bytes)) return false;
    charged_ += bytes;
    return true;
  }

 private:
  MemoryBudget* budget_;
  int64_t charged_ = 0;
};

// A stream that is cut off yields what there is of it, as in TensorFlow; what follows a zlib
// stream is ignored, gzip members may follow one another.
Status Inflate(OpContext& ctx, const std::string& in, bool gzip, std::string* out) {
  z_stream stream = {};
  if (inflateInit2(&stream, gzip ? MAX_WBITS + 16 : MAX_WBITS) != Z_OK) {
    return ResourceExhausted("no memory for decompression");
  }
  struct Ender {
    z_stream* stream;
    ~Ender() { inflateEnd(stream); }
  } ender{&stream};
  ScopedCharge charge(ctx.run().budget.get());
  char buffer[1 << 15];
  size_t used = 0;
  while (true) {
    if (stream.avail_in == 0) {
      const size_t n = std::min<size_t>(in.size() - used, 1 << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data() + used));
      stream.avail_in = static_cast<uInt>(n);
      used += n;
    }
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof(buffer);
    const int result = inflate(&stream, Z_NO_FLUSH);
    const size_t produced = sizeof(buffer) - stream.avail_out;
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    if (!charge.Charge(static_cast<int64_t>(produced))) {
      return ResourceExhausted("decompressed text exceeds the memory limit");
    }
    out->append(buffer, produced);
    const bool at_end = stream.avail_in == 0 && used == in.size();
    if (result == Z_STREAM_END) {
      if (!gzip || at_end) return Status();
      inflateReset(&stream);
    } else if (result == Z_BUF_ERROR || (result == Z_OK && at_end && stream.avail_out > 0)) {
      return Status();
    } else if (result != Z_OK) {
      return DataLoss("malformed compressed data: ", stream.msg == nullptr ? "" : stream.msg);
    }
  }
}

StatusOr<KernelPtr> BuildDecodeCompressed(BuildContext& build) {
  const std::string& type = build.attrs().String("compression_type");
  if (type == "ZSTD") return Unimplemented("compression_type ZSTD");
  SM_CHECK_ARG(type.empty() || type == "ZLIB" || type == "GZIP", "compression_type: found '", type,
               "', expected ZLIB, GZIP or ''");
  return MakeKernel([plain = type.empty(), gzip = type == "GZIP"](OpContext& ctx) -> Status {
    const Span<const std::string> in = ctx.input(0).values<std::string>();
    for (size_t i = 0; i < in.size(); ++i) {
      std::string text;
      if (plain) {
        text = in[i];
      } else if (!in[i].empty()) {
        SM_RETURN_IF_ERROR(Inflate(ctx, in[i], gzip, &text));
      }
      ctx.out<std::string>(0)[i] = std::move(text);
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "DecodeCSV(records: string, record_defaults: OUT_TYPE) -> (output: OUT_TYPE); "
                  "OUT_TYPE: list({float,double,int32,int64,string}) >= 1; "
                  "field_delim: string = ','; use_quote_delim: bool = true; "
                  "na_value: string = ''; select_cols: list(int) = []",
     .shape = DecodeCsvShape,
     .build = BuildDecodeCsv},
    {.signature = "DecodeCompressed(bytes: string) -> (output: string); "
                  "compression_type: string = ''",
     .shape = shape::SameAsInput0,
     .build = BuildDecodeCompressed},
    {.signature = "DecodePaddedRaw(input_bytes: string, fixed_length: int32) -> "
                  "(output: out_type); out_type: {half,float,double,int32,uint16,uint8,int16,int8,"
                  "int64,bfloat16}; little_endian: bool = true",
     .shape = DecodePaddedRawShape,
     .build = BuildDecodePaddedRaw},
    {.signature = "DecodeRaw(bytes: string) -> (output: out_type); out_type: {half,float,double,"
                  "int32,uint16,uint8,int16,int8,int64,complex64,complex128,bool,bfloat16}; "
                  "little_endian: bool = true",
     .shape = DecodeRawShape,
     .build = BuildDecodeRaw},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> DecodeOps() { return kOps; }

}  // namespace savedmodel
