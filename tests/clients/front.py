#!/usr/bin/env python3
"""The Python package and the commands against the daemon's own front end and queue (tests/queue/front_tool), which is
killed in between."""

import asyncio
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

try:
    import zmq  # noqa: F401
except ImportError:
    print("skip: there is no pyzmq")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "clients" / "python"))
BUILD = pathlib.Path(os.environ.get("SN_BUILDDIR", "."))
TOOL = BUILD / "tests" / "queue" / "front_tool"
PROGRAM = os.environ.get("SENSORIUM", "./sensorium")

import sensorium  # noqa: E402

failures = []


def check(ok, what):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what}")


class Daemon:
    def __init__(self, folder):
        self.folder, self.endpoint = folder, f"ipc://{folder}/s"
        self.start()

    def start(self):
        self.process = subprocess.Popen([TOOL, "--data", self.folder / "data", "--endpoint", self.endpoint, "--faults",
                                         "--root", self.folder], stdout=subprocess.PIPE, text=True)
        while self.process.stdout.readline() != "ready\n":
            if self.process.poll() is not None:
                raise SystemExit("front_tool did not start")

    def kill_and_start(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.start()

    def stop(self):
        self.process.terminate()
        self.process.wait()


def everything(d):
    with sensorium.Client(d.endpoint) as c:
        check(c.ping()["role"] == "admin" and c.stats()["queue"]["accepted"] == 0, "ping, stats")
        job = c.submit("a prompt", images=[b"\xff\xd8picture"], tag="t")
        check("".join(job.stream()) == "a prompt" and job.result().whole, "a stream")
        (d.folder / "p.jpg").write_bytes(b"\xff\xd8picture")
        by_path = c.submit("x", media=[sensorium.Medium.by_path(d.folder / "p.jpg", "image")])
        check(by_path.result(10).text == "x", "a medium by its path")
        digest = hashlib.sha256(b"\xff\xd8picture").hexdigest()
        check(c.submit("y", media=[sensorium.Medium.by_hash(digest, "image")]).result(10).text == "y", "by its hash")
        check([s.job for s in c.list(tag="t")] == [job.id], "list")
        check(c.estimate("x")["fits"], "estimate")
        slow = c.submit(task="noop", sleep_ms=60000)
        check(slow.cancel().state == "cancelled" and slow.status().final, "cancel")
        check(slow.requeue().state == "queued", "requeue")
        slow.cancel()
        slow.delete()
        failed = c.submit(task="noop", fault="fail")
        try:
            failed.result(10)
            check(False, "a fault")
        except sensorium.JobFailed as e:
            check(e.state == "failed" and e.code == "model_failed", f"a fault: {e.code} {e}")
        for kind, what in ((sensorium.BadRequest, {"max_tokens": 0}), (sensorium.UnknownModel, {"model": "none"}),
                           (sensorium.BadRequest, {"nonsense": 1})):
            try:
                c.submit("x", **what)
                check(False, f"{what}")
            except kind as e:
                check(e.field or e.code == "unknown_model", f"{what}: {e!r}")
        first, second = (c.submit("once", key="k") for _ in range(2))
        check(first.id == second.id and second.duplicate, "the same key")


def killed(d):
    """A stream and a wait go on behind a daemon that was killed; a submit is one job."""
    with sensorium.Client(d.endpoint) as c:
        stream = c.submit(task="noop", sleep_ms=1500, echo="streamed")
        got = []
        watcher = threading.Thread(target=lambda: got.extend(stream.stream()))
        watcher.start()
        program = subprocess.Popen([PROGRAM, "submit", "--wait", "--task", "noop", "--sleep-ms", "1500", "--echo", "waited",
                                    "-e", d.endpoint], stdout=subprocess.PIPE, text=True)
        time.sleep(0.7)
        d.kill_and_start()
        watcher.join(30)
        check("".join(got) == "streamed", f"a stream over a kill: {got}")
        check(program.communicate(timeout=30)[0] == "waited\n" and program.returncode == 0, "a wait over a kill")


async def many(d):
    async with sensorium.AsyncClient(d.endpoint) as c:
        async def one(i):
            job = await c.submit(task="noop", echo=f"n{i}", sleep_ms=i % 7)
            return "".join([p async for p in job.stream()])
        begin = asyncio.gather(*(one(i) for i in range(300)))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(d.kill_and_start)
        check(await asyncio.wait_for(begin, 60) == [f"n{i}" for i in range(300)], "300 jobs, and a kill in between")
        check((await c.stats())["queue"]["jobs"]["queued"] == 0, "none is left")
        names = [s.job async for s in c.list(page=50) if s.task == "noop"]
        check(len(names) == len(set(names)) >= 300, "a list of many pages")


def main():
    if not TOOL.exists():
        print(f"skip: {TOOL} is not there")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as tmp:
        d = Daemon(pathlib.Path(tmp))
        try:
            everything(d)
            killed(d)
            asyncio.run(many(d))
        finally:
            d.stop()
    sys.exit(1 if failures else 0)


main()
