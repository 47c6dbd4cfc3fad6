#!/usr/bin/env python3
"""Networks beside those of ../shared/bench/make_models.py, for the same race: what people run that
is of another kind. Arguments, format and needs are that script's.

usage: benchmarks/networks.py --out DIR [--only a,b] [--list] [--force]
"""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT.parent / "shared/bench"))
import make_models  # noqa: E402
from make_models import MODELS, f32, ids, image, keras3, model, randomize_batchnorm  # noqa: E402

MODELS.clear()


def export(np, m, path):
    randomize_batchnorm(np, m)
    m.export(path, verbose=False)


def app(name, cls, size=224):
    def build(path):
        np, tf, keras = keras3()
        m = getattr(keras.applications, cls)(weights=None, input_tensor=keras.Input((size, size, 3), name="x"))
        export(np, m, path)
    model(name, {"b1": {"x": image(1, size, size, 3)}}, cls)(build)


app("mobilenet_v3s", "MobileNetV3Small")
app("mobilenet_v3l", "MobileNetV3Large")
app("densenet121", "DenseNet121")
app("inception_v3", "InceptionV3", 299)
app("convnext_tiny", "ConvNeXtTiny")
app("efficientnetv2_b0", "EfficientNetV2B0")
app("nasnet_mobile", "NASNetMobile")
app("xception", "Xception", 299)
app("mobilenet_v1", "MobileNet")


def network(name, cases, note):
    def deco(fn):
        def build(path):
            np, tf, keras = keras3()
            export(np, fn(np, tf, keras, keras.layers), path)
        model(name, cases, note)(build)
        return fn
    return deco


@network("bigru", {"b1": {"x": f32(1, 100, 40)}, "b8": {"x": f32(8, 100, 40)}}, "two bidirectional GRU(96) over features")
def bigru(np, tf, keras, L):
    x = keras.Input((100, 40), name="x")
    h = L.Bidirectional(L.GRU(96, return_sequences=True))(x)
    h = L.Bidirectional(L.GRU(96))(h)
    return keras.Model(x, L.Dense(12, activation="softmax")(h))


@network("bilstm_tagger", {"b1": {"t": ids(20000, 1, 50)}, "b16": {"t": ids(20000, 16, 50)}}, "BiLSTM tagger")
def bilstm(np, tf, keras, L):
    x = keras.Input((50,), dtype="int32", name="t")
    h = L.Embedding(20000, 100)(x)
    h = L.Bidirectional(L.LSTM(200, return_sequences=True))(h)
    return keras.Model(x, L.TimeDistributed(L.Dense(20, activation="softmax"))(h))


@network("tcn", {"b1": {"x": f32(1, 256, 32)}, "b8": {"x": f32(8, 256, 32)}}, "dilated causal Conv1D residual net")
def tcn(np, tf, keras, L):
    x = keras.Input((256, 32), name="x")
    h = L.Conv1D(64, 1)(x)
    for d in (1, 2, 4, 8, 16, 32):
        y = L.Conv1D(64, 3, padding="causal", dilation_rate=d, activation="relu")(h)
        y = L.Conv1D(64, 3, padding="causal", dilation_rate=d, activation="relu")(y)
        h = L.Activation("relu")(L.Add()([h, y]))
    return keras.Model(x, L.Dense(10)(L.GlobalAveragePooling1D()(h)))


@network("vit_tiny", {"b1": {"x": image(1, 224, 224, 3)}}, "ViT tiny/16: 12 layers 192")
def vit(np, tf, keras, L):
    x = keras.Input((224, 224, 3), name="x")
    h = L.Reshape((196, 192))(L.Conv2D(192, 16, 16)(x))
    for _ in range(12):
        n = L.LayerNormalization()(h)
        h = L.Add()([h, L.MultiHeadAttention(3, 64)(n, n)])
        n = L.LayerNormalization()(h)
        h = L.Add()([h, L.Dense(192)(L.Dense(768, activation="gelu")(n))])
    return keras.Model(x, L.Dense(1000)(L.GlobalAveragePooling1D()(L.LayerNormalization()(h))))


@network("espcn", {"b1": {"x": image(1, 128, 128, 3)}}, "super resolution, depth_to_space")
def espcn(np, tf, keras, L):
    x = keras.Input((128, 128, 3), name="x")
    h = L.Conv2D(64, 5, padding="same", activation="relu")(x)
    h = L.Conv2D(64, 3, padding="same", activation="relu")(h)
    h = L.Conv2D(32, 3, padding="same", activation="relu")(h)
    h = L.Conv2D(27, 3, padding="same")(h)
    return keras.Model(x, L.Lambda(lambda t: tf.nn.depth_to_space(t, 3))(h))


@network("style", {"b1": {"x": image(1, 128, 128, 3)}}, "style transfer: reflect pads, instance norms, residuals, transposed convolutions")
def style(np, tf, keras, L):
    x = keras.Input((128, 128, 3), name="x")
    inorm = lambda h: L.GroupNormalization(groups=-1, epsilon=1e-3)(h)
    pad = lambda h, p: L.Lambda(lambda t: tf.pad(t, [[0, 0], [p, p], [p, p], [0, 0]], "REFLECT"))(h)
    h = L.Activation("relu")(inorm(L.Conv2D(32, 9)(pad(x, 4))))
    h = L.Activation("relu")(inorm(L.Conv2D(64, 3, 2, padding="same")(h)))
    h = L.Activation("relu")(inorm(L.Conv2D(128, 3, 2, padding="same")(h)))
    for _ in range(5):
        y = L.Activation("relu")(inorm(L.Conv2D(128, 3)(pad(h, 1))))
        h = L.Add()([h, inorm(L.Conv2D(128, 3)(pad(y, 1)))])
    h = L.Activation("relu")(inorm(L.Conv2DTranspose(64, 3, 2, padding="same")(h)))
    h = L.Activation("relu")(inorm(L.Conv2DTranspose(32, 3, 2, padding="same")(h)))
    return keras.Model(x, L.Conv2D(3, 9, activation="tanh")(pad(h, 4)))


@network("crnn", {"b1": {"x": image(1, 32, 128, 1)}}, "OCR: convolutions, two BiLSTM(128), softmax")
def crnn(np, tf, keras, L):
    x = keras.Input((32, 128, 1), name="x")
    h = x
    for i, n in enumerate((32, 64, 128, 128)):
        h = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(n, 3, padding="same")(h)))
        h = L.MaxPooling2D((2, 2) if i < 2 else (2, 1))(h)
    h = L.Reshape((32, 256))(L.Permute((2, 1, 3))(h))
    for _ in range(2):
        h = L.Bidirectional(L.LSTM(128, return_sequences=True))(h)
    return keras.Model(x, L.Dense(80, activation="softmax")(h))


@network("conv3d_net", {"b1": {"x": image(1, 16, 56, 56, 3)}}, "video: 3-D convolutions")
def conv3d_net(np, tf, keras, L):
    x = h = keras.Input((16, 56, 56, 3), name="x")
    for n in (16, 32, 64):
        h = L.Conv3D(n, 3, padding="same", activation="relu")(h)
        h = L.MaxPooling3D(2)(h)
    return keras.Model(x, L.Dense(10)(L.GlobalAveragePooling3D()(h)))


@network("pointnet", {"b1": {"x": f32(1, 1024, 3)}}, "shared MLPs over points, max")
def pointnet(np, tf, keras, L):
    x = h = keras.Input((1024, 3), name="x")
    for n in (64, 64, 128, 1024):
        h = L.Activation("relu")(L.BatchNormalization()(L.Conv1D(n, 1)(h)))
    h = L.GlobalMaxPooling1D()(h)
    for n in (512, 256):
        h = L.Activation("relu")(L.BatchNormalization()(L.Dense(n)(h)))
    return keras.Model(x, L.Dense(40)(h))


@network("dcgan", {"b1": {"x": f32(1, 100)}, "b16": {"x": f32(16, 100)}}, "generator: dense, transposed convolutions with batch norms")
def dcgan(np, tf, keras, L):
    x = keras.Input((100,), name="x")
    h = L.Reshape((4, 4, 512))(L.Dense(4 * 4 * 512)(x))
    for n in (256, 128, 64):
        h = L.LeakyReLU()(L.BatchNormalization()(L.Conv2DTranspose(n, 4, 2, padding="same", use_bias=False)(h)))
    return keras.Model(x, L.Conv2DTranspose(3, 4, 2, padding="same", activation="tanh")(h))


@network("dlrm", {"b1": {"densex": f32(1, 13), "cat": ids(10000, 1, 26)}, "b128": {"densex": f32(128, 13), "cat": ids(10000, 128, 26)}}, "DLRM: 26 embeddings, pairwise products, MLPs")
def dlrm(np, tf, keras, L):
    d = keras.Input((13,), name="densex")
    c = keras.Input((26,), dtype="int32", name="cat")
    h = d
    for n in (256, 64, 16):
        h = L.Dense(n, activation="relu")(h)
    es = [L.Embedding(10000, 16)(L.Lambda(lambda t, i=i: t[:, i], output_shape=())(c)) for i in range(26)]
    t = keras.ops.stack([h] + es, axis=1)
    z = keras.ops.matmul(t, keras.ops.transpose(t, (0, 2, 1)))
    f = L.Concatenate()([h, L.Flatten()(z)])
    for n in (256, 128):
        f = L.Dense(n, activation="relu")(f)
    return keras.Model([d, c], L.Dense(1, activation="sigmoid")(f))


@network("kws_dscnn", {"b1": {"x": f32(1, 49, 10, 1)}}, "keyword spotting DS-CNN")
def kws(np, tf, keras, L):
    x = keras.Input((49, 10, 1), name="x")
    cbr = lambda h: L.Activation("relu")(L.BatchNormalization()(h))
    h = cbr(L.Conv2D(64, (10, 4), 2, padding="same")(x))
    for _ in range(4):
        h = cbr(L.DepthwiseConv2D(3, padding="same")(h))
        h = cbr(L.Conv2D(64, 1)(h))
    return keras.Model(x, L.Dense(12, activation="softmax")(L.GlobalAveragePooling2D()(h)))


@network("seq2vec_transformer", {"b1": {"t": ids(20000, 1, 64)}, "b16": {"t": ids(20000, 16, 64)}}, "4-layer post-norm encoder 256")
def s2v(np, tf, keras, L):
    x = keras.Input((64,), dtype="int32", name="t")
    h = L.Embedding(20000, 256)(x)
    for _ in range(4):
        h = L.LayerNormalization()(L.Add()([h, L.MultiHeadAttention(4, 64)(h, h)]))
        h = L.LayerNormalization()(L.Add()([h, L.Dense(256)(L.Dense(1024, activation="relu")(h))]))
    return keras.Model(x, L.Dense(64)(L.GlobalAveragePooling1D()(h)))


@network("yolo", {"b1": {"x": image(1, 320, 320, 3)}}, "detector: CSP blocks with swish, pooling pyramid, upsampling, concatenations")
def yolo(np, tf, keras, L):
    x = keras.Input((320, 320, 3), name="x")
    cbs = lambda h, n, k=1, s=1: L.Activation("swish")(L.BatchNormalization()(L.Conv2D(n, k, s, padding="same", use_bias=False)(h)))

    def csp(h, n, blocks, add=True):
        a, b = cbs(h, n // 2), cbs(h, n // 2)
        for _ in range(blocks):
            y = cbs(cbs(a, n // 2), n // 2, 3)
            a = L.Add()([a, y]) if add else y
        return cbs(L.Concatenate()([a, b]), n)
    h = cbs(cbs(x, 32, 6, 2), 64, 3, 2)
    p3 = csp(cbs(csp(h, 64, 1), 128, 3, 2), 128, 2)
    p4 = csp(cbs(p3, 256, 3, 2), 256, 3)
    h = cbs(csp(cbs(p4, 512, 3, 2), 512, 1), 256)
    pools = [h]
    for _ in range(3):
        pools.append(L.MaxPooling2D(5, 1, padding="same")(pools[-1]))
    p5 = cbs(cbs(L.Concatenate()(pools), 512), 256)
    h = csp(L.Concatenate()([L.UpSampling2D()(p5), p4]), 256, 1, False)
    q4 = cbs(h, 128)
    q3 = csp(L.Concatenate()([L.UpSampling2D()(q4), p3]), 128, 1, False)
    q4 = csp(L.Concatenate()([cbs(q3, 128, 3, 2), q4]), 256, 1, False)
    q5 = csp(L.Concatenate()([cbs(q4, 256, 3, 2), p5]), 512, 1, False)
    heads = [L.Reshape((-1, 85))(L.Conv2D(255, 1)(q)) for q in (q3, q4, q5)]
    return keras.Model(x, L.Activation("sigmoid")(L.Concatenate(axis=1)(heads)))


@network("deeplab", {"b1": {"x": image(1, 256, 256, 3)}}, "segmentation: dilated convolutions, bilinear resizing, argmax")
def deeplab(np, tf, keras, L):
    x = keras.Input((256, 256, 3), name="x")
    cbr = lambda h, n, k=1, s=1, d=1: L.Activation("relu")(L.BatchNormalization()(L.Conv2D(n, k, s, padding="same", dilation_rate=d, use_bias=False)(h)))
    low = cbr(cbr(x, 32, 3, 2), 64, 3, 2)
    h = cbr(cbr(low, 128, 3, 2), 256, 3, 2)
    for d in (1, 2, 4):
        h = L.Add()([h, cbr(cbr(h, 64), 256, 3, 1, d)])
    branches = [cbr(h, 128)] + [cbr(h, 128, 3, 1, d) for d in (6, 12, 18)]
    pooled = cbr(L.GlobalAveragePooling2D(keepdims=True)(h), 128)
    branches.append(L.UpSampling2D(16, interpolation="bilinear")(pooled))
    h = cbr(L.Concatenate()(branches), 128)
    h = L.Concatenate()([L.UpSampling2D(4, interpolation="bilinear")(h), cbr(low, 48)])
    h = L.Conv2D(21, 1)(cbr(cbr(h, 128, 3), 128, 3))
    h = L.UpSampling2D(4, interpolation="bilinear")(h)
    return keras.Model(x, L.Lambda(lambda t: tf.cast(tf.argmax(t, -1), tf.float32), output_shape=(256, 256))(h))


@network("swin", {"b1": {"x": image(1, 224, 224, 3)}}, "attention in shifted windows of 7x7, 2 stages of 2 blocks, 96 and 192 channels")
def swin(np, tf, keras, L):
    o = keras.ops
    x = keras.Input((224, 224, 3), name="x")
    h, size, n = L.Conv2D(96, 4, 4)(x), 56, 96
    for stage in range(2):
        for shift in (0, 3):
            y = L.LayerNormalization(epsilon=1e-5)(h)
            w = size // 7

            def cut(t, s=shift, w=w, n=n):
                t = o.roll(t, (-s, -s), axis=(1, 2)) if s else t
                t = o.transpose(o.reshape(t, (-1, w, 7, w, 7, n)), (0, 1, 3, 2, 4, 5))
                return o.reshape(t, (-1, 49, n))

            def join(t, s=shift, w=w, n=n):
                t = o.transpose(o.reshape(t, (-1, w, w, 7, 7, n)), (0, 1, 3, 2, 4, 5))
                t = o.reshape(t, (-1, w * 7, w * 7, n))
                return o.roll(t, (s, s), axis=(1, 2)) if s else t
            y = L.Lambda(cut, output_shape=(49, n))(y)
            y = L.MultiHeadAttention(n // 32, 32)(y, y)
            h = L.Add()([h, L.Lambda(join, output_shape=(size, size, n))(y)])
            y = L.Dense(n)(L.Dense(4 * n, activation="gelu")(L.LayerNormalization(epsilon=1e-5)(h)))
            h = L.Add()([h, y])
        if stage == 0:
            merge = lambda t: o.concatenate([t[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
            h = L.Dense(192, use_bias=False)(L.LayerNormalization(epsilon=1e-5)(L.Lambda(merge, output_shape=(28, 28, 384))(h)))
            size, n = 28, 192
    return keras.Model(x, L.Dense(1000)(L.GlobalAveragePooling2D()(L.LayerNormalization()(h))))


@network("conformer", {"b1": {"x": f32(1, 200, 80)}}, "speech encoder: 4 conformer blocks of 144, depthwise convolutions of 31")
def conformer(np, tf, keras, L):
    x = keras.Input((200, 80), name="x")
    h = L.Dense(144)(x)
    ff = lambda h: L.Dense(144)(L.Dense(576, activation="swish")(L.LayerNormalization()(h)))
    half = lambda h, y: L.Add()([h, L.Rescaling(0.5)(y)])
    for _ in range(4):
        h = half(h, ff(h))
        y = L.LayerNormalization()(h)
        h = L.Add()([h, L.MultiHeadAttention(4, 36)(y, y)])
        y = L.Dense(288)(L.LayerNormalization()(h))
        y = L.Lambda(lambda t: t[..., :144] * tf.sigmoid(t[..., 144:]), output_shape=(200, 144))(y)
        y = L.Activation("swish")(L.BatchNormalization()(L.DepthwiseConv1D(31, padding="same")(y)))
        h = L.Add()([h, L.Dense(144)(y)])
        h = L.LayerNormalization()(half(h, ff(h)))
    return keras.Model(x, L.Dense(256)(h))


@network("qat_cnn", {"b1": {"x": image(1, 96, 96, 3)}}, "quantisation-aware MobileNet blocks: FakeQuant behind each layer")
def qat_cnn(np, tf, keras, L):
    x = keras.Input((96, 96, 3), name="x")
    q = lambda lo, hi: L.Lambda(lambda t: tf.quantization.fake_quant_with_min_max_vars(t, tf.constant(lo), tf.constant(hi)))
    cbr = lambda h: q(0.0, 6.0)(L.ReLU(6.0)(L.BatchNormalization()(h)))
    h = cbr(L.Conv2D(16, 3, 2, padding="same")(q(-1.0, 1.0)(x)))
    for n, s in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2)):
        h = cbr(L.DepthwiseConv2D(3, s, padding="same")(h))
        h = cbr(L.Conv2D(n, 1)(h))
    return keras.Model(x, q(-10.0, 10.0)(L.Dense(10)(L.GlobalAveragePooling2D()(h))))


def gnn(path):
    np, tf = make_models.tf_modules()
    r = np.random.default_rng(make_models.SEED)

    class Graphs(tf.Module):
        def __init__(self):
            super().__init__()
            v = lambda *s: tf.Variable(r.normal(0, s[0] ** -0.5, s).astype("f"))
            self.layers = [(v(64, 64), v(64, 64), v(64)) for _ in range(3)]
            self.out = v(64, 8)

        @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, "x"), tf.TensorSpec([None], tf.int32, "source"),
                                      tf.TensorSpec([None], tf.int32, "target")])
        def __call__(self, x, source, target):
            n = tf.shape(x)[0]
            for own, other, bias in self.layers:
                messages = tf.gather(x @ other, source)
                mean = tf.math.unsorted_segment_mean(messages, target, n)
                most = tf.math.unsorted_segment_max(messages, target, n)
                x = tf.nn.relu(x @ own + mean + tf.nn.relu(most) + bias)
            return {"y": tf.reduce_mean(x, 0, keepdims=True) @ self.out}
    m = Graphs()
    tf.saved_model.save(m, path, signatures=m.__call__)


model("gnn", {"b1": {"x": f32(2000, 64), "source": ids(2000, 10000), "target": ids(2000, 10000)}},
      "graph network: 3 layers of messages along 10,000 edges between 2,000 nodes")(gnn)


def padded(vocab, *shape):
    """Ids with zeros behind them: half of the places, on average a quarter."""
    def make(np, r):
        a = ids(vocab - 1, *shape)(np, r) + 1
        for row, n in zip(a, r.integers(shape[1] // 2, shape[1] + 1, shape[0])):
            row[n:] = 0
        return a
    return make


@network("masked_bilstm", {"b1": {"t": padded(20000, 1, 80)}, "b16": {"t": padded(20000, 16, 80)}}, "text of several lengths: masked embedding, BiLSTM(128)")
def masked_bilstm(np, tf, keras, L):
    x = keras.Input((80,), dtype="int32", name="t")
    h = L.Embedding(20000, 100, mask_zero=True)(x)
    return keras.Model(x, L.Dense(5, activation="softmax")(L.Bidirectional(L.LSTM(128))(h)))


@network("forecast_rnn", {"b1": {"x": f32(1, 60, 8)}, "b32": {"x": f32(32, 60, 8)}}, "time series: SimpleRNN, GRU with the reset before the product, LSTM with relu, 64 units each")
def forecast_rnn(np, tf, keras, L):
    x = keras.Input((60, 8), name="x")
    h = L.SimpleRNN(64, return_sequences=True)(x)
    h = L.GRU(64, reset_after=False, return_sequences=True)(h)
    return keras.Model(x, L.Dense(1)(L.LSTM(64, activation="relu")(h)))


@network("convlstm", {"b1": {"x": image(1, 8, 32, 32, 3)}}, "video: two ConvLSTM2D(16)")
def convlstm(np, tf, keras, L):
    x = keras.Input((8, 32, 32, 3), name="x")
    h = L.ConvLSTM2D(16, 3, padding="same", return_sequences=True)(x)
    return keras.Model(x, L.Conv2D(1, 1)(L.ConvLSTM2D(16, 3, padding="same")(h)))


def tf1_dynamic_rnn(path):
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    np, tf = make_models.tf_modules()
    from tf_keras.src.layers.rnn import legacy_cells as cells
    v1 = tf.compat.v1
    v1.disable_eager_execution()
    v1.disable_control_flow_v2()
    v1.disable_resource_variables()
    with v1.Graph().as_default():
        v1.set_random_seed(make_models.SEED)
        x, n = v1.placeholder(tf.float32, [None, 50, 40], "x"), v1.placeholder(tf.int32, [None], "n")
        cell = cells.MultiRNNCell([cells.LSTMCell(128), cells.GRUCell(128)])
        _, (_, last) = v1.nn.dynamic_rnn(cell, x, n, dtype=tf.float32)
        y = v1.nn.softmax(v1.matmul(last, v1.get_variable("w", [128, 10])))
        with v1.Session() as s:
            s.run(v1.global_variables_initializer())
            v1.saved_model.simple_save(s, path, {"x": x, "n": n}, {"y": y})


lengths = lambda n, most: lambda np, r: r.integers(most // 2, most + 1, n).astype("int32")
model("tf1_dynamic_rnn", {"b1": {"x": f32(1, 50, 40), "n": lengths(1, 50)}, "b16": {"x": f32(16, 50, 40), "n": lengths(16, 50)}},
      "TF1: dynamic_rnn with lengths over an LSTM and a GRU cell")(tf1_dynamic_rnn)


if __name__ == "__main__":
    make_models.__file__ = __file__  # which it runs again for each model
    sys.exit(make_models.main())
