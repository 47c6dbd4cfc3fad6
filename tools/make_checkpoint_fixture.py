#!/usr/bin/env python3
"""Writes tests/data/checkpoints: a SavedModel, and two checkpoints of its later training.

usage: tools/make_checkpoint_fixture.py OUT_DIR      (needs tensorflow 2.21)

The module computes x @ w + b. `model` holds w = [[1, 2], [3, 4], [5, 6]], b = [0.5, -0.5]. Checkpoint k in
`training` (k = 1, 2) holds w + 10 * k, b + k and step = k under tf.train.Checkpoint(model=…, step=…);
`name_based` holds w and b of checkpoint 2 as tf.compat.v1.train.Saver writes them.
"""
import sys

import tensorflow as tf

W = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
B = [0.5, -0.5]


class Linear(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(W, name="w")
        self.b = tf.Variable(B, name="b")

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": tf.matmul(x, self.w) + self.b}


def main(out):
    linear = Linear()
    step = tf.Variable(0, dtype=tf.int64)
    tf.saved_model.save(linear, out + "/model", signatures=linear.__call__)
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(model=linear, step=step), out + "/training", max_to_keep=2)
    for k in (1, 2):
        linear.w.assign(tf.constant(W) + 10.0 * k)
        linear.b.assign(tf.constant(B) + float(k))
        step.assign(k)
        manager.save(checkpoint_number=k)
    w, b = linear.w.numpy(), linear.b.numpy()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        w = tf.compat.v1.get_variable("w", initializer=w, use_resource=False)
        b = tf.compat.v1.get_variable("b", initializer=b, use_resource=False)
        session.run([w.initializer, b.initializer])
        tf.compat.v1.train.Saver([w, b]).save(session, out + "/name_based", write_meta_graph=False,
                                              write_state=False)


if __name__ == "__main__":
    main(sys.argv[1])
