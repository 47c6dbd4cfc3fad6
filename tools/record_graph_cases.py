#!/usr/bin/env python3
"""Records what TensorFlow answers to small graphs, as conformance files in tests/data/graphs: with
the control flow of TensorFlow 1, layers over embeddings, recurrent layers, and batches of images.

usage: tools/record_graph_cases.py      (needs tensorflow, tf_keras and protoc)

A case is a graph and the steps of one session; tests/replay/conformance.proto has the format.
"""
import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # for the cells of TensorFlow 1

import numpy as np
import tensorflow as tf
from tf_keras.src.layers.rnn import legacy_cell_wrappers as wrappers
from tf_keras.src.layers.rnn import legacy_cells as cells

from record_op_cases import ROOT, load_format

v1 = tf.compat.v1
raw = tf.raw_ops
X = np.array([0.5, -1.25, 2.0], np.float32)


def predicate(name="p"):
    return v1.placeholder(tf.bool, [], name)


def vector(name="x"):
    return v1.placeholder(tf.float32, [None], name)


def variable(name, value):
    return v1.get_variable(name, initializer=np.float32(value))


def both(**feeds):
    return [dict(feeds, p=np.bool_(p)) for p in (True, False)]


def branches(x, p):
    """One predicate, several results, an argument handed through, branches of other shapes."""
    a, b, c, d = tf.cond(p, lambda: (x * 2., x, tf.constant(7), tf.constant(["t"])),
                         lambda: (x - 1., x[:1], tf.constant(8), tf.constant(["f", "g"])))
    e = tf.cond(p, lambda: a + tf.cast(c, tf.float32), lambda: a * tf.constant(3.))
    return [a, b, c, d, e]


def case_branches():
    return branches(vector(), predicate()), both(x=X)


def case_nested():
    x, p, q = vector(), predicate(), predicate("q")
    y = tf.cond(p, lambda: tf.cond(q, lambda: x + 1., lambda: tf.cond(p, lambda: x * x, lambda: x)),
                lambda: tf.cond(tf.reduce_sum(x) > 1., lambda: tf.constant([5.]), lambda: -x))
    return [y, y + 1.], [dict(f, q=np.bool_(q)) for q in (True, False) for f in both(x=X)]


def case_loop():
    """A loop with conditionals, nested ones and a case in its body, all used afterwards."""
    x, n = vector(), v1.placeholder(tf.int32, [], "n")

    def body(i, a, total):
        odd = tf.equal(i % 2, 1)
        a = tf.cond(odd, lambda: a + tf.constant(0.25),
                    lambda: tf.cond(tf.reduce_sum(a) > 2., lambda: a * 0.5, lambda: a - total))
        step = v1.case([(tf.equal(i % 3, 0), lambda: tf.constant(1.)),
                        (tf.equal(i % 3, 1), lambda: tf.reduce_max(a))],
                       default=lambda: total * 0.5)
        return i + 1, a, tf.cond(odd, lambda: total + step, lambda: total - step)

    i, a, total = tf.while_loop(lambda i, a, t: i < n, body, [0, x, 0.])
    return [i, a, total], [{"x": X, "n": np.int32(n)} for n in (0, 1, 2, 9)]


def case_variables():
    """Loop variables that change places, stay, are equal, large, or the condition itself."""
    x, n = v1.placeholder(tf.float32, [3], "x"), v1.placeholder(tf.int32, [], "n")

    def body(i, go, a, b, same, again, text, kept, large, fixed):
        doubled = same * 2.
        return (i + 1, i + 1 < n, b, a + kept, doubled, doubled, tf.strings.join([text, "x"]), kept,
                tf.tensor_scatter_nd_update(large, [[i]], [a[0]]), tf.constant([9.]))
    results = tf.while_loop(lambda i, go, *_: go, body, [
        0, n > 0, x, x * x, x, x, tf.constant("s"), x - 1., tf.zeros([2000]), tf.constant([1.])])
    return [*results[:8], tf.reduce_sum(results[8]), results[9]], [
        {"x": X, "n": np.int32(n)} for n in (0, 1, 2, 5)]


def case_loop_inside():
    x, p = vector(), predicate()
    def count():
        return tf.while_loop(lambda i, a: i < 4, lambda i, a: (i + 1, a * 2.), [0, x])[1]
    y = tf.cond(p, count, lambda: -x)
    # A condition of the loop that is a conditional itself.
    z = tf.while_loop(lambda i, a: tf.cond(p, lambda: i < 3, lambda: i < 5),
                      lambda i, a: (i + 1, a + 1.), [0, x])[1]
    return [y, z], both(x=X)


def case_effects():
    """Assignments in branches, before and behind conditionals, in a loop."""
    p = predicate()
    v, w = variable("v", 1.), variable("w", 10.)
    with tf.control_dependencies([v1.assign_add(v, 100.)]):
        def then():
            with tf.control_dependencies([v1.assign_add(w, v.read_value())]):
                return v1.assign_add(v, 1.) + 0.
        y = tf.cond(p, then, lambda: tf.constant(-1.))
    with tf.control_dependencies([y]):
        z = tf.identity(v1.assign(v, v.read_value() * 2.)) + w.read_value()
    only = tf.cond(p, lambda: v1.assign_add(w, 1.).op, lambda: tf.no_op())

    def body(i, t):
        t = tf.cond(tf.equal(i % 2, 0), lambda: v1.assign_add(w, t) + 0., lambda: t + 1.)
        return i + 1, t
    loop = tf.while_loop(lambda i, t: i < 4, body, [0, 1.], parallel_iterations=1)[1]
    init = v1.global_variables_initializer()
    t, f = {"p": np.bool_(True)}, {"p": np.bool_(False)}
    return [], [({}, [], [init])] + [
        (t, [y, z], []), (t, [v.read_value(), w.read_value()], []), (f, [y, z], []),
        (f, [v.read_value(), w.read_value()], []), (t, [], [only.name.split(":")[0]]),
        (f, [], [only.name.split(":")[0]]), ({}, [w.read_value()], []), ({}, [loop], []),
        ({}, [v.read_value(), w.read_value()], [])]


def case_dead():
    """What lies in a branch that is not taken has no value."""
    x, p = vector(), predicate()
    inside = []
    def then():
        inside.append(tf.square(x))
        return inside[0] + 1.
    y = tf.cond(p, then, lambda: x)
    t, f = both(x=X)
    return [], [(t, [y, inside[0]], []), (f, [y], []), (f, [y, inside[0]], [])]


def case_assert():
    x, p = vector(), predicate()
    with tf.control_dependencies([v1.Assert(p, ["message", x])]):
        y = x + 1.
    guarded = tf.cond(p, lambda: x, lambda: tf.debugging.check_numerics(x / 0., "infinite"))
    return [], [(f, [r], []) for f in both(x=X) for r in (y, guarded)]


def case_raw():
    """Switches and Merges that tf.cond does not write."""
    x, p, q = vector(), predicate(), predicate("q")
    f, t = raw.Switch(data=x, pred=p)
    true_first = raw.Merge(inputs=[tf.square(t), -f])
    through = raw.Merge(inputs=[f, t])
    other = raw.Switch(data=x, pred=q)
    mixed = raw.Merge(inputs=[other[0] + 1., t])          # both or none may be there
    inner = raw.Switch(data=t, pred=q)
    three = raw.Merge(inputs=[f, inner[0] * 2., inner[1] * 3.])
    always = raw.Merge(inputs=[x, f])[0]
    # What a branch gives, used by what needs both branches of another predicate.
    late = raw.Merge(inputs=[f * 5., t + raw.Merge(inputs=[other[0], other[1] * 0.])[0]])
    steps = []
    for pv in (True, False):
        for qv in (True, False):
            feed = {"x": X, "p": np.bool_(pv), "q": np.bool_(qv)}
            steps += [(feed, [*true_first, *through], []), (feed, [*three], []),
                      (feed, [*late], [])]
            if pv == qv:
                steps += [(feed, [*mixed], [])]
    steps += [({"x": X, "p": np.bool_(True)}, [always], [])]
    return [], steps


def case_predicate():
    """A predicate that is no scalar."""
    x, p = vector(), v1.placeholder(tf.bool, None, "p")
    f, t = raw.Switch(data=x, pred=p)
    y = raw.Merge(inputs=[f + 1., t * 2.])[0]
    return [y], both(x=X) + [{"x": X, "p": np.array([True])}, {"x": X, "p": np.array([], np.bool_)}]


def normal(*shape, seed=0):
    random = np.random.default_rng(sum(shape) + seed)
    return tf.constant(random.normal(0, 0.4, shape).astype(np.float32))


def embedded(*shape):
    """Rows of a table, and what picks them: twice the same, then others."""
    ids = v1.placeholder(tf.int32, [None] * len(shape), "ids")
    r = np.random.default_rng(3)
    steps = [{"ids": r.integers(0, hi, shape).astype(np.int32)} for hi in (20, 20, 40)]
    return tf.gather(normal(40, 24), ids), [steps[0], *steps, {"ids": steps[0]["ids"] * 0 + 40}]


def recurrent(x, units, gates, cell, states, backward=False):
    """The outputs of all turns, [turns, batch, units], and the last states of a layer over x."""
    @tf.function
    def layer(x):
        weights, recurrent_weights = normal(24, gates * units), normal(units, gates * units)
        rows = tf.transpose(x, [1, 0, 2])
        rows = tf.reverse(rows, [0]) if backward else rows
        turns, batch = tf.shape(rows)[0], tf.shape(rows)[1]
        items = tf.TensorArray(tf.float32, turns).unstack(rows)

        def body(t, out, *old):
            new = cell(tf.matmul(items.read(t), weights), recurrent_weights, *old)
            return (t + 1, out.write(t, new[0]), *new)
        _, out, *last = tf.while_loop(
            lambda t, *_: t < turns, body,
            (0, tf.TensorArray(tf.float32, turns), *[tf.zeros([batch, units])] * states))
        return (out.stack(), *last)
    return list(layer(x))


def lstm(x, weights, h, c):
    i, f, g, o = tf.split(x + tf.matmul(h, weights) + normal(weights.shape[1]), 4, 1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def gru(x, weights, h):
    xz, xr, xh = tf.split(x + normal(weights.shape[1]), 3, 1)
    hz, hr, hh = tf.split(tf.matmul(h, weights) + normal(1, weights.shape[1]), 3, 1)
    z, r = tf.sigmoid(xz + hz), tf.sigmoid(xr + hr)
    return (z * h + (1. - z) * tf.tanh(xh + r * hh),)


def layer_lstm():
    x, steps = embedded(3, 7)
    return recurrent(x, 20, 4, lstm, 2) + recurrent(x, 20, 4, lstm, 2, backward=True), steps


def layer_gru_of_one_row():
    x, steps = embedded(1, 5)
    return recurrent(x, 20, 3, gru, 1), steps


def layer_dense():
    x, steps = embedded(4, 3)
    return [tf.nn.relu(tf.tensordot(x, normal(24, 9), 1) + normal(9)),
            tf.matmul(tf.reshape(x, [-1, 24]), normal(24, 5))], steps


def layer_convolutions():
    x, steps = embedded(2, 11)
    w = normal(3, 24, 6)
    image = tf.nn.conv2d(x[..., tf.newaxis], normal(4, 24, 1, 6), [1, 1, 1, 1], "VALID")
    return [tf.nn.relu(tf.nn.conv1d(x, w, 1, "VALID") + normal(6)), tf.nn.conv1d(x, w, 2, "VALID"),
            tf.nn.conv1d(x, w, 1, "SAME", dilations=2), tf.nn.conv1d(x, w, 2, "SAME"),
            tf.reduce_max(image, [1, 2])], steps


def sequences():
    """Rows of features and how many turns each takes part in: all, some, none, one."""
    x, n = v1.placeholder(tf.float32, [None, 6, 3], "x"), v1.placeholder(tf.int32, [None], "n")
    r = np.random.default_rng(4)
    steps = [{"x": r.normal(0, 1, (len(n), 6, 3)).astype(np.float32), "n": np.array(n, np.int32)}
             for n in ([6, 3, 0, 1, 5], [2, 1], [4], [0], [9, 2])]
    return x, n, steps


def dynamic_rnn(make_cell, has_lengths=True):
    """Outputs and last states of TensorFlow 1's loop over a cell whose weights are constants."""
    x, n, steps = sequences()
    peepholes = ["w_i_diag", "w_f_diag", "w_o_diag"]

    def weights(getter, name, shape, **_):
        name = name.split("/")[-1]
        return normal(*shape, seed=1 + peepholes.index(name) if name in peepholes else 0)
    with v1.variable_scope("", custom_getter=weights):
        out, last = v1.nn.dynamic_rnn(make_cell(), x, n if has_lengths else None, dtype=tf.float32)
    return [out, *tf.nest.flatten(last), tf.identity(n)], steps


def rnn_basic_lstm():
    return dynamic_rnn(lambda: cells.BasicLSTMCell(7), has_lengths=False)


def rnn_lstm():
    return dynamic_rnn(lambda: cells.LSTMCell(7, forget_bias=0.5))


def rnn_lstm_with_more():
    return dynamic_rnn(lambda: cells.LSTMCell(7, use_peepholes=True, num_proj=4))


def rnn_lstm_with_peepholes():
    return dynamic_rnn(lambda: cells.LSTMCell(7, use_peepholes=True, cell_clip=0.3,
                                              activation=tf.nn.softsign), has_lengths=False)


def rnn_lstm_clipped():
    return dynamic_rnn(lambda: cells.LSTMCell(8, cell_clip=0.2))


def rnn_lstm_projected():
    return dynamic_rnn(lambda: cells.LSTMCell(9, num_proj=20, proj_clip=0.1), has_lengths=False)


def rnn_residual():
    return dynamic_rnn(lambda: wrappers.ResidualWrapper(
        wrappers.DropoutWrapper(cells.GRUCell(3), output_keep_prob=1.)), has_lengths=False)


def rnn_residual_stacked():
    return dynamic_rnn(lambda: cells.MultiRNNCell([
        wrappers.ResidualWrapper(cells.LSTMCell(8, use_peepholes=True, num_proj=3)),
        cells.GRUCell(5), wrappers.ResidualWrapper(cells.BasicRNNCell(5)),
        wrappers.ResidualWrapper(cells.LSTMCell(5, cell_clip=0.5))]))


def rnn_gru():
    return dynamic_rnn(lambda: cells.GRUCell(7))


def rnn_gru_of_other_activation():
    return dynamic_rnn(lambda: cells.GRUCell(16, activation=tf.nn.softsign), has_lengths=False)


def rnn_basic():
    return dynamic_rnn(lambda: cells.BasicRNNCell(17))


def rnn_stacked():
    return dynamic_rnn(lambda: cells.MultiRNNCell([cells.GRUCell(5), cells.LSTMCell(7),
                                                   cells.BasicRNNCell(4, activation=tf.nn.relu)]))


def rnn_last_states():
    (_, *last, _), steps = dynamic_rnn(lambda: cells.LSTMCell(7))
    return last, steps


def keras_rnn(cell, gates, states, zeros=False, last_only=False, starts=False):
    """Keras's loop over rows that a mask leaves out in any turn."""
    x, n, steps = sequences()
    units = 7
    mask = (tf.range(6)[tf.newaxis] < n[:, tf.newaxis]) & (x[:, :, 0] < 1)

    @tf.function
    def layer(x, mask):
        weights, recurrent_weights = normal(3, gates * units), normal(units, gates * units)
        rows, row_masks = tf.transpose(x, [1, 0, 2]), tf.transpose(mask)[:, :, tf.newaxis]
        items = tf.TensorArray(tf.float32, 6).unstack(rows)
        masks = tf.TensorArray(tf.bool, 6).unstack(row_masks)
        first = [tf.tile(normal(1, units), [tf.shape(x)[0], 1]) if starts else
                 tf.zeros([tf.shape(x)[0], units]) for _ in range(states)]

        def body(t, out, before, *old):
            new = cell(tf.matmul(items.read(t), weights), recurrent_weights, *old)
            takes_part = tf.tile(masks.read(t), [1, units])
            result = tf.where(takes_part, new[0], tf.zeros_like(new[0]) if zeros else before)
            new = [tf.where(takes_part, a, b) for a, b in zip(new, old)]
            return (t + 1, out.write(0 if last_only else t, result), result, *new)
        _, out, _, *last = tf.while_loop(
            lambda t, *_: t < 6, body,
            (0, tf.TensorArray(tf.float32, 1 if last_only else 6), tf.zeros_like(first[0]), *first))
        return (out.stack(), *last)
    return list(layer(x, mask)), steps


def masked_lstm():
    return keras_rnn(lstm, 4, 2)


def masked_lstm_of_zeros():
    return keras_rnn(lstm, 4, 2, zeros=True)


def masked_lstm_last_only():
    return keras_rnn(lstm, 4, 2, last_only=True, starts=True)


def masked_gru():
    return keras_rnn(gru, 3, 1, starts=True)


def masked_lstm_with_peepholes():
    def cell(x, weights, h, c):
        i, f, g, o = tf.split(x + tf.matmul(h, weights) + normal(28), 4, 1)
        c = (tf.sigmoid(f + c * normal(7)) * c +
             tf.sigmoid(normal(7, seed=1) * c + i) * tf.tanh(g))
        c = tf.maximum(-0.4, tf.minimum(0.4, c))
        return tf.sigmoid(o + normal(7, seed=2) * c) * tf.tanh(c), c
    return keras_rnn(cell, 4, 2, starts=True)


def masked_hard_gru():
    """The cell of Keras's first generation: gates one by one, reset before the product."""
    def cell(x, weights, h):
        def open(v):
            return tf.clip_by_value(v * 0.2 + 0.5, 0., 1.)
        wz, wr, wh = tf.split(weights, 3, 1)
        xz, xr, xh = tf.split(x, 3, 1)
        z, r = open(tf.matmul(h, wz) + xz + normal(7)), open(tf.matmul(h, wr) + xr)
        return (z * h + (1. - z) * tf.tanh(xh + tf.matmul(r * h, wh)),)
    return keras_rnn(cell, 3, 1, zeros=True, last_only=True)


def with_gradients(case):
    """The same graph, trained: its loops carry lists of what the gradients take of the turns."""
    (out, *more), steps = case
    x = v1.get_default_graph().get_tensor_by_name("x:0")
    tf.gradients([tf.reduce_sum(t * t) for t in (out, *more[:-1])], x)
    return [out, *more], steps


def trained_basic():
    return with_gradients(dynamic_rnn(lambda: cells.BasicRNNCell(5), has_lengths=False))


def trained_lstm():
    return with_gradients(dynamic_rnn(lambda: cells.LSTMCell(5, forget_bias=0.5)))


def trained_stacked():
    return with_gradients(dynamic_rnn(lambda: cells.MultiRNNCell([
        cells.GRUCell(5), cells.LSTMCell(3, use_peepholes=True)]), has_lengths=False))


def unneeded_gradients():
    """Loops in loops and branches whose gradients are there, and asked for or not."""
    x, p, n = vector(), predicate(), v1.placeholder(tf.int32, [], "n")

    def turn(i, a):
        a = tf.while_loop(lambda j, b: j < i, lambda j, b: (j + 1, tf.sin(b) * x), [0, a])[1]
        return i + 1, tf.cond(p, lambda: tf.tanh(a) * a, lambda: tf.exp(-a * a))
    i, y = tf.while_loop(lambda i, a: i < n, turn, [0, x])
    z = tf.switch_case(n % 3, [lambda: tf.sin(y) * y, lambda: tf.exp(-y), lambda: tf.tanh(y * x)])
    gradient, = tf.gradients(z, x)
    feeds = [dict(f, n=np.int32(n)) for n in (0, 1, 3, 5) for f in both(x=X)]
    return [], [(f, t, []) for f in feeds for t in ([y], [z], [i, z, gradient])]


def unneeded_variables():
    """Variables that feed each other, the condition or those that are asked for."""
    x, n = vector(), v1.placeholder(tf.int32, [], "n")

    def turn(i, end, a, b, c, d, e):
        return i + 1, end - tf.cast(c[0] > 0., tf.int32), b * 2., a - 1., c + 1., e, d + e
    results = tf.while_loop(lambda i, end, *_: i < end, turn,
                            [0, n, x, x * 2., x - 2., x + 1., x * x])
    feeds = [{"x": X, "n": np.int32(n)} for n in (0, 1, 5)]
    return [], [(f, t, []) for f in feeds for t in (
        *([t] for t in results), [results[1], results[3]])]


def effects_of_variables():
    """A loop with effects in variables, each of which is asked for alone."""
    x, n, most = vector(), v1.placeholder(tf.int32, [], "n"), v1.placeholder(tf.float32, [], "most")
    v = variable("v", 1.)

    def turn(i, a, b, c):
        with tf.control_dependencies([v.assign_add(tf.reduce_sum(b))]):
            assigned = tf.identity(b)
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(c < most), [c])]):
            return i + 1, a + 1., assigned, c * 2.
    results = tf.while_loop(lambda i, *_: i < n, turn, [0, x, x - 2., x])
    return waiting_for(results, x, v, [
        {"x": X, "n": np.int32(count), "most": np.float32(limit)}
        for count, limit in [(0, 1.), (1, 100.), (4, 100.), (5, 10.)]])


def effects_of_results():
    """Branches with effects in results, each of which is asked for alone."""
    x, p, most = vector(), predicate(), v1.placeholder(tf.float32, [], "most")
    v = variable("v", 1.)

    def then():
        with tf.control_dependencies([v.assign_add(most)]):
            assigned = tf.identity(x)
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x < most), [x])]):
            return x * 2., assigned + most, tf.identity(x), tf.identity(most)
    results = tf.cond(p, then, lambda: (x + most, tf.identity(x), most * x, tf.identity(most)))
    return waiting_for(results, x, v, both(x=X, most=np.float32(9)) + both(x=X, most=np.float32(1)))


def images(*batches, size=144):
    """Images that grow so large that the values of a batch leave the caches."""
    x = v1.placeholder(tf.float32, [None, 9, 9, 2], "x")
    r = np.random.default_rng(8)
    steps = [{"x": r.normal(0, 1, (n, 9, 9, 2)).astype(np.float32)} for n in batches]
    return tf.image.resize(x, [size, size]), steps


def conv(x, *filter_shape, stride=1, seed=0):
    w = normal(*filter_shape, seed=seed) / np.sqrt(np.prod(filter_shape[:3]))
    return tf.nn.conv2d(x, w, stride, "SAME") + normal(filter_shape[3], seed=seed + 1)


def batch_residual():
    x, steps = images(11, 8, 1)
    x = tf.nn.relu(conv(x, 3, 3, 2, 16))
    for i in range(2):
        x = tf.nn.relu(conv(tf.nn.relu(conv(x, 3, 3, 16, 16, seed=i)), 1, 1, 16, 16, seed=i) + x)
    pooled = tf.nn.max_pool2d(x, 3, 2, "SAME")
    return [tf.reduce_mean(pooled, [1, 2]), tf.reduce_max(x, [1, 2, 3])], steps


def batch_squeezed():
    """A factor for each channel of each image, by way of shapes that name the batch's size."""
    x, steps = images(7, 2)
    x = tf.nn.silu(conv(x, 3, 3, 2, 24))
    x = tf.nn.silu(tf.nn.depthwise_conv2d(x, normal(3, 3, 24, 1), [1, 1, 1, 1], "SAME"))
    s = tf.reshape(tf.reduce_mean(x, [1, 2]), tf.stack([tf.shape(x)[0], 1, 1, 24]))
    s = tf.nn.sigmoid(conv(tf.nn.silu(conv(s, 1, 1, 24, 6)), 1, 1, 6, 24))
    x = conv(x * s, 1, 1, 24, 8)
    whole = tf.nn.avg_pool2d(x, 144, 144, "VALID")
    return [tf.reduce_mean(x, [1, 2]), tf.squeeze(whole, [1, 2])], steps


def batch_decoder():
    x, steps = images(9, 3)
    skip = tf.nn.relu(conv(x, 3, 3, 2, 16))
    y = tf.nn.relu(conv(skip, 3, 3, 16, 24, stride=2))
    size = tf.stack([tf.shape(y)[0], 144, 144, 16])
    y = tf.nn.relu(tf.nn.conv2d_transpose(y, normal(3, 3, 16, 24), size, [1, 2, 2, 1], "SAME"))
    y = conv(tf.concat([y, skip], -1), 1, 1, 32, 3)
    y = tf.pad(y, [[0, 0], [1, 1], [2, 2], [0, 0]], "REFLECT")
    return [tf.reduce_mean(tf.nn.softmax(y), [1, 2]), y[:, ::48, ::48]], steps


def batch_cut():
    """Parts of images, and of the batch; pixels repeated; normalised channels."""
    x, steps = images(9, 2)
    x = tf.nn.relu(conv(x, 3, 3, 2, 16))
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    x = (x - mean) * tf.math.rsqrt(variance + 1e-3) * normal(16, seed=5) + normal(16, seed=6)
    part = tf.nn.relu(conv(x[:, 2:, 3:-1], 3, 3, 16, 16)[:, ::-1, 1::2])
    wide = tf.reshape(tf.tile(part[:, :, :, tf.newaxis], [1, 1, 1, 2, 1]), [-1, 142, 140, 16])
    turned = tf.nn.relu(conv(wide[::-1], 1, 1, 16, 16) + wide)
    return [tf.reduce_max(turned, [1, 2]), tf.reduce_mean(turned[1:], [1, 2]),
            tf.reduce_max(conv(tf.tile(turned, [2, 1, 1, 1]), 1, 1, 16, 4), [1, 2])], steps


def batch_of_operands():
    """Operands that hold a part for each example; statistics over the whole batch."""
    x, steps = images(6, 6, size=180)
    x = tf.nn.relu(conv(x, 3, 3, 2, 16)) * normal(6, 1, 1, 16) + normal(6, 180, 1, 1)
    y = conv(x, 3, 3, 16, 16)
    y = y - tf.reduce_mean(y, 0, keepdims=True)
    z = tf.nn.relu(conv(y, 1, 1, 16, 16)) * tf.reduce_max(x, [1, 2], keepdims=True)
    z = tf.concat([z, tf.tile(normal(6, 180, 1, 4), [1, 1, 180, 1])], 3)
    return [tf.reduce_max(z, [1, 2]), tf.reduce_max(conv(z, 1, 1, 20, 4)[::-1], [1, 2])], steps


def batch_of_equal_sizes():
    """As many rows, columns and channels as examples: dimensions change places, are summed over."""
    x = v1.placeholder(tf.float32, [None, 4, 4, 64], "x")
    r = np.random.default_rng(8)
    steps = [{"x": r.normal(0, 1, (64, 4, 4, 64)).astype(np.float32)}]
    x = tf.nn.relu(conv(tf.image.resize(x, [64, 64]), 1, 1, 64, 64))
    turned = tf.nn.relu(conv(tf.transpose(x, [1, 0, 2, 3]), 1, 1, 64, 64) * 0.5)
    sums = tf.reduce_sum(turned, 0)
    return [tf.reduce_mean(sums, [1, 2]), tf.reduce_mean(turned[:, ::9], [1, 2]),
            tf.reduce_mean(tf.nn.relu(sums + tf.reduce_max(x, 1)), 2)], steps


def waiting_for(results, x, v, feeds):
    """Each result, what waits for one, and what variable v is behind that."""
    fetches = [[t] for t in results]
    for t in results:
        with tf.control_dependencies([t]):
            fetches.append([tf.identity(x)])
    init, read = v1.global_variables_initializer(), v.read_value()
    return [], [({}, [], [init])] + [
        step for f in feeds for fetched in fetches for step in ((f, fetched, []), ({}, [read], []))]


def unneeded_of_one_function():
    """Two loops of the same functions, of which other variables are taken."""
    x, n = vector(), v1.placeholder(tf.int32, [], "n")
    specs = [tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32), *[tf.TensorSpec([None])] * 3]
    go_on = tf.function(lambda i, end, *_: i < end).get_concrete_function(*specs)
    turn = tf.function(lambda i, end, a, b, c: (i + 1, end, b, a * 2., c + a))
    turn = turn.get_concrete_function(*specs)

    def loop(*variables):
        return tf.raw_ops.StatelessWhile(input=variables, cond=go_on, body=turn,
                                         output_shapes=[s.shape for s in specs])
    first = loop(0, n, x, x + 1., x * 3.)
    second = loop(first[0], n * 2, x, first[2], first[3])
    feeds = [{"x": X, "n": np.int32(n)} for n in (0, 1, 4)]
    return [], [(f, fetched, []) for f in feeds for fetched in (
        [first[4]], [second[3]], [second[4]], [first[0], second[2]], [second[0]], [second[1]])]


def record(file, name, build, resources):
    with tf.Graph().as_default() as graph:
        (v1.enable_resource_variables if resources else v1.disable_resource_variables)()
        fetches, steps = build()
        graph._unfetchable_ops.clear()  # TensorFlow hides what is inside of branches
        steps = [s if isinstance(s, tuple) else (s, fetches, []) for s in steps]
        case = file.cases.add(name=name, rtol=1e-5, atol=1e-6)
        case.graph_def = graph.as_graph_def().SerializeToString(deterministic=True)
        with v1.Session(graph=graph) as session:
            for feeds, fetched, targets in steps:
                step = case.steps.add()
                step.fetches.extend(t.name for t in fetched)
                step.targets.extend(t if isinstance(t, str) else t.name for t in targets)
                for key, value in feeds.items():
                    step.feeds.add(tensor=key + ":0", value=tf.make_tensor_proto(
                        value).SerializeToString(deterministic=True))
                nodes = [graph.get_operation_by_name(t) for t in step.targets]
                try:
                    values = session.run([list(fetched), nodes],
                                         {k + ":0": v for k, v in feeds.items()})[0]
                except tf.errors.OpError as error:
                    step.error_code = [n for n, c in vars(tf.errors).items()
                                       if isinstance(c, int) and c == error.error_code][0]
                    continue
                for tensor, value in zip(fetched, values):
                    step.expected.append(tf.make_tensor_proto(
                        value, tensor.dtype).SerializeToString(deterministic=True))
        print(name, [s.error_code for s in case.steps])


def record_all(name, prefix):
    file = load_format().OpCases(op=name, tf_version=tf.__version__, profile="repository")
    for key, build in globals().copy().items():
        if not key.startswith(prefix):
            continue
        record(file, key[len(prefix):], build, resources=True)
        if key == "case_effects":
            record(file, "effects_ref", build, resources=False)
    folder = ROOT / "tests/data/graphs"
    folder.mkdir(exist_ok=True)
    (folder / (name + ".pb")).write_bytes(file.SerializeToString(deterministic=True))


def main():
    v1.disable_eager_execution()
    v1.disable_control_flow_v2()
    record_all("conditionals", "case_")
    record_all("dynamic_rnn_v1", "rnn_")
    record_all("effects_v1", "effects_")
    v1.enable_control_flow_v2()
    record_all("embeddings", "layer_")
    record_all("dynamic_rnn", "rnn_")
    record_all("masked_rnn", "masked_")
    record_all("trained_rnn", "trained_")
    record_all("unneeded", "unneeded_")
    record_all("batches", "batch_")


if __name__ == "__main__":
    main()
