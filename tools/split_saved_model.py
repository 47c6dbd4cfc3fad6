#!/usr/bin/env python3
"""Writes a SavedModel's saved_model.pb as the chunks of a saved_model.cpb: test data.

usage: split_saved_model.py SAVED_MODEL_PB OUTPUT [--size BYTES] [--brotli]

TensorFlow's public builds cannot write the chunked format. This follows the specifications of
Riegeli/records files and of TensorFlow's proto_splitter: functions, runs of nodes and tensors of
more than BYTES become chunks. Needs TensorFlow for its messages, brotli for --brotli.
"""
import argparse
import struct

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

BLOCK, BLOCK_HEADER, CHUNK_HEADER = 1 << 16, 24, 40
MASK = (1 << 64) - 1
KEY = (0x2f696c6567656952, 0x0a7364726f636572) * 2


class HighwayHash:
    """64-bit HighwayHash with Riegeli's key."""

    def __init__(self):
        self.mul0 = [0xdbe6d5d5fe4cce2f, 0xa4093822299f31d0, 0x13198a2e03707344,
                     0x243f6a8885a308d3]
        self.mul1 = [0x3bd39e10cb0ef593, 0xc0acf169b5f18a8c, 0xbe5466cf34e90c6c,
                     0x452821e638d01377]
        self.v0 = [m ^ k for m, k in zip(self.mul0, KEY)]
        self.v1 = [m ^ (k >> 32 | k << 32 & MASK) for m, k in zip(self.mul1, KEY)]

    @staticmethod
    def zip_into(source, target, i):
        a, b = source[i], source[i + 1]
        target[i] = (target[i] + (
            ((a & 0xff000000 | b & 0xff00000000) >> 24)
            | ((a & 0xff0000000000 | b & 0xff000000000000) >> 16) | a & 0xff0000
            | (a & 0xff00) << 32 | (b & 0xff00000000000000) >> 8 | a << 56 & MASK)) & MASK
        target[i + 1] = (target[i + 1] + (
            ((b & 0xff000000 | a & 0xff00000000) >> 24) | b & 0xff0000
            | (b & 0xff0000000000) >> 16 | (b & 0xff00) << 24 | (a & 0xff000000000000) >> 8
            | (b & 0xff) << 48 | a & 0xff00000000000000)) & MASK

    def update(self, lanes):
        low = 0xffffffff
        for i in range(4):
            self.v1[i] = (self.v1[i] + self.mul0[i] + lanes[i]) & MASK
            self.mul0[i] ^= (self.v1[i] & low) * (self.v0[i] >> 32)
            self.v0[i] = (self.v0[i] + self.mul1[i]) & MASK
            self.mul1[i] ^= (self.v0[i] & low) * (self.v1[i] >> 32)
        for i in (0, 2):
            self.zip_into(self.v1, self.v0, i)
        for i in (0, 2):
            self.zip_into(self.v0, self.v1, i)

    def remainder(self, data):
        size, whole = len(data), len(data) & ~3
        rest = data[whole:]
        packet = bytearray(32)
        for i in range(4):
            self.v0[i] = (self.v0[i] + (size << 32) + size) & MASK
            halves = [self.v1[i] & 0xffffffff, self.v1[i] >> 32]
            halves = [(h << size | h >> (32 - size)) & 0xffffffff for h in halves]
            self.v1[i] = halves[0] | halves[1] << 32
        packet[:whole] = data[:whole]
        if size & 16:
            packet[28:] = data[size - 4:]
        elif rest:
            packet[16], packet[17], packet[18] = rest[0], rest[len(rest) >> 1], rest[-1]
        self.update(struct.unpack('<4Q', packet))

    @classmethod
    def of(cls, data):
        h = cls()
        whole = len(data) & ~31
        for at in range(0, whole, 32):
            h.update(struct.unpack_from('<4Q', data, at))
        if len(data) > whole:
            h.remainder(data[whole:])
        for _ in range(4):
            h.update([h.v0[i] >> 32 | h.v0[i] << 32 & MASK for i in (2, 3, 0, 1)])
        return (h.v0[0] + h.v1[0] + h.mul0[0] + h.mul1[0]) & MASK


def varint(value):
    out = b''
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


class RecordWriter:
    """One record a chunk, plain or compressed."""

    def __init__(self, compress):
        self.compress = compress
        self.out = bytearray()
        self.chunk(b's', b'', 0, 0)

    def chunk(self, kind, data, records, decoded):
        header = struct.pack('<QQ', len(data), HighwayHash.of(data)) + kind + struct.pack(
            '<Q', records)[:7] + struct.pack('<Q', decoded)
        content = struct.pack('<Q', HighwayHash.of(header)) + header + data
        begin = len(self.out)
        headers = (len(content) + (begin + BLOCK - BLOCK_HEADER - 1) % BLOCK) // (
            BLOCK - BLOCK_HEADER)
        end = begin + len(content) + headers * BLOCK_HEADER
        while content:
            if len(self.out) % BLOCK == 0:
                ends = struct.pack('<QQ', len(self.out) - begin, end - len(self.out))
                self.out += struct.pack('<Q', HighwayHash.of(ends)) + ends
            room = BLOCK - len(self.out) % BLOCK
            self.out += content[:room]
            content = content[room:]
        return begin

    def write(self, record):
        sizes, values, kind = varint(len(record)), record, b'\0'
        if self.compress:
            import brotli
            kind = b'b'
            sizes, values = (varint(len(x)) + brotli.compress(x) for x in (sizes, values))
        return self.chunk(b'r', kind + varint(len(sizes)) + sizes + values, 1, len(record))


def messages():
    """ChunkMetadata, from the field numbers of TensorFlow's chunk.proto."""
    file = descriptor_pb2.FileDescriptorProto(name='chunks', package='chunks', syntax='proto3')
    kinds = {'i': 5, 'I': 13, 'Q': 4, 's': 9}

    def add(name, *fields):
        message = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            f = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in kinds:
                f.type = kinds[kind]
            else:
                f.type, f.type_name = 11, '.chunks.' + kind
            if not repeated and kind in kinds:  # told apart from absent
                f.proto3_optional, f.oneof_index = True, len(message.oneof_decl)
                message.oneof_decl.add(name='_' + field)

    add('Version', (1, 'splitter_version', 'i', 0), (2, 'join_version', 'i', 0))
    add('Info', (1, 'type', 'i', 0), (2, 'size', 'Q', 0), (3, 'offset', 'Q', 0))
    add('Key', (1, 's', 's', 0))
    add('Tag', (1, 'field', 'I', 0), (2, 'map_key', 'Key', 0), (3, 'index', 'Q', 0))
    add('Field', (1, 'field_tag', 'Tag', 1), (3, 'message', 'Message', 0))
    add('Message', (1, 'chunk_index', 'Q', 0), (2, 'chunked_fields', 'Field', 1))
    add('Metadata', (1, 'version', 'Version', 0), (2, 'chunks', 'Info', 1),
        (3, 'message', 'Message', 0))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('chunks.Metadata'))


class Splitter:
    def __init__(self, model, size):
        self.model, self.size = model, size
        self.parts = []  # (tags, message or bytes)

    def split(self):
        for i, meta_graph in enumerate(self.model.meta_graphs):
            tags = [2, ('index', i), 2]
            graph = meta_graph.graph_def
            self.tensors(graph.node, tags + [1])
            for j, function in enumerate(graph.library.function):
                self.tensors(function.node_def, tags + [2, 1, ('index', j), 3])
                if function.ByteSize() > self.size:
                    self.parts.append((tags + [2, 1, ('index', j)], type(function)()))
                    self.parts[-1][1].CopyFrom(function)
                    function.Clear()
            nodes = list(graph.node)
            if graph.ByteSize() > self.size:
                del graph.node[:]
                for at in range(0, len(nodes), 4):
                    self.parts.append((tags, graph_pb2.GraphDef(node=nodes[at:at + 4])))

    def tensors(self, nodes, tags):
        for i, node in enumerate(nodes):
            tensor = node.attr['value'].tensor if 'value' in node.attr else None
            if tensor is not None and len(tensor.tensor_content) > self.size:
                self.parts.append((tags + [('index', i), 5, ('key', 'value'), 8, 4],
                                   tensor.tensor_content))
                tensor.tensor_content = b''

    def write(self, path, compress):
        writer = RecordWriter(compress)
        metadata = messages()()
        metadata.version.splitter_version, metadata.message.chunk_index = 1, 0
        for tags, part in [(None, self.model)] + self.parts:
            is_bytes = isinstance(part, bytes)
            record = part if is_bytes else part.SerializeToString(deterministic=True)
            if tags is not None:
                field = metadata.message.chunked_fields.add()
                field.message.chunk_index = len(metadata.chunks)
                for tag in tags:
                    if isinstance(tag, int):
                        field.field_tag.add(field=tag)
                    elif tag[0] == 'index':
                        field.field_tag.add(index=tag[1])
                    else:
                        field.field_tag.add().map_key.s = tag[1]
            metadata.chunks.add(type=2 if is_bytes else 1, size=len(record),
                                offset=writer.write(record))
        writer.write(metadata.SerializeToString())
        with open(path, 'wb') as out:
            out.write(writer.out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('model')
    parser.add_argument('output')
    parser.add_argument('--size', type=int, default=1 << 20)
    parser.add_argument('--brotli', action='store_true')
    args = parser.parse_args()
    with open(args.model, 'rb') as file:
        splitter = Splitter(saved_model_pb2.SavedModel.FromString(file.read()), args.size)
    splitter.split()
    splitter.write(args.output, args.brotli)


if __name__ == '__main__':
    main()
