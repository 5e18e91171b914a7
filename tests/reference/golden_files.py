"""Golden data as files: JSON for what people read, .npy for arrays."""

import json
import pathlib


def dump(v, pad="", tail="\n"):
    """JSON with dictionaries over several lines and lists of numbers on one."""
    inner = pad + " "
    if isinstance(v, dict):
        body = ",\n".join(f"{inner}{json.dumps(k)}: {dump(x, inner, '')}" for k, x in v.items())
        return f"{{\n{body}\n{pad}}}{tail}"
    if isinstance(v, list) and v and isinstance(v[0], dict):
        return "[" + ", ".join(dump(x, pad, "") for x in v) + "]" + tail
    return json.dumps(v, ensure_ascii=False) + tail


def write_json(path, v):
    pathlib.Path(path).write_text(dump(v), encoding="utf-8")


def read_json(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
