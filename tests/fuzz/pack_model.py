#!/usr/bin/env python3
"""Packs a SavedModel directory into one input of model_directory_fuzz.

usage: pack_model.py DIRECTORY OUTPUT
"""
import os
import struct
import sys


def read(directory, name):
    path = os.path.join(directory, name)
    return open(path, 'rb').read() if os.path.exists(path) else b''


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def block(table, handle):
    """Keys and values of the block, which is not compressed, at `handle`."""
    offset, at = varint(handle, 0)
    size, _ = varint(handle, at)
    data = table[offset:offset + size]
    (restarts,) = struct.unpack('<I', data[-4:])
    end, at, key = len(data) - 4 - 4 * restarts, 0, b''
    while at < end:
        shared, at = varint(data, at)
        rest, at = varint(data, at)
        length, at = varint(data, at)
        key = key[:shared] + data[at:at + rest]
        yield key, data[at + rest:at + rest + length]
        at += rest + length


def entries(table):
    if len(table) < 48:
        return
    footer = table[-48:]
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    for _, handle in block(table, footer[at:]):
        yield from block(table, handle)


def main():
    directory, output = sys.argv[1:3]
    model = read(directory, 'saved_model.pb')
    index = b''.join(
        struct.pack('<H', len(part)) + part
        for entry in entries(read(directory, 'variables/variables.index')) for part in entry)
    with open(output, 'wb') as out:
        for content in (model, index):
            out.write(struct.pack('<I', len(content)) + content)
        out.write(read(directory, 'variables/variables.data-00000-of-00001'))


if __name__ == '__main__':
    main()
