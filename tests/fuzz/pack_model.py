#!/usr/bin/env python3
"""Packs a SavedModel directory into one input of model_directory_fuzz.

usage: pack_model.py DIRECTORY OUTPUT
"""
import os
import struct
import sys


def main():
    directory, output = sys.argv[1:3]
    names = ['saved_model.pb', 'variables/variables.index',
             'variables/variables.data-00000-of-00001']
    files = []
    for name in names:
        path = os.path.join(directory, name)
        files.append(open(path, 'rb').read() if os.path.exists(path) else b'')
    with open(output, 'wb') as out:
        for content in files[:2]:
            out.write(struct.pack('<I', len(content)) + content)
        out.write(files[2])


if __name__ == '__main__':
    main()
