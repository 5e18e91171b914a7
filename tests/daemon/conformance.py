#!/usr/bin/env python3
"""A second client of docs/protocol.md, written from that page alone: plain pyzmq and json.

    conformance.py ENDPOINT [--root DIR] [--faults] [--jobs-max N] [--key FILE --server-key FILE] [--only NAME]

--root: a folder that the daemon reads media from; --faults: it allows options.fault; --jobs-max: it takes so
many jobs, which the last check fills; --key: a certificate with its secret key. Without ENDPOINT it skips (77)."""
import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time

try:
    import jsonschema
    import zmq
    import zmq.auth
except ImportError:
    sys.exit(77)

SCHEMAS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "schemas")
REPLIES = (b"OK", b"ACCEPTED", b"EVENT", b"REJECTED", b"ERROR")
FINAL = ("done", "partial", "failed", "cancelled", "expired", "dead")
JOB = re.compile(r"^[1-9][0-9]*-[0-9a-f]{16}$")


def validator(name):
    with open(os.path.join(SCHEMAS, name + ".json"), encoding="utf-8") as file:
        return jsonschema.Draft202012Validator(json.load(file))


RESULT, STATS = validator("result"), validator("stats")


class Client:
    """One DEALER or REQ socket. Replies are matched by their request id."""

    curve = None  # public and secret key, the server's public key

    def __init__(self, endpoint, kind=zmq.DEALER, delimiter=False):
        self.socket = zmq.Context.instance().socket(kind)
        self.socket.linger = 0
        self.socket.ipv6 = "[" in endpoint
        if self.curve:
            self.socket.curve_publickey, self.socket.curve_secretkey, self.socket.curve_serverkey = self.curve
        self.socket.connect(endpoint)
        self.delimiter = [b""] if delimiter else []
        self.n = 0
        self.kept = {}

    def close(self):
        self.socket.close()

    def raw(self, *frames):
        self.socket.send_multipart([*self.delimiter, *frames])

    def send(self, verb, header, media=(), request=None):
        self.n += 1
        request = request or b"%d" % self.n
        self.raw(b"SNJP/1", verb.encode(), request, json.dumps(header).encode(), *media)
        return request

    def receive(self, timeout=10.0):
        """The next reply, as (request, verb, header); None: there is none in time."""
        until = time.monotonic() + timeout
        while self.socket.poll(max(0, int((until - time.monotonic()) * 1000))):
            frames = self.socket.recv_multipart()
            if frames == [b""]:  # section 7: whether we are there
                continue
            if self.delimiter:
                assert frames.pop(0) == b"", frames
            version, verb, request, header = frames
            assert version == b"SNJP/1" and verb in REPLIES, frames
            return request, verb.decode(), json.loads(header)
        return None

    def reply(self, request, timeout=10.0):
        """The next reply to a request; others are kept for later."""
        until = time.monotonic() + timeout
        if self.kept.get(request):
            return self.kept[request].pop(0)
        while True:
            got = self.receive(max(0.0, until - time.monotonic()))
            if got is None:
                return None
            if got[0] == request:
                return got[1:]
            self.kept.setdefault(got[0], []).append(got[1:])

    def ask(self, verb, header, media=(), timeout=10.0):
        reply = self.reply(self.send(verb, header, media), timeout)
        assert reply is not None, f"{verb} {header}: no answer"
        return reply

    def ok(self, verb, header, media=(), timeout=10.0):
        name, answer = self.ask(verb, header, media, timeout)
        assert name in ("OK", "ACCEPTED"), (verb, header, name, answer)
        return answer

    def error(self, code, verb, header, media=(), field=None, name="ERROR"):
        got, answer = self.ask(verb, header, media)
        assert got == name and answer["code"] == code, (verb, header, got, answer)
        assert isinstance(answer["message"], str) and answer["message"], answer
        if field:
            assert answer.get("field") == field, (header, answer)
        return answer

    def submit(self, header, media=()):
        answer = self.ok("SUBMIT", header, media)
        assert JOB.match(answer["job"]) and answer["state"] in ("queued", "running", *FINAL), answer
        return answer["job"]

    def result(self, job, wait_ms=20000):
        answer = self.ok("RESULT", {"job": job, "wait_ms": wait_ms}, timeout=wait_ms / 1000 + 5)
        assert answer["state"] in FINAL, answer
        RESULT.validate(answer)
        assert answer["job"] == job
        return answer

    def events(self, request, timeout=20.0):
        """Of a watch, until its end."""
        events = []
        while not events or events[-1]["event"] != "end":
            reply = self.reply(request, timeout)
            assert reply is not None, f"no event within {timeout} s; before: {events}"
            assert reply[0] == "EVENT", reply
            events.append(reply[1])
        return events


def noop(**options):
    more = {k: options.pop(k) for k in list(options) if k in ("key", "tag", "media", "watch", "priority", "retries",
            "keep_s", "deadline_at_ms", "on_disconnect", "share")}
    return {"task": "noop", "options": options, **more}


def check_job_events(events, job):
    seqs = [e["seq"] for e in events]
    assert seqs == sorted(set(seqs)), seqs
    assert all(e["job"] == job for e in events)
    assert all(e["event"] in ("state", "stage", "text", "end") for e in events)
    RESULT.validate(events[-1]["result"])
    assert events[-1]["state"] == events[-1]["result"]["state"]
    text = ""
    for e in events:
        if e["event"] == "state" and e["state"] == "running":
            assert e["attempt"] > 0
            text = ""
        elif e["event"] == "text":
            text += e["text"]
    return text


# --- the checks; each has a client of its own ---


def check_both_sockets(c, o):
    """REQ and DEALER, with a delimiter and without."""
    for kind, delimiter in ((zmq.REQ, False), (zmq.DEALER, False), (zmq.DEALER, True)):
        other = Client(o.endpoint, kind, delimiter)
        answer = other.ok("PING", {})
        assert answer["protocol"] == "SNJP/1", answer
        other.ok("PING", {})
        other.close()


def check_ping(c, o):
    answer = c.ok("PING", {})
    assert isinstance(answer["version"], str) and answer["role"] in ("submit", "read", "admin"), answer
    assert answer["tenant"] and isinstance(answer["models"], list)
    for model in answer["models"]:
        assert set(model["tasks"]) <= {"generate", "transcribe", "noop"} and isinstance(model["loaded"], bool)
        assert set(model["kinds"]) <= {"image", "audio", "video"} and model["name"]


def check_request_ids(c, o):
    for request in (b"\0", b"x" * 64, bytes(range(64)), b"\xff\xfe"):
        c.send("PING", {}, request=request)
        assert c.receive()[0] == request
    before = c.ok("STATS", {})["front"]["dropped"]
    c.raw(b"SNJP/1", b"PING", b"x" * 65, b"{}")
    c.raw(b"SNJP/1", b"PING", b"", b"{}")
    c.raw(b"SNJP/1", b"PING")
    c.raw(b"SNJP/1")
    c.raw(b"nonsense")
    c.raw(b"", b"", b"")
    after = c.ok("STATS", {})["front"]["dropped"]  # and no answer came between
    assert after == before + 6, (before, after)


def raw_error(c, code, *frames):
    c.raw(*frames)
    request, verb, answer = c.receive()
    assert request == b"7" and verb == "ERROR" and answer["code"] == code and answer["message"], (frames[:3], verb, answer)
    return answer


def check_frames(c, o):
    assert raw_error(c, "bad_version", b"SNJP/2", b"PING", b"7", b"{}")["versions"] == ["SNJP/1"]
    raw_error(c, "bad_version", b"GET / HTTP/1.1", b"PING", b"7", b"{}")
    raw_error(c, "unknown_verb", b"SNJP/1", b"DANCE", b"7", b"{}")
    raw_error(c, "unknown_verb", b"SNJP/1", b"ping", b"7", b"{}")
    raw_error(c, "unknown_verb", b"SNJP/1", b"P", b"7", b"{}")
    raw_error(c, "unknown_verb", b"SNJP/1", b"A" * 17, b"7", b"{}")
    raw_error(c, "missing_frame", b"SNJP/1", b"PING", b"7")
    big = raw_error(c, "too_large", b"SNJP/1", b"PING", b"7", b"{" + b" " * (1 << 20) + b"}")
    assert big["limit"] == 1 << 20 and big["value"] == (1 << 20) + 2, big
    many = raw_error(c, "too_large", b"SNJP/1", b"SUBMIT", b"7", b"{}", *[b"x"] * 257)
    assert many["limit"] == 256 and many["value"] == 257, many
    raw_error(c, "bad_media", b"SNJP/1", b"PING", b"7", b"{}", b"x")
    c.ok("PING", {})


def check_json(c, o):
    for header in (b"", b"x", b"[]", b"7", b"{", b'{"a":1,"a":2}', b'{"a":"\xff"}', b'{"a":"\\u0000"}', b"{} {}",
                   b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", b'{"a":' + b"[" * 100000, b'{"a":1e999}'):
        raw_error(c, "bad_json", b"SNJP/1", b"SUBMIT", b"7", header)
    raw_error(c, "too_large", b"SNJP/1", b"SUBMIT", b"7", b'{"a":[' + b"[]," * 100000 + b"[]]}")
    deep = b'{"tag":' + b"[" * 31 + b"]" * 31 + b"}"  # 32: not too deep, but no tag
    raw_error(c, "bad_field", b"SNJP/1", b"SUBMIT", b"7", deep)


def check_fields(c, o):
    c.error("bad_field", "PING", {"x": 1}, field="x")
    c.error("bad_field", "STATUS", {}, field="job")
    c.error("bad_field", "STATUS", {"job": 7}, field="job")
    c.error("bad_field", "RESULT", {"job": "1-0000000000000000", "wait_ms": 3600001}, field="wait_ms")
    c.error("bad_field", "WATCH", {"job": "1-0000000000000000", "after": -1}, field="after")
    c.error("bad_field", "LIST", {"limit": 0}, field="limit")
    c.error("bad_field", "LIST", {"limit": 1001}, field="limit")
    c.error("bad_field", "LIST", {"state": "asleep"}, field="state")
    c.error("bad_field", "LIST", {"before": "x"}, field="before")
    c.error("bad_field", "SUBMIT", {**noop(), "promt": "x"}, field="promt")
    c.error("bad_field", "SUBMIT", noop(max_tokens=5), field="options.max_tokens")
    c.error("bad_field", "SUBMIT", noop(sleep_ms=600001), field="options.sleep_ms")
    c.error("bad_field", "SUBMIT", noop(sleep_ms=-1), field="options.sleep_ms")
    c.error("bad_field", "SUBMIT", noop(priority=101), field="priority")
    c.error("bad_field", "SUBMIT", noop(keep_s=31536001), field="keep_s")
    c.error("bad_field", "SUBMIT", noop(tag="x" * 257), field="tag")
    c.error("bad_field", "SUBMIT", noop(key="k" * 129), field="key")
    c.error("bad_field", "SUBMIT", {}, field="prompt")
    c.error("bad_field", "SUBMIT", {"prompt": "x", "options": {"temperature": -1}}, field="options.temperature")
    c.error("bad_field", "SUBMIT", {"prompt": "x", "messages": [{"role": "user", "content": "y"}]})
    c.error("unknown_model", "SUBMIT", {"prompt": "x", "model": "no such model"}, field="model")
    if not o.faults:
        c.error("bad_field", "SUBMIT", noop(fault="crash"), field="options.fault")
    late = c.error("deadline_past", "SUBMIT", noop(deadline_at_ms=1000))
    assert "1000" in late["message"]
    assert c.result(c.submit({"task": "noop", "tag": None, "media": None, "options": {"echo": None, "sleep_ms": 0.0}}))


def check_submit(c, o):
    text = 'h\u00e9llo "world"\n\u4e16\u754c \U0001f600'
    job = c.submit(noop(echo=text, tag="a tag"))
    result = c.result(job)
    assert result["state"] == "done" and result["text"] == text and result["tag"] == "a tag", result
    assert result["task"] == "noop" and result["attempts"] == 1 and result["attempt"] > 0, result
    status = c.ok("STATUS", {"job": job})
    assert status["state"] == "done" and status["tag"] == "a tag" and status["task"] == "noop", status
    assert status["submitted_at_ms"] <= status["started_at_ms"] <= status["finished_at_ms"], status
    assert abs(status["finished_at_ms"] / 1000 - time.time()) < 60
    assert c.result(job) == result  # it stays


def check_media(c, o):
    bytes_ = os.urandom(70000)
    sha = hashlib.sha256(bytes_).hexdigest()
    frame = {"kind": "image", "frame": 0, "name": "a.jpg"}
    c.error("unknown_hash", "SUBMIT", noop(media=[{"kind": "image", "sha256": sha}]))
    job = c.submit(noop(media=[frame]), [bytes_])
    again = c.submit(noop(media=[{"kind": "image", "sha256": sha}, {"kind": "video", "sha256": sha.upper()}]))
    assert c.result(job)["state"] == c.result(again)["state"] == "done"
    c.error("bad_media", "SUBMIT", noop(media=[frame]), [], field="media[0].frame")
    c.error("bad_media", "SUBMIT", noop(media=[frame]), [b"x", b"y"])
    c.error("bad_media", "SUBMIT", noop(), [b"x"])
    c.error("bad_field", "SUBMIT", noop(media=[{"kind": "image"}]), field="media[0]")
    c.error("bad_field", "SUBMIT", noop(media=[{"kind": "image", "path": "a.jpg"}]), field="media[0].path")
    empty = c.submit(noop(media=[frame, {"kind": "audio", "frame": 0}]), [b""])
    assert c.result(empty)["state"] == "done"


def check_paths(c, o):
    def path(p):
        return noop(media=[{"kind": "image", "path": p}])
    for outside in ("/etc/passwd", "/no/such/file", "/", "/etc"):
        c.error("path_forbidden", "SUBMIT", path(outside), field="media[0].path")
    if not o.root:
        return
    folder = os.path.join(o.root, "conformance-%d" % os.getpid())
    os.makedirs(os.path.join(folder, "folder"))
    names = ("good", "link-out", "link-in", "fifo")
    good, link_out, link_in, fifo = (os.path.join(folder, name) for name in names)
    with open(good, "wb") as file:
        file.write(b"x" * 100)
    os.symlink("/etc/passwd", link_out)
    os.symlink("good", link_in)
    os.mkfifo(fifo)
    for ok in (good, link_in, os.path.join(folder, "folder", "..", "good")):
        assert c.result(c.submit(path(ok)))["state"] == "done"
    c.error("path_forbidden", "SUBMIT", path(link_out))
    c.error("path_forbidden", "SUBMIT", path(os.path.join(o.root, "..", "..", "..", "..", "..", "etc", "passwd")))
    c.error("path_forbidden", "SUBMIT", path(o.root.rstrip("/") + "-not"))
    for unreadable in (os.path.join(folder, "nothing"), os.path.join(folder, "folder"), fifo):
        c.error("path_unreadable", "SUBMIT", path(unreadable))
    for name in names:
        os.unlink(os.path.join(folder, name))
    os.rmdir(os.path.join(folder, "folder"))
    os.rmdir(folder)


def check_keys(c, o):
    key = "key-%d-%f" % (os.getpid(), time.time())
    media = [{"kind": "image", "frame": 0}]
    first = c.ok("SUBMIT", noop(key=key, media=media), [b"abc"])
    assert not first.get("duplicate")
    again = c.ok("SUBMIT", noop(key=key, media=media), [b"abc"])
    assert again["job"] == first["job"] and again["duplicate"] is True
    c.error("key_conflict", "SUBMIT", noop(key=key, media=media), [b"abd"])
    c.error("key_conflict", "SUBMIT", noop(key=key, media=media, echo="other"), [b"abc"])
    c.result(first["job"])
    late = c.ok("SUBMIT", noop(key=key, media=media), [b"abc"])
    assert late["job"] == first["job"] and late["state"] == "done" and late["duplicate"] is True, late
    c.ok("DELETE", {"job": first["job"]})
    new = c.ok("SUBMIT", noop(key=key, media=media), [b"abc"])  # known as long as its job is kept
    assert new["job"] != first["job"] and not new.get("duplicate")


def check_unknown_jobs(c, o):
    for verb in ("STATUS", "RESULT", "CANCEL", "REQUEUE", "DELETE", "WATCH"):
        for job in ("999999999999-0123456789abcdef", "1-0000000000000000", "x", "1", "-1-0", "1-ABCDEF0123456789"):
            c.error("not_found", verb, {"job": job})


def check_cancel(c, o):
    job = c.submit(noop(sleep_ms=600000))
    while c.ok("STATUS", {"job": job})["state"] == "queued":
        time.sleep(0.02)
    c.error("not_final", "DELETE", {"job": job})
    c.error("not_final", "REQUEUE", {"job": job})
    begun = time.monotonic()
    waited = c.ok("RESULT", {"job": job, "wait_ms": 300})
    assert waited["state"] == "running" and time.monotonic() - begun > 0.25, waited
    assert c.ok("RESULT", {"job": job})["state"] == "running"
    waits = c.send("RESULT", {"job": job, "wait_ms": 20000})
    assert c.ok("CANCEL", {"job": job})["state"] == "cancelled"
    name, answer = c.reply(waits)
    assert name == "OK" and answer["state"] == "cancelled" and answer["error"]["code"] == "cancelled", answer
    RESULT.validate(answer)
    assert c.ok("CANCEL", {"job": job})["state"] == "cancelled"  # nothing else happens
    assert c.ok("REQUEUE", {"job": job})["state"] in ("queued", "running")
    assert c.ok("CANCEL", {"job": job})["state"] == "cancelled"
    c.ok("DELETE", {"job": job})
    c.error("not_found", "STATUS", {"job": job})
    done = c.submit(noop(echo="x"))
    c.result(done)
    assert c.ok("CANCEL", {"job": done})["state"] == "done"


def check_list(c, o):
    tag = "list-%d-%f" % (os.getpid(), time.time())
    jobs = [c.submit(noop(tag=tag, echo=str(i))) for i in range(5)]
    for job in jobs:
        c.result(job)
    answer = c.ok("LIST", {"tag": tag})
    assert [j["job"] for j in answer["jobs"]] == jobs[::-1] and answer["more"] is False, answer
    assert all(j["state"] == "done" and j["tag"] == tag for j in answer["jobs"])
    page = c.ok("LIST", {"tag": tag, "limit": 2})
    assert [j["job"] for j in page["jobs"]] == jobs[:2:-1] and page["more"] is True, page
    rest = c.ok("LIST", {"tag": tag, "before": page["jobs"][-1]["job"]})
    assert [j["job"] for j in rest["jobs"]] == jobs[2::-1] and rest["more"] is False, rest
    failed = c.ok("LIST", {"tag": tag, "state": "failed"})
    assert failed["jobs"] == [] and failed["more"] is False, failed
    done = c.ok("LIST", {"tag": tag, "state": "done", "limit": 1000})
    assert [j["job"] for j in done["jobs"]] == jobs[::-1], done
    mine = c.ok("PING", {})
    if mine["role"] == "admin":
        assert len(c.ok("LIST", {"tag": tag, "tenant": mine["tenant"]})["jobs"]) == 5
        assert c.ok("LIST", {"tag": tag, "tenant": "nobody-has-this-name"})["jobs"] == []


def check_watch(c, o):
    text = "one two three four five \u00e9\u4e16 six seven"
    job = c.submit(noop(echo=text, sleep_ms=300))
    watch = c.send("WATCH", {"job": job})
    events = c.events(watch)
    assert check_job_events(events, job) == text == events[-1]["result"]["text"], events
    assert any(e["event"] == "state" and e["state"] == "running" for e in events), events
    assert c.events(c.send("WATCH", {"job": job}))[-1]["result"]["text"] == text  # at once
    for i, after in enumerate(events):
        rest = c.events(c.send("WATCH", {"job": job, "after": after["seq"]}))
        assert rest[-1]["event"] == "end"
        assert all(e["seq"] > after["seq"] for e in rest[:-1]), (after, rest)
        if len(events) < 50 and i + 1 < len(events):
            assert [e["seq"] for e in rest[-1:]] == [events[-1]["seq"]]


def check_watch_in_submit(c, o):
    request = c.send("SUBMIT", noop(echo="abc def", watch=True))
    name, accepted = c.reply(request)
    assert name == "ACCEPTED", accepted
    events = c.events(request)
    assert check_job_events(events, accepted["job"]) == "abc def", events


def check_unwatch(c, o):
    job = c.submit(noop(sleep_ms=600, echo="quiet"))
    watch = c.send("WATCH", {"job": job})
    assert c.reply(watch) is not None
    assert c.ok("UNWATCH", {"job": job}) == {}
    c.kept.clear()
    c.result(job)
    assert c.reply(watch, 0.3) is None
    assert c.ok("UNWATCH", {"job": job}) == {}  # there is none any more


def check_resume_elsewhere(c, o):
    """A client that is cut off goes on where it was."""
    first = Client(o.endpoint)
    request = first.send("SUBMIT", noop(sleep_ms=400, echo="over the gap", watch=True))
    job = first.reply(request)[1]["job"]
    seen = first.reply(request)[1]
    first.close()
    events = [seen] + c.events(c.send("WATCH", {"job": job, "after": seen["seq"]}))
    assert check_job_events(events, job) == "over the gap", events


def check_deadline(c, o):
    job = c.submit(noop(sleep_ms=600000, deadline_at_ms=int(time.time() * 1000) + 500))
    result = c.result(job)
    assert result["state"] == "expired" and result["error"]["code"] == "deadline", result


def check_priority(c, o):
    """Nothing is said of the order of equals; but what is refused here is an error in the numbers."""
    for priority in (-100, 0, 100):
        assert c.result(c.submit(noop(priority=priority)))["state"] == "done"


def check_estimate(c, o):
    jobs = c.ok("LIST", {"limit": 1})["jobs"]
    tasks = [t for m in c.ok("PING", {})["models"] for t in m["tasks"]]
    if "generate" in tasks:
        answer = c.ok("ESTIMATE", {"prompt": "How long is this?"}, timeout=60)
        assert isinstance(answer["fits"], bool) and answer["prompt_tokens"] > 0 and answer["media"] == [], answer
        assert not {"job", "state", "tag", "attempt"} & set(answer), answer
    c.error("unknown_model", "ESTIMATE", {"prompt": "x", "model": "no such model"})
    c.error("bad_field", "ESTIMATE", {"prompt": 1}, field="prompt")
    assert c.ok("LIST", {"limit": 1})["jobs"] == jobs  # no job is left


def check_stats(c, o):
    before = c.ok("STATS", {})
    STATS.validate(before)
    c.result(c.submit(noop()))
    c.error("bad_field", "PING", {"x": 1})
    after = c.ok("STATS", {})
    assert after["queue"]["accepted"] > before["queue"]["accepted"]
    assert after["queue"]["jobs"]["done"] > before["queue"]["jobs"]["done"]
    assert after["front"]["errors"] > before["front"]["errors"]


def check_faults(c, o):
    if not o.faults:
        return
    failed = c.result(c.submit(noop(fault="fail")))
    assert failed["state"] == "failed" and failed["attempts"] == 1, failed
    retried = c.result(c.submit(noop(fault="retry", retries=2)), 30000)
    assert retried["state"] == "failed" and retried["attempts"] == 3, retried
    job = c.submit(noop(fault="crash"))
    dead = c.result(job, 30000)
    assert dead["state"] == "dead" and dead["error"]["code"] in ("worker_died", "model_failed"), dead
    assert c.ok("REQUEUE", {"job": job})["state"] in ("queued", "running")
    assert c.result(job, 30000)["state"] == "dead"


VICTIM = """
import json, sys, time, zmq
socket = zmq.Context.instance().socket({"REQ": zmq.REQ, "DEALER": zmq.DEALER}[sys.argv[2]])
if sys.argv[4:]:
    socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = (k.encode() for k in sys.argv[4:])
socket.connect(sys.argv[1])
header = {"task": "noop", "options": {"sleep_ms": 600000}, "on_disconnect": sys.argv[3]}
socket.send_multipart([b"SNJP/1", b"SUBMIT", b"1", json.dumps(header).encode()])
print(json.loads(socket.recv_multipart()[3])["job"], flush=True)
time.sleep(600)
"""


def check_disconnect(c, o):
    """A client that is killed takes its job with it, if it said so; else the job goes on."""
    jobs = {}
    for kind, policy in (("DEALER", "cancel"), ("REQ", "cancel"), ("DEALER", "keep")):
        victim = subprocess.Popen([sys.executable, "-c", VICTIM, o.endpoint, kind, policy, *(Client.curve or [])],
                                  stdout=subprocess.PIPE)
        jobs[kind, policy] = victim.stdout.readline().decode().strip()
        time.sleep(0.3)
        assert c.ok("STATUS", {"job": jobs[kind, policy]})["state"] in ("queued", "running")
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    for kind in ("DEALER", "REQ"):
        assert c.result(jobs[kind, "cancel"], 30000)["state"] == "cancelled"
    assert c.ok("STATUS", {"job": jobs["DEALER", "keep"]})["state"] in ("queued", "running")
    c.ok("CANCEL", {"job": jobs["DEALER", "keep"]})


def check_probe_spares_the_living(c, o):
    """A client that is there keeps its job for longer than the daemon needs to find one gone."""
    requester = Client(o.endpoint, zmq.REQ)
    job = requester.submit(noop(sleep_ms=600000, on_disconnect="cancel"))
    time.sleep(6)
    assert requester.ok("STATUS", {"job": job})["state"] in ("queued", "running")
    assert requester.ok("PING", {})["protocol"] == "SNJP/1"
    requester.ok("CANCEL", {"job": job})
    requester.close()


def check_many_clients(c, o):
    """Answers go to who asked."""
    clients = [Client(o.endpoint) for _ in range(20)]
    requests = [(x, x.send("SUBMIT", noop(echo=f"of {i}", watch=True))) for i, x in enumerate(clients)]
    for i, (x, request) in enumerate(requests):
        accepted = x.reply(request)[1]
        assert check_job_events(x.events(request), accepted["job"]) == f"of {i}"
        x.close()


def check_full(c, o):
    """The last: the queue is full for a while."""
    if not o.jobs_max:
        return
    jobs, rejected = [], None
    for _ in range(o.jobs_max + 10):
        name, answer = c.ask("SUBMIT", noop(sleep_ms=600000))
        if name != "ACCEPTED":
            rejected = (name, answer)
            break
        jobs.append(answer["job"])
    assert rejected and rejected[0] == "REJECTED" and rejected[1]["code"] in ("busy", "quota"), rejected
    assert rejected[1]["retry_after_ms"] > 0 and rejected[1]["message"], rejected
    for job in jobs:
        c.ok("CANCEL", {"job": job})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint", nargs="?")
    parser.add_argument("--root")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--jobs-max", type=int, default=0)
    parser.add_argument("--key")
    parser.add_argument("--server-key")
    parser.add_argument("--only")
    o = parser.parse_args()
    if not o.endpoint:
        sys.exit(77)
    if o.key:
        Client.curve = [*zmq.auth.load_certificate(o.key), zmq.auth.load_certificate(o.server_key)[0]]
    checks = [(name[6:], fn) for name, fn in globals().items() if name.startswith("check_") and name != "check_job_events"]
    failed = 0
    for name, fn in checks:
        if o.only and name != o.only:
            continue
        client = Client(o.endpoint)
        try:
            fn(client, o)
            print("ok  ", name, flush=True)
        except (AssertionError, jsonschema.ValidationError, KeyError, ValueError) as e:
            failed += 1
            print(f"FAIL {name}: {str(e)[:2000] or repr(e)} (line {e.__traceback__.tb_next.tb_lineno})", flush=True)
        client.close()
    print(f"{len(checks) - failed} of {len(checks)} checks passed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
