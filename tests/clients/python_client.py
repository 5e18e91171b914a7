#!/usr/bin/env python3
"""The Python package against a fake daemon: blocking and asyncio, streams, lost connections, errors, retries, keys."""

import asyncio
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

try:
    import zmq
except ImportError:
    print("skip: there is no pyzmq")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "clients" / "python")]

import sensorium  # noqa: E402
from fake_daemon import FakeDaemon  # noqa: E402
from sensorium import _flow, protocol  # noqa: E402

failures = []


def check(ok, what):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what}")
    return ok


def raises(kind, what, call, *args, **named):
    try:
        got = call(*args, **named)
    except kind as e:
        return e
    except Exception as e:  # noqa: BLE001
        check(False, f"{what}: {type(e).__name__}: {e}")
        return None
    check(False, f"{what}: nothing was raised but {got!r} returned")
    return None


def asks(daemon):
    with sensorium.Client(daemon.endpoint) as c:
        check(c.ping()["protocol"] == "SNJP/1", "ping")
        job = c.submit("hello", tag="a", max_tokens=7, priority=3)
        header = daemon.headers[-1][1]
        check(header["options"] == {"max_tokens": 7} and header["priority"] == 3 and header["key"].startswith("once-"),
              f"the header is {header}")
        result = job.result(timeout=5)
        check((result.text, result.state, result.whole) == ("You said: hello", "done", True), f"result {result.raw}")
        check(result.usage["completion_tokens"] == 5 and result.tag == "a", f"result {result.raw}")
        check(job.result() is result, "a result is asked for twice")
        check(job.status().state == "done" and job.status().task == "generate", "status")
        more = [c.submit("x", tag="b") for _ in range(5)]
        listed = [s.job for s in c.list(tag="b", page=2)]
        check(listed == [j.id for j in reversed(more)], f"list: {listed}")
        hung = c.submit("x", tag="hang")
        raises(sensorium.NotFinished, "a job that hangs", hung.result, timeout=0.3)
        raises(TimeoutError, "a timeout is a TimeoutError", hung.result, timeout=0)
        check(hung.cancel().state == "cancelled", "cancel")
        failed = raises(sensorium.JobFailed, "a cancelled job", hung.result)
        check(failed and failed.state == failed.code == "cancelled", "what a cancelled job is")
        check(hung.result(check=False).state == "cancelled", "an unchecked result")
        check(hung.requeue().state == "queued" and hung.result(5).text == "You said: x", "requeue")
        hung.delete()
        raises(sensorium.NotFound, "a deleted job", hung.status)
        check(c.stats()["queue"]["jobs"]["done"] >= 6, "stats")
        partial = c.submit("x", tag="partial").result(5)
        check(not partial.whole and partial.missing == ["page 2"], f"partial: {partial.raw}")
        failed = raises(sensorium.JobFailed, "a failed job", c.submit("x", tag="fail").result, 5)
        check(failed and failed.code == "model_failed" and "no idea" in str(failed), f"failed: {failed}")


def media(daemon):
    with tempfile.TemporaryDirectory() as tmp, sensorium.Client(daemon.endpoint) as c:
        file = pathlib.Path(tmp) / "p.png"
        file.write_bytes(b"picture")
        seen = c.submit("x", images=[b"one", file, str(file)], audio=b"\0sound",
                        video=[sensorium.Medium.by_path(file, "video")]).result(5).media
        want = [(b"one", ""), (b"picture", "p.png"), (b"picture", "p.png"), (b"\0sound", ""), (b"picture", "p.png")]
        check([(m["sha256"], m["name"]) for m in seen] == [(hashlib.sha256(b).hexdigest(), n) for b, n in want],
              f"media: {seen}")
        kinds = [m["kind"] for m in next(h for v, h in reversed(daemon.headers) if v == "SUBMIT")["media"]]
        check(kinds == ["image", "image", "image", "audio", "video"], f"kinds: {kinds}")
        check(c.estimate("x", images=[b"1234"])["media_tokens"] == 4, "estimate")
        check(not c.estimate("x", images=[b"1" * 2000])["fits"], "estimate of much")
        big = os.urandom(5 << 20)
        got = c.submit("x", images=big).result(20).media[0]["sha256"]
        check(got == hashlib.sha256(big).hexdigest(), "five megabytes")
        e = raises(sensorium.UnknownHash, "a hash never sent", c.submit, "x",
                   media=[sensorium.Medium.by_hash("0" * 64, "image")])
        check(e and e.code == "unknown_hash" and e.field == "media", "what an unknown hash is")
        raises(ValueError, "an empty medium", c.submit, "x", media=[sensorium.Medium("image")])
        raises(FileNotFoundError, "no such file", c.submit, "x", images=["/nowhere/x.png"])


def streams(daemon):
    with sensorium.Client(daemon.endpoint, silence=0.4) as c:
        job = c.submit("a stream")
        pieces = list(job.stream())
        check("".join(pieces) == "You said: a stream" and len(pieces) == 2, f"pieces {pieces}")
        check(job.result().state == "done" and daemon.seen["RESULT"] == 0, "the result comes with the stream")
        check("".join(job.stream()) == "You said: a stream", "a stream of a final job")
        check("".join(c.submit("x", tag="big").stream()) == "0123456789abcdef" * 65536, "a megabyte")
        check("".join(c.submit("again", tag="retry").stream()) == "You said: again", "a second attempt")
        watches = daemon.seen["WATCH"]
        check("".join(c.submit("gone", tag="restart").stream()) == "You said: gone", "over a restart")
        check(daemon.seen["WATCH"] == watches + 2, "a watch is resumed once")
        check("after" in [h for v, h in daemon.headers if v == "WATCH"][-1], "resumed by its number")
        check("".join(c.submit("quiet", tag="forget").stream()) == "You said: quiet", "a daemon that forgets")
        events = list(c.submit("x").watch())
        seqs = [e.seq for e in events]
        check(seqs == sorted(set(seqs)) and events[-1].event == "end", f"events {events}")
        check(events[0].event == "state" and events[1].progress == (1, 4), f"events {events}")
        later = list(c.watch(events[0].job, after=seqs[2]))
        check([e.seq for e in later] == seqs[3:], f"after {seqs[2]}: {later}")
        both = [c.submit(f"n{i}").stream() for i in range(3)]
        told = ["", "", ""]
        while any(both):  # by turns
            for i, s in enumerate(both):
                piece = next(s, None) if s else None
                told[i] += piece or ""
                both[i] = s if piece else None
        check(told == [f"You said: n{i}" for i in range(3)], f"three streams at once: {told}")
        for _ in c.submit("left", tag="slow").watch():
            break
        time.sleep(0.1)
        check(c.ping() and daemon.seen["UNWATCH"] >= 1, "a stream that is left is unwatched")
        raises(sensorium.JobFailed, "a stream that fails", list, c.submit("x", tag="fail").stream())
        raises(sensorium.NotFound, "a watch of nothing", list, c.watch("9-nothing"))


def refusals(daemon):
    with sensorium.Client(daemon.endpoint) as c:
        e = raises(sensorium.UnknownModel, "no such model", c.submit, "x", model="none")
        check(e and (e.code, e.field) == ("unknown_model", "model") and "PING" in e.message, f"unknown model: {e!r}")
        e = raises(sensorium.BadRequest, "no prompt", c.submit)
        check(e and (e.code, e.field) == ("bad_field", "prompt"), f"no prompt: {e!r}")
        e = raises(sensorium.Rejected, "a full queue", c.submit, "x", tag="full")
        check(e and e.code == "busy" and e.retry_after == 0.03, f"rejected: {e!r}")
        began = time.monotonic()
        raises(sensorium.Rejected, "patience has an end", c.submit, "x", tag="full", patience=0.4)
        check(time.monotonic() - began < 2, "patience")
        daemon.seen["busy"] = 0
        check(c.submit("x", tag="busy", patience=5).result(5).whole and daemon.seen["busy"] == 3, "busy twice")
        first = c.submit("x", key="k1")
        second = c.submit("x", key="k1")
        check(first.id == second.id and second.duplicate and not first.duplicate, "the same key is the same job")
        raises(sensorium.KeyConflict, "a key of another", c.submit, "y", key="k1")
        raises(sensorium.BadRequest, "a deadline that is over", c.submit, "y", deadline=-5)
        raises(TypeError, "options that are no JSON", c.submit, "y", stop={1})


def losses(daemon):
    daemon.seen["silent"] = 0
    with sensorium.Client(daemon.endpoint, timeout=0.5) as c:
        job = c.submit("once", tag="silent")
        check(job.duplicate and daemon.seen["silent"] == 2, "a submit without an answer is sent again")
        check(len([j for j in daemon.jobs.values() if j.header.get("tag") == "silent"]) == 1, "and is one job")
        check(c.submit("noise", tag="garbage").result(5).text == "You said: noise", "broken replies")
        raises(sensorium.NoAnswer, "an answer that is no JSON", c.submit, "x", tag="nonsense")
    with sensorium.Client(daemon.endpoint, timeout=5) as c:
        waits = c.submit("slowly", tag="slow restart")
        check(waits.result(20).text == "You said: slowly", "a result over a restart")
        check(c.ping()["version"] == "0", "after a restart")
    with sensorium.Client("ipc:///nowhere/at/all.sock", timeout=0.4) as c:
        e = raises(sensorium.NoAnswer, "nobody there", c.ping)
        check(e and "/nowhere/at/all.sock" in str(e) and "sensoriumd" in str(e), f"nobody there: {e}")
        raises(ConnectionError, "which is a ConnectionError", c.ping)
    raises(sensorium.NoAnswer, "no endpoint", sensorium.Client, "nonsense")


def keys(_):
    import zmq.auth
    with tempfile.TemporaryDirectory() as tmp:
        public, secret = zmq.auth.create_certificates(tmp, "server")
        client, client_secret = zmq.auth.create_certificates(tmp, "me")
        for file in (secret, client_secret):
            os.chmod(file, 0o600)
        with FakeDaemon("tcp://127.0.0.1:*", secret=zmq.auth.load_certificate(secret)) as daemon:
            with sensorium.Client(daemon.endpoint, certificate=client, server_key=public, timeout=5) as c:
                check(c.submit("secret").result(5).text == "You said: secret", "over CURVE")
            with sensorium.Client(daemon.endpoint, certificate=client, server_key=client, timeout=5) as c:
                e = raises(sensorium.NoAnswer, "another server's key", c.ping)
                check(e and "key" in str(e), f"another server's key: {e}")
            with sensorium.Client(daemon.endpoint, timeout=5) as c:
                raises(sensorium.NoAnswer, "no certificate", c.ping)
        os.chmod(client_secret, 0o644)
        e = raises(ValueError, "a key that others can read", sensorium.Client, "ipc:///x", certificate=client,
                   server_key=public)
        check(e and "chmod" in str(e), f"a key that others can read: {e}")
        raises(ValueError, "half of the keys", sensorium.Client, "ipc:///x", certificate=client)


async def with_asyncio(daemon):
    async with sensorium.AsyncClient(daemon.endpoint, silence=0.4) as c:
        jobs = await asyncio.gather(*(c.submit(f"n{i}") for i in range(50)))
        results = await asyncio.gather(*(j.result(10) for j in jobs))
        check([r.text for r in results] == [f"You said: n{i}" for i in range(50)], "fifty at once")
        job = await c.submit("gone", tag="restart")
        check([p async for p in job.stream()] == ["You sai", "d: gone"], "a stream over a restart")
        check((await job.result()).whole, "its result")
        job = await c.submit("quiet", tag="forget")
        check("".join([p async for p in job.stream()]) == "You said: quiet", "a daemon that forgets")
        hung = await c.submit("x", tag="hang")
        waiting = asyncio.create_task(hung.result())
        await asyncio.sleep(0.1)
        waiting.cancel()
        check(isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError), "cancel")
        check((await hung.cancel()).state == "cancelled", "cancel a job")
        check(len(c._boxes) == 0 and len(c._replies._sinks) == 0, "requests are forgotten")
        check([s.job async for s in c.list(tag="hang", page=1)][0] == hung.id, "list")
        check((await c.estimate("x", images=[b"12"]))["media_tokens"] == 2, "estimate")
        check((await c.ping())["role"] == "admin" and "queue" in await c.stats(), "ping, stats")
        try:
            await c.submit("x", tag="full")
            check(False, "a full queue")
        except sensorium.Rejected as e:
            check(e.retry_after == 0.03, "retry_after")
    async with sensorium.AsyncClient("ipc:///nowhere.sock", timeout=0.3) as c:
        try:
            await c.ping()
            check(False, "nobody there")
        except sensorium.NoAnswer as e:
            check("nowhere.sock" in str(e), f"nobody there: {e}")
    c = sensorium.AsyncClient("ipc:///nowhere.sock")
    try:
        await c.ping()
        check(False, "used without 'async with'")
    except RuntimeError:
        await c.close()


def codec(_):
    ok = [b"SNJP/1", b"OK", b"1", b"{}"]
    check(protocol.decode(ok) is not None and protocol.decode([*ok, b"x"]) is not None, "a reply")
    for bad in ([], ok[:3], [b"SNJP/2", *ok[1:]], [ok[0], b"HELLO", *ok[2:]], [*ok[:3], b"{"], [*ok[:3], b"[]"],
                [*ok[:3], b"\xff"], [*ok[:3], b"[" * 200000], [ok[0], b"\xff", *ok[2:]]):
        check(protocol.decode(bad) is None, f"no reply: {bad[:4]}")
    text = _flow.TextStream()
    run = protocol.Event("1", 1, "state", {"state": "running"})

    def says(s):
        return text.take(protocol.Event("1", 2, "text", {"text": s}))
    check([says("ab"), text.take(run), says("a"), says("bc"), says("d")] == ["ab", "", "", "c", "d"], "the same again")
    text.take(run)
    raises(sensorium.StreamDiverged, "another text", says, "xyz")
    os.environ["SENSORIUM_ENDPOINT"] = "ipc:///from/environment"
    with sensorium.Client() as c:
        check(c.endpoint == "ipc:///from/environment", "the environment's endpoint")
    del os.environ["SENSORIUM_ENDPOINT"]


def example(daemon):
    """The client of twenty lines in docs/clients.md."""
    text = (HERE.parents[1] / "docs" / "clients.md").read_text()
    code = next(b for b in text.split("```python\n") if b.startswith("import json, zmq")).split("```")[0]
    with tempfile.TemporaryDirectory() as tmp:
        (pathlib.Path(tmp) / "photo.jpg").write_bytes(b"\xff\xd8")
        code = code.replace("ipc:///run/sensorium/sensoriumd.sock", daemon.endpoint)
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp, capture_output=True, text=True, timeout=60, check=False)
        check(done.stdout == "You said: What is this?\ndone\n", f"docs/clients.md: {done}")


def main():
    for case in (codec, asks, media, streams, refusals, losses, keys, example):
        with FakeDaemon() as daemon:
            case(daemon)
    with FakeDaemon() as daemon:
        asyncio.run(with_asyncio(daemon))
    check(threading.active_count() == 1, "threads are left")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
