"""What the scripts here need of GGUF files beyond gguf-py: values by key, weights as float32, copies
of metadata, and a writer that takes the data tensor by tensor (so memory stays small)."""

import gguf
import numpy as np

TYPES = gguf.GGMLQuantizationType


def value(reader, key, default=None):
    field = reader.get_field(key)
    return default if field is None else field.contents()


def load_f32(tensor):
    """A tensor of a GGUFReader as float32, shape as in PyTorch (rows first)."""
    shape = tuple(int(n) for n in reversed(tensor.shape))
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape).astype(np.float32)


def put(writer, key, v):
    """Adds a value with the kind that converters use: u32, f32, bool, string, arrays of these."""
    if isinstance(v, bool):
        writer.add_bool(key, v)
    elif isinstance(v, int):
        writer.add_uint32(key, v)
    elif isinstance(v, float):
        writer.add_float32(key, v)
    elif isinstance(v, str):
        writer.add_string(key, v)
    else:
        writer.add_array(key, v)


def copy_values(reader, writer, skip=lambda key: False):
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture" or skip(key):
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, sub_type=sub)


def n_bytes(shape, kind):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    if shape[-1] % block:
        raise ValueError(f"rows of {shape[-1]} are not whole blocks of {block} ({kind.name})")
    n = 1
    for dim in shape:
        n *= int(dim)
    return n // block * size


def write(path, arch, put_values, tensors):
    """Writes a file. `tensors`: (name, shape rows first, type, make) with make() -> array of that many
    bytes, called one after the other."""
    writer = gguf.GGUFWriter(path, arch)
    put_values(writer)
    tensors = list(tensors)
    for name, shape, kind, _ in tensors:
        writer.add_tensor_info(name, shape, np.dtype(np.float32), n_bytes(shape, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, shape, kind, make in tensors:
        data = np.ascontiguousarray(make())
        if data.nbytes != n_bytes(shape, kind):
            raise ValueError(f"{name}: {data.nbytes} bytes, not {n_bytes(shape, kind)}")
        writer.write_tensor_data(data)
    writer.close()
