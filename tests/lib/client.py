#!/usr/bin/env python3
"""The C interface to sensoriumd, and samples/submit.c, against a fake daemon."""

import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "clients"))
BUILD = pathlib.Path(os.environ.get("SN_BUILDDIR", "."))
TOOL = BUILD / "tests" / "lib" / "client_tool"

try:
    from fake_daemon import FakeDaemon
except ImportError:
    print("skip: there is no pyzmq")
    sys.exit(77)

failures = []


def check(ok, what):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what}")


def run(daemon, *args):
    env = {**os.environ, "SENSORIUM_ENDPOINT": daemon if isinstance(daemon, str) else daemon.endpoint}
    return subprocess.run([str(a) for a in args], env=env, capture_output=True, text=True, timeout=100, check=False)


def asks():
    with FakeDaemon() as daemon:
        done = run(daemon, TOOL, "ask")
        said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        header = next(h for v, h in daemon.headers if v == "SUBMIT")
    check(done.returncode == 0, f"ask: {done}")
    for name, want in (("result", "done: You said: one"), ("watch", "7"), ("wait", "0 running"),
                       ("status", "cancelled"), ("error", "cancelled: it was cancelled"),
                       ("none", "-4 there is no job 9-none"), ("verb", "-7 there is no verb DANCE"), ("json", "-1"),
                       ("medium", "-1 medium 0: a medium has one of bytes, file, path, sha256"), ("nothing", "0")):
        check(said.get(name) == want, f"{name}: {said.get(name)!r}, not {want!r}")
    check('"media_tokens":5' in said.get("estimate", ""), f"estimate: {said.get('estimate')}")
    check(header["options"] == {"max_tokens": 9, "temperature": 0.5, "seed": 7} and header["retries"] == 0
          and header["media"] == [{"kind": "image", "name": "five", "frame": 0}, {"kind": "audio", "frame": 1}]
          and header["priority"] == 2 and header["key"], f"the header: {header}")


def loops():
    text = sum(len(f"You said: job {i}") for i in range(200))
    with FakeDaemon() as daemon:
        done = run(daemon, TOOL, "async", 200, "a")
        check(done.stdout == f"accepted 200 ended 200 lost 0 refused 0 text {text}\n", f"async: {done}")
    with FakeDaemon() as daemon:
        done = run(daemon, TOOL, "async", 200, "garbage")
        check(done.stdout == f"accepted 200 ended 200 lost 0 refused 0 text {text}\n", f"among garbage: {done}")
    with FakeDaemon() as daemon:
        done = run(daemon, TOOL, "async", 20, "full")
        check(done.stdout == "accepted 0 ended 0 lost 0 refused 20 text 0\n", f"refused: {done}")
    with FakeDaemon() as daemon:
        done = run(daemon, TOOL, "async", 1, "restart")
        check(done.stdout == "accepted 1 ended 1 lost 0 refused 0 text 15\n", f"over a restart: {done}")
    done = run("ipc:///nowhere.sock", TOOL, "ask")
    check(done.returncode == 1 and "nobody listens at ipc:///nowhere.sock" in done.stdout, f"nobody there: {done}")


def sample():
    with tempfile.TemporaryDirectory() as tmp, FakeDaemon() as daemon:
        program, picture = pathlib.Path(tmp) / "submit", pathlib.Path(tmp) / "p.jpg"
        picture.write_bytes(b"p" * 1000)
        shared = pathlib.Path(tmp) / "libsensorium.so.0"
        shared.symlink_to(next((BUILD / "lib").glob("libsensorium.so.*")).resolve())
        subprocess.run([*shlex.split(os.environ.get("SN_CC", "cc")), "-Wall", "-Wextra", "-Werror",
                        f"-I{TOP / 'include'}", TOP / "samples" / "submit.c", "-o", program, shared,
                        f"-Wl,-rpath,{tmp}"], check=True)
        done = run(daemon, program, "hello", picture)
        check(done.returncode == 0 and done.stdout.startswith("You said: hello\n1-") and " done" in done.stdout,
              f"the sample: {done}")
        check(daemon.headers[0][1]["media"] == [{"kind": "image", "frame": 0}], f"its picture: {daemon.headers[0]}")
        check(run(daemon, program).returncode == 2, "the sample, used wrongly")
        done = run(daemon, program, "hello", "/none.jpg")
        check(done.returncode == 1 and "none.jpg" in done.stderr, f"a picture that is not there: {done}")


for case in (asks, loops, sample):
    case()
sys.exit(1 if failures else 0)
