#!/usr/bin/env python3
"""Makes other types of a quantized GGUF file by dequantizing its matrices and quantizing them again
with gguf-py, for benchmarks and for comparing kernels (the weights of an F16 copy are those of the
Q4_1 file, rounded).

    make_variants.py MODEL.gguf OUT_FOLDER [TYPE...]     default: F16 Q8_0 Q4_0"""

import pathlib
import sys

import gguf

import gguf_files

TYPES = gguf_files.TYPES
KINDS = {k.name: k for k in (TYPES.F32, TYPES.F16, TYPES.BF16, TYPES.Q8_0, TYPES.Q4_0, TYPES.Q4_1,
                             TYPES.Q5_0, TYPES.Q5_1)}
FILE_TYPE = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "BF16": 32}


def plan(tensor, kind):
    """(name, shape, type, make) of a tensor's copy: vectors stay as they are, embedding and output
    are not taken below eight bits."""
    dims = tuple(int(n) for n in reversed(tensor.shape))
    if len(dims) == 1:
        return tensor.name, dims, tensor.tensor_type, lambda: tensor.data
    small = kind not in (TYPES.F32, TYPES.F16, TYPES.BF16)
    if small and tensor.name in ("token_embd.weight", "output.weight"):
        kind = TYPES.Q8_0
    if tensor.tensor_type == kind:
        return tensor.name, dims, kind, lambda: tensor.data
    return tensor.name, dims, kind, lambda: gguf.quants.quantize(gguf_files.load_f32(tensor), kind)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    source, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    names = [n.upper() for n in sys.argv[3:]] or ["F16", "Q8_0", "Q4_0"]
    unknown = set(names) - set(KINDS)
    if unknown:
        sys.exit(f"no type {' '.join(sorted(unknown))}: one of {' '.join(KINDS)}")
    folder.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(source)
    stem = source.stem.rsplit(".", 1)[0]
    for name in names:
        out = folder / f"{stem}.{name}.gguf"
        if out.exists() and out.samefile(source):
            sys.exit(f"{out} is the source itself")

        def put_values(writer, name=name):
            gguf_files.copy_values(reader, writer, skip=lambda key: key == "general.file_type")
            gguf_files.put(writer, "general.file_type", FILE_TYPE[name])

        gguf_files.write(out, gguf_files.value(reader, "general.architecture"), put_values,
                         [plan(t, KINDS[name]) for t in reader.tensors])
        print(out)


if __name__ == "__main__":
    main()
