"""Pages of measurements: what was measured where, then the table."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re


def cpu_model():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    got = {k: re.search(rf"^{k}\s*: (.*)$", text, re.M) for k in ("model name", "cpu family", "model")}
    return ", ".join(f"{k} {m.group(1)}" for k, m in got.items() if m)


def machine():
    return f"{cpu_model()}, {os.cpu_count()} cores; Linux {platform.release()}"


def version(package):
    """Of a package that this Python has, or "unknown"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def write(path, title, script, facts, lines):
    """To `path` unless it is None, and to standard output."""
    head = [f"# {title}", "", f"Written by `bench/{script}`; do not edit.", "", f"- machine: {machine()}",
            f"- date: {datetime.date.today()}", *(f"- {f}" for f in facts), ""]
    text = "\n".join(head + lines) + "\n"
    if path:
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).write_text(text, encoding="utf-8")
    print(text)
