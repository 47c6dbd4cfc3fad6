#!/usr/bin/env python3
"""Records what TensorFlow answers to single ops, as conformance files in tests/data/ops.

usage: tools/record_op_cases.py      (needs tensorflow, protoc and Pillow)

A case is one node whose tensors are fed; tests/replay/conformance.proto has the format.
"""
import functools
import importlib
import io
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image
from tensorflow.python.framework import op_def_library

ROOT = pathlib.Path(__file__).resolve().parent.parent
random = np.random.RandomState(7)


def load_format():
    folder = tempfile.mkdtemp()
    subprocess.run(["protoc", f"--python_out={folder}", "-I", ROOT / "tests/replay",
                    "conformance.proto"], check=True)
    sys.path.insert(0, folder)
    return importlib.import_module("conformance_pb2")


def quantized(dtype, *shape):
    """Random values of a quantised dtype, over its whole range."""
    info = np.iinfo({"quint8": "u1", "qint8": "i1", "qint32": "i4"}[dtype.name])
    return random.randint(info.min, info.max + 1, shape, "i8").astype(dtype.as_numpy_dtype)


class Constant:
    """An argument that is a constant of the graph."""

    def __init__(self, value):
        self.value = np.asarray(value)


class Computed(Constant):
    """An argument that a node of the graph computes: some kernels want its memory."""


class Recorder:
    """Cases by op."""

    def __init__(self):
        self.format = load_format()
        self.files = {}

    def add(self, op, rtol=0.0, atol=0.0, known_ranks=False, **arguments):
        """One call of tf.raw_ops.<op>: numpy arrays are fed, lists of them are lists of inputs.

        The graph does not know their shapes; with known_ranks, all ranks and integers' shapes."""
        feeds = {}

        def feed(value):
            if isinstance(value, Computed):
                tensor = feed(value.value)
                return tf.concat([tensor[:1], tensor[1:]], 0)
            if isinstance(value, Constant):
                return tf.constant(value.value)
            if isinstance(value, np.ndarray):
                name = f"in{len(feeds)}"
                ranks = value.shape if value.dtype.kind == "i" else [None] * value.ndim
                tensor = tf.compat.v1.placeholder(value.dtype, ranks if known_ranks else None, name)
                feeds[tensor] = value
                return tensor
            if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
                return [feed(v) for v in value]
            return value

        with tf.Graph().as_default() as graph:
            call = {name: feed(value) for name, value in arguments.items()}
            file = self.files.setdefault(op, self.format.OpCases(
                op=op, tf_version=tf.__version__, profile="repository"))
            case = file.cases.add(name=f"{len(file.cases):03}", rtol=rtol, atol=atol)
            step = case.steps.add()
            try:
                make = getattr(tf.raw_ops, op, functools.partial(op_def_library.apply_op, op))
                out = make(name="out", **call)
                outputs = tf.nest.flatten(out)
                with tf.compat.v1.Session(graph=graph) as session:
                    values = session.run(outputs, feeds)
            except tf.errors.OpError as error:
                step.error_code = [n for n, c in vars(tf.errors).items()
                                   if isinstance(c, int) and c == error.error_code][0]
                outputs, values = graph.get_operation_by_name("out").outputs, []
            case.graph_def = graph.as_graph_def().SerializeToString(deterministic=True)
            for tensor, value in feeds.items():
                proto = tf.make_tensor_proto(value, tensor.dtype)
                step.feeds.add(tensor=tensor.name, value=proto.SerializeToString(deterministic=True))
            step.fetches.extend(t.name for t in outputs)
            for tensor, value in zip(outputs, values):
                proto = tf.make_tensor_proto(value, tensor.dtype)
                step.expected.append(proto.SerializeToString(deterministic=True))

    def write(self, folder):
        folder.mkdir(exist_ok=True)
        for op, file in self.files.items():
            (folder / f"{op}.pb").write_bytes(file.SerializeToString(deterministic=True))
            print(op, len(file.cases), [c.steps[0].error_code for c in file.cases])


def f(value):
    return np.array(value, np.float32)


def quantized_products(record):
    u8 = tf.quint8
    a, b = quantized(u8, 5, 7), quantized(u8, 7, 3)
    for left, right in (((-1, 1), (0, 2)), ((-3.5, 0.25), (-1, 7)), ((0, 0), (0, 1)),
                        ((1, 2), (3, 9))):
        record("QuantizedMatMul", a=a, b=b, min_a=f(left[0]), max_a=f(left[1]), min_b=f(right[0]),
               max_b=f(right[1]), Toutput=tf.qint32)
        x = quantized(u8, 2, 5, 6, 3)
        for padding, stride in (("SAME", 1), ("VALID", 2), ("SAME", 2)):
            record("QuantizedConv2D", input=x, filter=quantized(u8, 3, 2, 3, 4),
                   min_input=f(left[0]), max_input=f(left[1]), min_filter=f(right[0]),
                   max_filter=f(right[1]), strides=[1, stride, stride, 1], padding=padding)
        for op in ("QuantizedAdd", "QuantizedMul"):
            for y in (quantized(u8, 5, 7), quantized(u8, 7), quantized(u8)):
                record(op, x=a, y=y, min_x=f(left[0]), max_x=f(left[1]), min_y=f(right[0]),
                       max_y=f(right[1]))
    for ta, tb, shapes in ((True, False, ((7, 5), (7, 3))), (False, True, ((5, 7), (3, 7))),
                           (True, True, ((7, 5), (3, 7))), (False, False, ((5, 7), (6, 3)))):
        record("QuantizedMatMul", a=quantized(u8, *shapes[0]), b=quantized(u8, *shapes[1]),
               min_a=f(-1), max_a=f(1), min_b=f(-2), max_b=f(1), transpose_a=ta, transpose_b=tb,
               Toutput=tf.qint32)


def quantized_values(record):
    x = quantized(tf.quint8, 2, 3, 4, 5)
    wide = quantized(tf.qint32, 2, 3, 5)
    ranges = ((-1, 1), (0, 6), (-8, 8), (-100, 3), (0.5, 9), (0, 0))
    for low, high in ranges:
        low, high = f(low), f(high)
        for dtype in (tf.quint8, tf.qint8):
            record("QuantizedBiasAdd", input=quantized(dtype, 4, 5), bias=quantized(dtype, 5),
                   min_input=low, max_input=high, min_bias=f(-0.5), max_bias=f(2),
                   out_type=tf.qint32)
            record("Requantize", input=wide, input_min=low, input_max=high,
                   requested_output_min=f(-0.3), requested_output_max=f(1.1), out_type=dtype)
            for op in ("QuantizedAvgPool", "QuantizedMaxPool"):
                for padding in ("SAME", "VALID"):
                    record(op, input=quantized(dtype, 1, 5, 4, 3), min_input=low, max_input=high,
                           ksize=[1, 3, 2, 1], strides=[1, 2, 1, 1], padding=padding)
        for op in ("QuantizedRelu", "QuantizedRelu6"):
            record(op, features=x, min_features=low, max_features=high, out_type=tf.quint8)
            record(op, features=wide, min_features=low, max_features=high, out_type=tf.qint32)
        record("QuantizeDownAndShrinkRange", input=wide, input_min=low, input_max=high,
               out_type=tf.quint8)
        record("RequantizationRange", input=wide, input_min=low, input_max=high)
        record("QuantizedInstanceNorm", rtol=1e-5, x=x, x_min=low, x_max=high)
        record("QuantizedReshape", tensor=x, shape=np.array([6, -1], np.int32), input_min=low,
               input_max=high)
        channel = [quantized(tf.quint8, 5) for _ in range(4)]
        record("QuantizedBatchNormWithGlobalNormalization", t=x, t_min=low, t_max=high,
               m=channel[0], m_min=f(-1), m_max=f(1), v=channel[1], v_min=f(0), v_max=f(2),
               beta=channel[2], beta_min=f(-1), beta_max=f(3), gamma=channel[3], gamma_min=f(-1),
               gamma_max=f(1), out_type=tf.qint32, variance_epsilon=0.001,
               scale_after_normalization=bool(high > 1))
        for values in ([x, x[:, :1]], [wide, wide[:, :2]]):
            record("QuantizedConcat", concat_dim=np.array(1, np.int32), values=values,
                   input_mins=[low, f(-2)], input_maxes=[high, f(3)])
    record("QuantizedInstanceNorm", rtol=1e-5, x=x, x_min=f(-1), x_max=f(1), output_range_given=True,
           given_y_min=-1.0, given_y_max=1.5)
    record("QuantizedInstanceNorm", rtol=1e-5, x=x, x_min=f(-1), x_max=f(1), variance_epsilon=1000.0,
           min_separation=10.0)
    record("Requantize", input=wide, input_min=f(-1), input_max=f(1),
           requested_output_min=f(1), requested_output_max=f(2), out_type=tf.quint8)


def candidate_samplers(record):
    classes = np.array([[0, 3], [5, 2]], np.int64)
    for op in ("UniformCandidateSampler", "LogUniformCandidateSampler"):
        for unique, num_sampled, range_max in ((False, 5, 9), (True, 5, 16), (True, 9, 9),
                                               (False, 7, 1000), (True, 10, 9)):
            record(op, rtol=1e-6, true_classes=classes, num_true=2, num_sampled=num_sampled,
                   unique=unique, range_max=range_max, seed=3, seed2=11)


def batching(record):
    @tf.function
    def scale(x, y):
        return x * y, x + y

    f2 = scale.get_concrete_function(tf.TensorSpec([None, 2]), tf.TensorSpec([]))
    for rows in (3, 8, 9):
        record("BatchFunction", in_tensors=[random.rand(rows, 2).astype("f4")],
               captured_tensors=[f(2)], f=f2, num_batch_threads=1, max_batch_size=8,
               batch_timeout_micros=10, Tout=[tf.float32, tf.float32], allowed_batch_sizes=[4, 8])
    record("Unbatch", batched_tensor=random.rand(5, 2),
           batch_index=np.array([[7, 1, 3]], np.int64), id=np.array(7, np.int64),
           timeout_micros=10)
    record("DeviceIndex", device_names=["GPU", "CPU"])
    record("DeviceIndex", device_names=["GPU"])


def fake_quant_gradients(record):
    gradients, inputs = ((random.rand(4, 3) * 8 - 4).astype("f4") for _ in range(2))
    inputs[0] = [float("nan"), float("inf"), -float("inf")]
    for bits, narrow in ((8, False), (4, True)):
        options = {"num_bits": bits, "narrow_range": narrow}
        record("FakeQuantWithMinMaxArgsGradient", gradients=gradients, inputs=inputs, min=-2.0,
               max=1.7, **options)
        for low, high in ((-2, 1.7), (0, 0), (1, 3)):
            record("FakeQuantWithMinMaxVarsGradient", rtol=1e-6, gradients=gradients,
                   inputs=inputs, min=f(low), max=f(high), **options)
        record("FakeQuantWithMinMaxVarsPerChannelGradient", rtol=1e-6, gradients=gradients,
               inputs=inputs, min=f([-1, 0, -3]), max=f([2, 0, 0.5]), **options)


def signed_filters(record):
    for stride, padding in ((1, "SAME"), (2, "VALID")):
        record("QuantizedConv2D", input=quantized(tf.quint8, 2, 5, 6, 3),
               filter=Constant(quantized(tf.qint8, 3, 2, 3, 4)), min_input=f(-0.7),
               max_input=f(5.1), min_filter=f(-1.3), max_filter=f(1.1),
               strides=[1, stride, stride, 1], padding=padding)


def mirrored_convolutions(record_any):
    def record(op, **arguments):
        record_any(op, known_ranks=True, **arguments)

    x, w = (random.rand(*shape).astype("f4") for shape in ((1, 7, 6, 2), (3, 2, 2, 5)))
    edges = np.array([[0, 0], [1, 2], [2, 1], [0, 0]], np.int32)
    for mode in ("REFLECT", "SYMMETRIC"):
        for padding in ("VALID", "SAME"):
            for stride in (1, 2, 4, 5):
                options = {"mode": mode, "padding": padding, "strides": [1, stride, stride, 1]}
                record("FusedPadConv2D", rtol=1e-5, input=x, paddings=edges, filter=w, **options)
                for corners in (False, True):
                    size = np.array((9, 4) if stride % 2 else (3, 13), np.int32)
                    record("FusedResizeAndPadConv2D", rtol=1e-5, input=x, size=size,
                           paddings=edges, filter=w, resize_align_corners=corners, **options)
    options = {"mode": "REFLECT", "padding": "SAME", "strides": [1, 1, 1, 1]}
    for dtype, rtol in ((np.float64, 1e-12), (np.float16, 0.01)):
        record("FusedPadConv2D", rtol=rtol, input=x.astype(dtype), paddings=edges,
               filter=w.astype(dtype), **options)
        record("FusedResizeAndPadConv2D", rtol=rtol, input=x.astype(dtype), paddings=edges,
               filter=w.astype(dtype), size=np.array([5, 9], np.int32), **options)
    infinite = x.copy()
    infinite[0, 0, 0] = float("inf"), float("nan")
    for values, paddings, kernel in (
            (infinite, edges, w), (x[:0], edges, w), (x, edges + np.int32(6), w), (x, -edges, w),
            (x, edges, w[:, :, :1]), (x, edges, w[..., :0])):
        record("FusedPadConv2D", rtol=1e-5, input=values, paddings=paddings, filter=kernel, **options)
    record("FusedResizeAndPadConv2D", input=x, size=np.array([0, 3], np.int32), paddings=edges,
           filter=w, **options)
    record("FusedPadConv2D", input=x, paddings=edges, filter=np.ones((20, 1, 2, 1), "f4"),
           mode="REFLECT", padding="VALID", strides=[1, 1, 1, 1])


def convolutions(record):
    images = random.rand(2, 3, 5, 6, 4).astype("f4")
    filters = random.rand(3, 2, 4, 3).astype("f4"), random.rand(2, 3, 2, 4, 3).astype("f4")
    ones = [1, 1, 1, 1]
    record("Conv", rtol=1e-5, input=images[0], filter=filters[0], strides=[1, 2, 1, 1],
           padding="SAME")
    record("Conv", rtol=1e-5, input=images[0], filter=filters[0], strides=ones, padding="VALID",
           dilations=[1, 1, 2, 1])
    record("Conv", rtol=1e-5, input=images[0], filter=filters[0], strides=ones, padding="EXPLICIT",
           explicit_paddings=[0, 0, 1, 2, 0, 1, 0, 0])
    for batch_dims, values in ((2, images), (0, images[0, 0]), (4, images[None, None])):
        record("Conv", rtol=1e-5, input=values, filter=filters[0], strides=ones, padding="SAME",
               batch_dims=batch_dims)
    for dtype, rtol in (("f4", 1e-5), ("f2", 0.01), ("f8", 1e-12), ("i4", 0)):
        for value in (images, images[None]):
            record("Conv", rtol=rtol, input=(value * 9).astype(dtype), strides=[1, 1, 2, 1, 1],
                   filter=(filters[1] * 9).astype(dtype), padding="SAME",
                   batch_dims=value.ndim - 4)
    record("Conv", input=images[0, :0], filter=filters[0], strides=ones, padding="SAME")
    for values, kernel, change in (
            (images[0], filters[0], {"groups": 2}), (images[0], filters[0][:, :, :2], {}),
            (images[0], filters[0][..., :0], {}), (images, filters[0], {}),
            (images[0], filters[0], {"strides": [1, 1, 1]}),
            (images[0], filters[0], {"strides": [1, 0, 1, 1]}),
            (images[0], filters[0], {"dilations": [1, 1]}),
            (images[0], filters[0], {"batch_dims": -1})):
        record("Conv", input=values, filter=kernel, padding="SAME", **{"strides": ones, **change})


def clustering(record):
    points, centers = (random.randn(n, 6).astype("f4") for n in (7, 20))
    for k in (1, 3, 20, 50, 0):
        record("NearestNeighbors", rtol=1e-4, points=points, centers=centers,
               k=np.array(k, np.int64))
    for x, c in ((points[:0], centers), (points, centers[:, :5]), (points, centers[:0]),
                 (points[0], centers)):
        record("NearestNeighbors", points=x, centers=c, k=np.array(2, np.int64))


def message_fields(record):
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", package="p.q", syntax="proto2")
    enum = file.enum_type.add(name="E")
    for name, number in (("X", 5), ("Y", -7)):
        enum.value.add(name=name, number=number)
    message = file.message_type.add(name="M")
    message.nested_type.add(name="N").field.add(name="z", number=1, label=1, type=kinds.TYPE_INT32)
    dtypes = {}
    for kind, dtype, default in (
            ("DOUBLE", "f8", "1.5"), ("FLOAT", "f4", "-inf"), ("INT64", "i8", "-9"),
            ("UINT64", "u8", "18446744073709551615"), ("INT32", "i4", "-3"), ("FIXED64", "u8", "8"),
            ("FIXED32", "u4", "4294967295"), ("BOOL", "?", "true"), ("STRING", "S", "a\\nb"),
            ("MESSAGE", "S", ""), ("BYTES", "S", "a\\n\\001\\377\\\""), ("UINT32", "u4", "7"),
            ("ENUM", "i4", "Y"), ("SFIXED32", "i4", "-5"), ("SFIXED64", "i8", "5"),
            ("SINT32", "i4", "-6"), ("SINT64", "i8", "6")):
        for label, prefix in ((1, "one"), (3, "many"), (1, "set")):
            name = f"{prefix}_{kind.lower()}"
            field = message.field.add(name=name, number=len(message.field) + 1, label=label,
                                      type=getattr(kinds, f"TYPE_{kind}"))
            if kind in ("MESSAGE", "ENUM"):
                field.type_name = {"MESSAGE": ".p.q.M.N", "ENUM": ".p.q.E"}[kind]
            if prefix == "set" and default:
                field.default_value = default
            if kind in ("SINT32", "FLOAT") and prefix == "many":
                field.options.packed = True
            dtypes[name] = tf.string if dtype == "S" else tf.as_dtype(np.dtype(dtype))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = message_factory.GetMessageClass(pool.FindMessageTypeByName("p.q.M"))
    some, more = make(), make()
    for name in dtypes:
        value = {"string": "x", "bytes": b"y\0", "bool": True, "enum": -7, "float": 0.5,
                 "double": 0.25}.get(name.split("_")[1], 3)
        if "_message" in name:
            continue
        if name.startswith("many"):
            getattr(some, name).extend([value] * 3)
            getattr(more, name).append(value)
        else:
            setattr(some, name, value)
    some.one_message.z = 4
    some.many_message.add().z = -1
    descriptors = b"bytes://" + descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    common = {"message_type": "p.q.M", "descriptor_source": descriptors}
    serialized = np.array([[some.SerializeToString(), more.SerializeToString(), b""]], object)
    for sanitize in (False, True):
        record("DecodeProtoV2", bytes=serialized, field_names=list(dtypes),
               output_types=list(dtypes.values()), sanitize=sanitize, **common)
    number = message.field[1].number << 3 | 2
    packed = bytes([number, 16]) + np.array([1.5, 2.5]).tobytes()
    wrong = bytes([number & ~7, 9]) + bytes([message.field[0].number << 3 | 2, 8]) + bytes(8)
    for one in (packed, packed + packed, wrong, packed[:-1], b"\x0a", b"\x9a\x7f\x01x"):
        record("DecodeProtoV2", bytes=np.array(one, object), field_names=["many_double", "one_double"],
               output_types=[tf.float64, tf.float64], **common)
    record("DecodeProtoV2", bytes=np.array([b""], object), field_names=["z"],
           output_types=[tf.int64], **{**common, "message_type": "p.q.M.N"})
    example = tf.train.SequenceExample()
    example.context.feature["a"].float_list.value.append(1.5)
    record("DecodeProtoV2", bytes=np.array([example.SerializeToString()], object),
           message_type="tensorflow.SequenceExample", field_names=["feature_lists", "context"],
           output_types=[tf.string, tf.string])
    record("DecodeProtoV2", bytes=np.array(example.context.SerializeToString(), object),
           message_type="tensorflow.Features", field_names=["feature"], output_types=[tf.string])
    names = [name for name in dtypes if not name.startswith("set")]
    sizes = random.randint(0, 3, (2, len(names))).astype("i4")
    values = []
    for name in names:
        dtype = dtypes[name]
        value = (np.array([[b"a", b""], [b"cd", b"\\xff"]], object) if dtype == tf.string else
                 (random.randn(2, 2) * 1000).astype(dtype.as_numpy_dtype))
        if name.endswith("string"):
            value[1, 1] = b"e"
        values.append(value)
    for count, kinds_of in ((len(names), {}), (1, {"sizes": np.array([[3], [0]], np.int32)}),
                            (1, {"sizes": np.array([[1, 0]], np.int32)}),
                            (2, {"field_names": ["none", names[1]]}), (2, {"values": values[:1]}),
                            (1, {"values": [values[0][0]]}), (1, {"field_names": ["one_bool"]}),
                            (1, {"message_type": "q.M"})):
        record("EncodeProto", **{"sizes": sizes[:, :count], "values": values[:count],
                                 "field_names": names[:count], **common, **kinds_of})
    record("EncodeProto", sizes=np.array([[2]], np.int32), values=[np.array([[1.5, 2, 3]], "f4")],
           field_names=["value"], message_type="tensorflow.FloatList")
    for change in ({"message_type": "q.M"}, {"field_names": ["none"]}, {"message_format": "json"},
                   {"output_types": [tf.float32]}, {"descriptor_source": "local://"},
                   {"descriptor_source": ""}, {"descriptor_source": "/none"},
                   {"output_types": [tf.float64, tf.int32]}, {"bytes": np.array([], object)}):
        record("DecodeProtoV2", **{"bytes": np.array([b""], object), "field_names": ["one_double"],
                                   "output_types": [tf.float64], **common, **change})


def sobol_samples(record):
    for dim, num_results, skip, dtype in (
            (1, 40, 0, tf.float64), (7, 33, 5, tf.float32), (3, 1, 2**24 - 1, tf.float32),
            (1111, 1, 0x2aaaaaa9, tf.float64), (1111, 1, 2**29 - 2, tf.float32),
            (60, 2, 2**30 - 4, tf.float32), (60, 2, 2**30 - 3, tf.float32),
            (2, 5, 2**31 - 7, tf.float64),
            (0, 1, 0, tf.float32), (-1, 0, -1, tf.float32), (21201, 1, 0, tf.float32),
            (1, 0, 0, tf.float32), (1, -1, 0, tf.float32), (1, 1, -1, tf.float32),
            (1, 1, 2**31 - 2, tf.float32), (1, 2**31 - 1, 2**31 - 1, tf.float32)):
        record("SobolSample", dim=np.array(dim, "i4"), num_results=np.array(num_results, "i4"),
               skip=np.array(skip, "i4"), dtype=dtype)


def gradients_of_volumes(record):
    x = random.normal(0, 1, (2, 5, 4, 6, 3)).astype("f4")
    even = np.round(x)  # where the largest is often there several times
    for window, stride, padding in ((2, 2, "SAME"), (3, 1, "SAME"), (3, 2, "VALID"), (2, 1, "VALID")):
        common = dict(ksize=[1, window, window, 2, 1], strides=[1, stride, stride, stride, 1],
                      padding=padding)
        for volume in (x, even):
            y = tf.raw_ops.MaxPool3D(input=volume, **common).numpy()
            grad = random.normal(0, 1, y.shape).astype("f4")
            record("MaxPool3DGrad", orig_input=volume, orig_output=y, grad=grad, rtol=1e-5,
                   atol=1e-6, **common)
        record("AvgPool3DGrad", orig_input_shape=np.array(x.shape, "i4"), grad=grad, rtol=1e-5,
               atol=1e-6, **common)


def batch_norm_gradients(record):
    """With TF_ENABLE_ONEDNN_OPTS=0: the reserved outputs, which nobody reads, are scalars else."""
    for training in (True, False):
        for shape, data_format in (((2, 5, 4, 6), "NHWC"), ((3, 3, 2, 2, 5), "NDHWC"),
                                   ((2, 5, 3, 4), "NCHW"), ((1, 1, 1, 3), "NHWC")):
            if data_format == "NCHW" and not training:
                continue  # not on CPUs
            x = random.normal(1, 2, shape).astype("f4")
            channels = shape[1] if data_format == "NCHW" else shape[-1]
            values = dict(
                y_backprop=random.normal(0, 1, shape).astype("f4"), x=x,
                scale=random.normal(1, 1, channels).astype("f4"),
                reserve_space_1=random.normal(1, 1, channels).astype("f4"),
                reserve_space_2=random.uniform(0.5, 4, channels).astype("f4"),
                data_format=data_format, epsilon=0.01, is_training=training)
            near = dict(rtol=1e-5, atol=1e-5)
            record("FusedBatchNormGradV3", reserve_space_3=f([]), **near, **values)
            if len(shape) == 5:
                continue
            record("FusedBatchNormGradV2", **near, **values)
            record("FusedBatchNormGrad", **near, **values)
    half = {n: v.astype("f2") if n in ("y_backprop", "x") else v for n, v in values.items()}
    record("FusedBatchNormGradV3", reserve_space_3=f([]), rtol=2e-3, atol=2e-3, **half)
    for change in ({"scale": f([1, 2])}, {"y_backprop": np.zeros((1, 1, 2, 3), "f4")}):
        record("FusedBatchNormGradV2", **{**values, **change})


def webp_images(record):
    def picture(channels, phase=0):
        y, x, c = np.mgrid[0:17, 0:23, 0:channels]
        wave = 127 + 90 * np.sin(0.4 * x + 0.3 * y * (c + 1) + phase)
        return Image.fromarray((wave + noise.randint(-30, 30, wave.shape)).astype("u1"))

    def encoded(image, **options):
        out = io.BytesIO()
        image.save(out, "WEBP", **options)
        return out.getvalue()

    noise = np.random.RandomState(3)
    frames = [picture(4, phase) for phase in range(3)]
    lossy, lossless = encoded(picture(3), quality=70), encoded(picture(3), lossless=True)
    alpha, lossless_alpha = encoded(picture(4), quality=90), encoded(picture(4), lossless=True)
    moving = encoded(frames[0], save_all=True, append_images=frames[1:], duration=40)
    broken = [lossy[:60], lossless[:200], moving[:-300], lossy[:16], b"RIFF\x10\0\0\0WEBPVP8 ",
              b"RIFF\x04\0\0\0WEBP"]
    for data in [lossy, lossless, alpha, lossless_alpha, moving, *broken]:
        contents = np.array(data, object)
        for channels in (0, 3, 4):
            record("DecodeWebP", contents=contents, channels=channels)
            for expand in (True, False):
                record("DecodeImage", contents=contents, channels=channels,
                       expand_animations=expand)
        for change in ({"channels": 1}, {"dtype": tf.float32}, {"dtype": tf.uint16}):
            record("DecodeImage", contents=contents, **change)
    for data in (lossy, alpha):
        record("DecodeGif", contents=np.array(data, object))


def main():
    recorder = Recorder()
    quantized_products(recorder.add)
    quantized_values(recorder.add)
    candidate_samplers(recorder.add)
    batching(recorder.add)
    fake_quant_gradients(recorder.add)
    mirrored_convolutions(recorder.add)
    convolutions(recorder.add)
    signed_filters(recorder.add)
    clustering(recorder.add)
    message_fields(recorder.add)
    sobol_samples(recorder.add)
    gradients_of_volumes(recorder.add)
    batch_norm_gradients(recorder.add)
    webp_images(recorder.add)
    recorder.write(ROOT / "tests/data/ops")


if __name__ == "__main__":
    main()
