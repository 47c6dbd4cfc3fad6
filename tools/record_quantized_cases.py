#!/usr/bin/env python3
"""Records what TensorFlow answers to ops on quantised values, as tools/record_op_cases.py does.

usage: tools/record_quantized_cases.py      (needs tensorflow and protoc)

The fused products run only where oneDNN is on, on a processor with AVX512-VNNI.
"""
import numpy as np
import tensorflow as tf
from tensorflow.core.util.quantization import uniform_quant_ops_attr_pb2

from record_op_cases import ROOT, Computed, Constant, Recorder, f, quantized

random = np.random.RandomState(11)


def i32(value):
    return np.array(value, np.int32)


def scales(count):
    """Scales and zero points: of one channel each, or of all where `count` is None."""
    shape = () if count is None else (count,)
    return (np.asarray(random.rand(*shape) + 0.05, np.float32),
            np.asarray(random.randint(-9, 10, shape), np.int32))


def limits(prefix="", low=-128, high=127, axis=-1):
    return {f"{prefix}quantization_min_val": low, f"{prefix}quantization_max_val": high,
            f"{prefix}quantization_axis": axis}


WIDE = {"low": -(1 << 31), "high": (1 << 31) - 1}


def uniform_values(record):
    x = (random.randn(3, 4, 5) * 20).astype("f4")
    x[0, 0] = 0.5, -0.5, 1.5, 2.5, -1.5
    x[0, 1] = float("nan"), float("inf"), -float("inf"), 1e20, -1e20
    for dtype, low, high in ((tf.qint8, -128, 127), (tf.quint8, 0, 255), (tf.qint8, -100, 50),
                             (tf.qint32, -(1 << 31), (1 << 31) - 1)):
        record("UniformQuantize", input=x, scales=f(1), zero_points=i32(0), Tout=dtype,
               **limits(low=low, high=high))
        q = quantized(dtype, 3, 4, 5)
        for axis in (-1, 0, 1, 2):
            scale, zero = scales(None if axis < 0 else x.shape[axis])
            record("UniformQuantize", input=x, scales=scale, zero_points=zero, Tout=dtype,
                   **limits(low=low, high=high, axis=axis))
            record("UniformDequantize", input=q, scales=scale, zero_points=zero, Tout=tf.float32,
                   **limits(low=low, high=high, axis=axis))
    for op, values, out in (("UniformQuantize", x, tf.qint8), ("UniformDequantize", q, tf.float32)):
        for scale, zero, axis in ((f(1), i32([0]), -1), (f([1]), i32([0]), -1), (f(1), i32(0), 1),
                                  (f([1] * 4), i32([0] * 4), 2), (f(1), i32(0), 3), (f(0), i32(1), -1),
                                  (f(-1), i32(1), -1), (f(1), i32(0), -2)):
            record(op, input=values, scales=scale, zero_points=zero, Tout=out, **limits(axis=axis))
        record(op, input=values[:0], scales=f(1), zero_points=i32(0), Tout=out, **limits())

    for dtype in (tf.qint8, tf.qint32):
        q = quantized(dtype, 3, 4, 5)
        for in_axis, out_axis in ((-1, -1), (1, -1), (-1, 2), (0, 0), (0, 1), (-1, 3)):
            sizes = [None if axis < 0 else (3, 4, 5, 9)[axis] for axis in (in_axis, out_axis)]
            of_input, of_output = scales(sizes[0]), scales(sizes[1])
            record("UniformRequantize", input=q, input_scales=of_input[0],
                   input_zero_points=of_input[1], output_scales=of_output[0],
                   output_zero_points=of_output[1], Tout=tf.qint8,
                   **limits("input_", axis=in_axis), **limits("output_", axis=out_axis))
        for scale in (1e-12, 1, 3e5, 1e12, 0, float("inf"), float("nan")):
            record("UniformRequantize", input=q, input_scales=f(scale), input_zero_points=i32(-3),
                   output_scales=f(1), output_zero_points=i32(5), Tout=tf.qint8, **limits("input_"),
                   **limits("output_", -100, 90))
    record("UniformRequantize", input=q, input_scales=f(1), input_zero_points=i32(0),
           output_scales=f(1), output_zero_points=i32(0), Tout=tf.qint32, **limits("input_"),
           **limits("output_"))

    x = (random.randint(-5000, 5000, (3, 4, 5))).astype(tf.qint32.as_numpy_dtype)
    for y, axes in ((x[::-1], (-1, -1, -1)), (x[0], (-1, -1, -1)), (x[:, :1], (-1, -1, -1)),
                    (x[0, 0, 0].reshape(()), (-1, -1, -1)), (x[::-1], (2, 2, 2)), (x[0], (2, 1, 2)),
                    (x[0, 0], (2, 0, 2)), (x[1], (2, 1, -1)), (x[1], (-1, 1, -1)),
                    (x[1], (2, 0, 2)), (x[:2], (-1, -1, -1)), (x[1], (-2, 1, -1))):
        of = [scales(None if axis < 0 else t.shape[axis]) for t, axis in zip((x, y, x), axes)]
        record("UniformQuantizedAdd", lhs=x, rhs=y, lhs_scales=of[0][0], lhs_zero_points=of[0][1],
               rhs_scales=of[1][0], rhs_zero_points=of[1][1], output_scales=of[2][0],
               output_zero_points=of[2][1], **limits("lhs_", axis=axes[0], **WIDE),
               **limits("rhs_", axis=axes[1], **WIDE),
               **limits("output_", -9000, 8000, axis=axes[2]))
    wide = quantized(tf.qint32, 2, 9)
    wide[0, :3] = i32([(1 << 31) - 1, -(1 << 31), (1 << 31) - 65]).astype(wide.dtype)
    record("UniformDequantize", input=wide, scales=f(1), zero_points=i32(0), Tout=tf.float32,
           **limits())
    record("UniformQuantizedAdd", lhs=wide, rhs=wide[:, ::-1], lhs_scales=f(0.5),
           lhs_zero_points=i32(7), rhs_scales=f(0.3), rhs_zero_points=i32(0), output_scales=f(1),
           output_zero_points=i32(3), **limits("lhs_"), **limits("rhs_"),
           **limits("output_", **WIDE))
    for axis, low, high in ((-1, i32(-100), i32(3000)), (1, i32([-9, 0, 99, 4000]), i32([9] * 4)),
                            (-1, i32([0]), i32([1])), (-1, i32(5), i32(-5))):
        scale, zero = scales(None if axis < 0 else 4)
        dtype = tf.qint32.as_numpy_dtype
        record("UniformQuantizedClipByValue", operand=x, min=low.astype(dtype),
               max=high.astype(dtype), scales=scale, zero_points=zero, **limits(axis=axis))


def uniform_dots(record):
    a, b = quantized(tf.qint8, 3, 7), quantized(tf.qint8, 7, 5)
    floats = random.randn(3, 7).astype("f4")
    floats[1] = 0
    for left, right, channels, out_channels, options in (
            (a, b, None, None, {}), (a, b, 5, None, {}), (a, b, 5, 5, {}), (a, b, None, 5, {}),
            (a[:0], b, None, None, {}), (a[:, :0], b[:0], 5, 5, {}), (a[:, :6], b, None, None, {}),
            (a, b, 4, None, {}), (a, b, None, None, limits("lhs_", axis=0)),
            (a, b, None, None, limits("rhs_", axis=0)), (a, b, 5, None, limits("rhs_", axis=-1)),
            (a[0], b, None, None, {}), (a, b, None, None, limits("output_", -300, 200))):
        of_rhs, of_out = scales(channels), scales(out_channels)
        rhs = {"rhs_scales": of_rhs[0], "rhs_zero_points": of_rhs[1]}
        axes = {**limits("lhs_"), **limits("rhs_", axis=-1 if channels is None else 1),
                **limits("output_", **WIDE, axis=-1 if out_channels is None else 1), **options}
        record("UniformQuantizedDot", lhs=left, rhs=right, lhs_scales=f(0.3),
               lhs_zero_points=i32(-4), **rhs, output_scales=of_out[0],
               output_zero_points=of_out[1], Tout=tf.qint32, **axes)
        left = floats[:left.shape[0], :left.shape[-1]] if left.ndim == 2 else floats[0]
        record("UniformQuantizedDotHybrid", rtol=1e-6, lhs=left, rhs=right, **rhs, Tout=tf.float32,
               **{k: v for k, v in axes.items() if k.startswith("rhs_")})
    for factor in (1e30, 1e-30, 1, -1):
        record("UniformQuantizedDotHybrid", rtol=1e-6, lhs=np.abs(floats) * np.float32(factor),
               rhs=b, rhs_scales=f(0.5), rhs_zero_points=i32(200), Tout=tf.float32, **limits("rhs_"))
    record("UniformQuantizedDotHybrid", lhs=floats, rhs=b, rhs_scales=f(0), rhs_zero_points=i32(0),
           Tout=tf.float32, **limits("rhs_"))


def uniform_convolutions(record):
    def dimensions(lhs, rhs, out):
        """From strings such as "bsf": batch, spatial, features; of rhs "oi" for features."""
        numbers = uniform_quant_ops_attr_pb2.UniformQuantizedConvolutionDimensionNumbersAttr()
        at = lambda text, letter: [i for i, c in enumerate(text) if c == letter]
        numbers.input_batch_dimension, = at(lhs, "b")
        numbers.input_feature_dimension, = at(lhs, "f")
        numbers.input_spatial_dimensions[:] = at(lhs, "s")
        numbers.kernel_input_feature_dimension, = at(rhs, "i")
        numbers.kernel_output_feature_dimension, = at(rhs, "o")
        numbers.kernel_spatial_dimensions[:] = at(rhs, "s")
        numbers.output_batch_dimension, = at(out, "b")
        numbers.output_feature_dimension, = at(out, "f")
        numbers.output_spatial_dimensions[:] = at(out, "s")
        return numbers.SerializeToString()

    def one(lhs, rhs, padding="SAME", channels=None, rhs_axis=0, out_channels=None, out_axis=1,
            lhs_zero=-4, **options):
        of_rhs, of_out = scales(channels), scales(out_channels)
        axes = {**limits("lhs_"), **limits("rhs_", axis=-1 if channels is None else rhs_axis),
                **limits("output_", **WIDE, axis=-1 if out_channels is None else out_axis)}
        common = {"padding": padding, "rhs_scales": of_rhs[0], "rhs_zero_points": of_rhs[1],
                  **options}
        q, k = quantized(tf.qint8, *lhs), quantized(tf.qint8, *rhs)
        record("UniformQuantizedConvolution", lhs=q, rhs=k, lhs_scales=f(0.3),
               lhs_zero_points=i32(lhs_zero), output_scales=of_out[0], output_zero_points=of_out[1],
               Tout=tf.qint32, **common, **axes)
        record("UniformQuantizedConvolutionHybrid", rtol=1e-6, rhs=k, Tout=tf.float32,
               lhs=random.randn(*lhs).astype("f4"), **common,
               **{k: v for k, v in axes.items() if k.startswith("rhs_")})

    image, kernel = (2, 4, 6, 5), (6, 4, 3, 2)
    for padding in ("SAME", "VALID"):
        one(image, kernel, padding)
        one(image, kernel, padding, window_strides=[2, 3], channels=6)
        one(image, kernel, padding, rhs_dilation=[2, 1], lhs_dilation=[1, 3], channels=6,
            out_channels=6)
    one(image, kernel, "EXPLICIT", explicit_padding=[1, 0, 2, 3], lhs_zero=-128)
    one(image, kernel, lhs_zero=300)
    one(image, (6, 2, 3, 2), feature_group_count=2, channels=6)
    one(image, kernel, batch_group_count=2)
    one((4, 4, 6, 5), (12, 2, 3, 2), feature_group_count=2, batch_group_count=4, channels=12)
    one((2, 3, 8), (4, 3, 3), window_strides=[2])
    one((1, 2, 4, 3, 5), (3, 2, 2, 3, 1), "VALID")
    one((2, 6, 5, 4), (3, 2, 4, 6), channels=6, rhs_axis=3, out_channels=6, out_axis=3,
        dimension_numbers=dimensions("bssf", "ssio", "bssf"))
    one((4, 6, 2, 5), (3, 6, 2, 4), rhs_axis=1, channels=6,
        dimension_numbers=dimensions("fsbs", "soci".replace("c", "s"), "sfbs"))
    for options in ({"padding": "FULL"}, {"explicit_padding": [1, 1, 1, 1]},
                    {"padding": "EXPLICIT", "explicit_padding": [1, 1]},
                    {"padding": "EXPLICIT", "explicit_padding": [1, -1, 0, 0]},
                    {"window_strides": [1]}, {"window_strides": [0, 1]}, {"lhs_dilation": [1]},
                    {"rhs_dilation": [1, 0]}, {"feature_group_count": 3},
                    {"feature_group_count": 0}, {"batch_group_count": 3}, {"channels": 5},
                    {"channels": 4, "rhs_axis": 1}, {"out_channels": 6},
                    {"channels": 6, "out_channels": 2, "out_axis": 0},
                    {"dimension_numbers": b"\x08"}):
        one(image, kernel, **options)
    one(image, (6, 4, 3))
    one((2, 4), (6, 4))
    one(image, (6, 4, 9, 2), "VALID")


def ranges(channels):
    """Ranges of an input of 8 bits, and of a filter: one, or one for each channel."""
    spread = () if channels is None else (channels,)
    return {"min_input": f(-0.7), "max_input": f(5.1),
            "min_filter": -np.asarray(random.rand(*spread) + 0.1, np.float32),
            "max_filter": np.asarray(random.rand(*spread) + 0.1, np.float32)}


def given(low, high):
    return {"min_freezed_output": f(low), "max_freezed_output": f(high)}


def fused_convolutions(record):
    biases = (random.randn(8) * 20).astype("f4"), quantized(tf.qint32, 8)
    biases[1][:] = random.randint(-100000, 100000, 8).astype(biases[1].dtype)
    conv = "QuantizedConv2D"

    def each(image, kernel, channels, unsigned, **window):
        x = {"input": image, "filter": Constant(kernel), **ranges(channels), **window}
        for bias in biases:
            record(conv + "WithBiasAndRequantize", **x, bias=Constant(bias), **given(-30, 40))
            record(conv + "WithBiasAndReluAndRequantize", **x, bias=Constant(bias), **given(0, 40))
        record(conv + "WithBias", **x, bias=Constant(biases[0]))
        record(conv + "WithBiasAndRelu", **x, bias=Constant(biases[0]))
        if not unsigned:
            return
        record(conv + "PerChannel", **x)
        record(conv + "AndRelu", **x)
        record(conv + "AndRequantize", **x, **given(-30, 40))
        record(conv + "AndReluAndRequantize", **x, **given(0, 40))
        shape = tf.nn.conv2d(np.zeros(image.shape, "f4"), np.zeros(kernel.shape, "f4"),
                             window["strides"], window["padding"]).shape
        record(conv + "WithBiasSumAndRelu", **x, bias=Constant(biases[0]),
               summand=Computed((random.randn(*shape) * 20).astype("f4")))
        for bias in biases:
            sum_of = {"min_summand": f(-3), "max_summand": f(20), **given(0, 40)}
            record(conv + "WithBiasSumAndReluAndRequantize", **x, bias=Constant(bias), **sum_of,
                   summand=Computed(quantized(tf.quint8, *shape)))
            record(conv + "WithBiasSignedSumAndReluAndRequantize", **x, bias=Constant(bias),
                   **sum_of, summand=Computed(quantized(tf.qint8, *shape)))

    kernel = quantized(tf.qint8, 3, 2, 5, 8)
    for dtype in (tf.quint8, tf.qint8):
        image = quantized(dtype, 2, 7, 6, 5)
        for channels in (None, 8):
            each(image, kernel, channels, dtype == tf.quint8, strides=[1, 1, 1, 1], padding="SAME")
            each(image, kernel, channels, dtype == tf.quint8, strides=[1, 2, 2, 1],
                 padding="VALID")
    common = {"input": quantized(tf.quint8, 2, 7, 6, 5), "filter": Constant(kernel),
              "bias": Constant(biases[0]), "strides": [1, 1, 1, 1]}
    for padding in ("SAME", "VALID"):
        record(conv + "WithBiasAndRelu", **common, **ranges(None), padding=padding,
               padding_list=[0, 0, 1, 2, 0, 1, 0, 0])
        record(conv + "WithBiasAndRelu", **common, **ranges(8), padding=padding,
               padding_list=[0] * 8, dilations=[1, 2, 2, 1])


def fused_depthwise(record):
    depthwise = "QuantizedDepthwiseConv2D"
    x = quantized(tf.quint8, 2, 7, 6, 4)
    for multiplier in (1, 2):
        kernel = Constant(quantized(tf.qint8, 3, 3, 4, multiplier))
        bias = Constant((random.randn(4 * multiplier) * 20).astype("f4"))
        for channels, stride in ((None, 1), (4 * multiplier, 2)):
            common = {"input": x, "filter": kernel, **ranges(channels), "padding": "SAME",
                      "strides": [1, stride, stride, 1]}
            record(depthwise, **common)
            record(depthwise + "WithBias", bias=bias, **common)
            record(depthwise + "WithBiasAndRelu", bias=bias, **common)
            record(depthwise + "WithBiasAndReluAndRequantize", bias=bias, **common, **given(0, 40))


def fused_matrix_products(record):
    matmul = "QuantizedMatMulWithBias"
    a, b = quantized(tf.quint8, 5, 17), quantized(tf.qint8, 17, 8)
    whole = quantized(tf.qint32, 8)
    whole[:] = random.randint(-100000, 100000, 8).astype(whole.dtype)
    for mode, low, bias in (("SCALED", 0, (random.randn(8) * 20).astype("f4")),
                            ("SCALED", 0, whole), ("MIN_FIRST", -0.7, whole)):
        common = {"a": a, "b": Constant(b), "bias": Constant(bias), "input_quant_mode": mode,
                  "min_a": f(low), "max_a": f(5.1), "min_b": f(-1.3), "max_b": f(1.1)}
        record(matmul, **common)
        if bias is not whole:
            record(matmul + "AndRelu", **common)
        record(matmul + "AndRequantize", **common, **given(-2, 40))
        record(matmul + "AndReluAndRequantize", **common, **given(0, 40))
        record(matmul + "AndDequantize", rtol=1e-5, atol=1e-5, Toutput=tf.float32, **common,
               **given(-2, 40))


def channels_and_resizing(record):
    x = quantized(tf.qint32, 2, 3, 3, 5)
    low, high = ((sign * random.rand(5) * 3).astype("f4") for sign in (-1, 1))
    for dtype, least, most in ((tf.qint8, -3, 4), (tf.quint8, 0, 5), (tf.quint8, -1, 0.1),
                               (tf.qint8, 0, 4)):
        record("RequantizePerChannel", input=x, input_min=low, input_max=high,
               requested_output_min=f(least), requested_output_max=f(most), out_type=dtype)
    for values, clip in ((x, 6.0), (x, 1e9), (x[:0], 6.0), (x[0], 6.0), (x[..., :4], 6.0)):
        record("RequantizationRangePerChannel", input=values, input_min=low, input_max=high,
               clip_value_max=clip)
    record("RequantizationRangePerChannel", input=np.zeros_like(x), input_min=low, input_max=high,
           clip_value_max=6.0)
    for dtype in (tf.quint8, tf.qint8):
        parts = [quantized(dtype, 1, 2, 2, n) for n in (3, 2)]
        for axis, ends in ((3, (1, 1)), (-1, (1, 2)), (3, (0.3, 0.2)), (1, (1, 1))):
            record("QuantizedConcatV2", values=parts, axis=i32(axis), input_mins=[f(-1), f(-0.5)],
                   input_maxes=[f(ends[0]), f(ends[1])])
    for dtype in (tf.quint8, tf.qint32, tf.float32):
        for channels in (1, 3, 4):
            images = (random.randn(2, 4, 5, channels).astype("f4") if dtype == tf.float32
                      else quantized(dtype, 2, 4, 5, channels))
            for size, corners, centers in (((7, 11), False, False), ((3, 9), True, False),
                                           ((9, 3), False, True), ((4, 5), False, True),
                                           ((6, 6), True, True), ((0, 3), False, False)):
                record("QuantizedResizeBilinear", rtol=1e-6, images=images, size=i32(size),
                       min=f(-1), max=f(2), align_corners=corners, half_pixel_centers=centers)


def main():
    recorder = Recorder()
    uniform_values(recorder.add)
    uniform_dots(recorder.add)
    uniform_convolutions(recorder.add)
    fused_convolutions(recorder.add)
    fused_depthwise(recorder.add)
    fused_matrix_products(recorder.add)
    channels_and_resizing(recorder.add)
    recorder.write(ROOT / "tests/data/ops")


if __name__ == "__main__":
    main()
