#!/usr/bin/env python3
"""Writes src/kernels/math/sobol_numbers.cc: what TensorFlow's Sobol sequence starts from.

usage: tools/make_sobol_numbers.py      (needs tensorflow 2.21 and clang-format-14)

TensorFlow has the numbers of S. Joe and F. Y. Kuo, file new-joe-kuo-6.21201. They are read off its
samples: Gray codes of 2^k and 2^k - 1 differ in bit k alone, so direction number k is the exclusive or
of points 2^k and 2^k - 1. Dimension 0 has 1 everywhere. The numbers of another dimension follow from
the first d, d the degree of its primitive polynomial; polynomials come by degree, then by value.
"""
import pathlib
import subprocess

import numpy as np
import tensorflow as tf

DIMENSIONS = 1111  # all polynomials up to degree 13
DIGITS = 31
OUT = pathlib.Path(__file__).resolve().parent.parent / "src/kernels/math/sobol_numbers.cc"
HEAD = """\
// Written by tools/make_sobol_numbers.py.
//
// The numbers are from S. Joe and F. Y. Kuo, "Constructing Sobol sequences with better
// two-dimensional projections", SIAM J. Sci. Comput. 30, 2635-2654 (2008), which goes on from their
// "Remark on Algorithm 659", ACM Trans. Math. Softw. 29, 49-57 (2003); under this licence:
//
// Copyright (c) 2008, Frances Y. Kuo and Stephen Joe
// All rights reserved.
//
// Redistribution and use in source and binary forms, with or without modification, are permitted
// provided that the following conditions are met:
//
//     * Redistributions of source code must retain the above copyright notice, this list of
//       conditions and the following disclaimer.
//
//     * Redistributions in binary form must reproduce the above copyright notice, this list of
//       conditions and the following disclaimer in the documentation and/or other materials
//       provided with the distribution.
//
//     * Neither the names of the copyright holders nor the names of the University of New South
//       Wales and the University of Waikato and its contributors may be used to endorse or promote
//       products derived from this software without specific prior written permission.
//
// THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS ``AS IS'' AND ANY EXPRESS OR IMPLIED
// WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS
// FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDERS BE LIABLE FOR
// ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT
// NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR
// BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT
// LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS
// SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
#include "src/kernels/math/sobol.h"

"""


def points(first, count):
    """Points `first` … of the sequence, as whole numbers of DIGITS digits. Point 0 is 0."""
    x = tf.raw_ops.SobolSample(dim=DIMENSIONS, num_results=count, skip=first - 1, dtype=tf.float64)
    return np.abs(x.numpy() * 2.0**DIGITS).astype(np.int64)  # from 2^30 on, TensorFlow's are negative


def direction_numbers():
    """m[dimension, k], odd and below 2^(k + 1)."""
    v = [points(1, 1)[0]]
    for k in range(1, DIGITS):
        v.append(np.bitwise_xor(*points(2**k - 1, 2)))
    return [[int(row[j]) >> (DIGITS - 1 - k) for k, row in enumerate(v)] for j in range(DIMENSIONS)]


def is_primitive(polynomial, degree):
    """The powers of x modulo the polynomial run through all polynomials of lower degree."""
    power, order = 1, 0
    while order == 0 or power > 1:
        power <<= 1
        power ^= polynomial if power >> degree else 0
        order += 1
    return order == 2**degree - 1


def follow(m, polynomial, degree):
    """All direction numbers from the first `degree`."""
    m = m[:degree]
    for k in range(degree, DIGITS):
        value = m[k - degree]
        for i in range(1, degree + 1):
            value ^= (m[k - i] << i) * (polynomial >> (degree - i) & 1)
        m.append(value)
    return m


def main():
    numbers = direction_numbers()
    assert numbers[0] == [1] * DIGITS
    bits, dimension, degree = [], 1, 0
    while dimension < DIMENSIONS:
        degree += 1
        for polynomial in range(2**degree + 1, 2**(degree + 1), 2):
            if dimension == DIMENSIONS or not is_primitive(polynomial, degree):
                continue
            m = numbers[dimension]
            assert m == follow(m, polynomial, degree), dimension
            bits += [m[k] >> bit & 1 for k in range(degree) for bit in range(1, k + 1)]
            dimension += 1
    bits += [0] * (-len(bits) % 64)
    words = [sum(bit << i for i, bit in enumerate(bits[at:at + 64])) for at in range(0, len(bits), 64)]
    OUT.write_text(HEAD + "namespace savedmodel {\n\n"
                   f"const uint64_t kSobolInitialBits[{len(words)}] = {{\n"
                   + ", ".join(f"0x{word:016x}" for word in words)
                   + "};\n\n}  // namespace savedmodel\n", encoding="utf-8")
    subprocess.run(["clang-format-14", "-i", OUT], check=True)


if __name__ == "__main__":
    main()
