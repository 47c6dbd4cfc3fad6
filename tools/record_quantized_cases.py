#!/usr/bin/env python3
"""Records what TensorFlow answers to ops on quantised values, as tools/record_op_cases.py does.

usage: tools/record_quantized_cases.py      (needs tensorflow and protoc)
"""
import numpy as np
import tensorflow as tf
from tensorflow.core.util.quantization import uniform_quant_ops_attr_pb2

from record_op_cases import ROOT, Recorder, f, quantized

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


def main():
    recorder = Recorder()
    uniform_values(recorder.add)
    uniform_dots(recorder.add)
    uniform_convolutions(recorder.add)
    recorder.write(ROOT / "tests/data/ops")


if __name__ == "__main__":
    main()
