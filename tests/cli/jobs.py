#!/usr/bin/env python3
"""The commands about jobs against a fake daemon: what they print, as text and as JSON, and their exit status."""

import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import time

from program import HERE, PROGRAM, check, main, run, status

sys.path.insert(0, str(HERE.parent / "clients"))
try:
    from fake_daemon import FakeDaemon
except ImportError:
    print("skip: there is no pyzmq")
    sys.exit(77)

COMMANDS = ("submit", "status", "wait", "watch", "cancel", "requeue", "delete", "jobs", "top", "keygen")


class Session:
    """Commands against a daemon of their own."""

    def __enter__(self):
        self.daemon = FakeDaemon().__enter__()
        return self

    def __exit__(self, *args):
        self.daemon.__exit__(*args)

    def run(self, want, *args, stdin=b""):
        done = run(*args, stdin=stdin, env={"SENSORIUM_ENDPOINT": self.daemon.endpoint})
        if want in (0, 1, 2):
            status(done, want, f"{args}")
        else:
            check(done.returncode == want, f"{args}: exit status {done.returncode}, not {want}: {done.stderr!r}")
        return done

    def out(self, want, *args, **more):
        return self.run(want, *args, **more).stdout.decode()

    def submit(self, *args):
        job = self.out(0, "submit", *args)
        check(re.fullmatch(r"\d+-[0-9a-f]{16}\n", job), f"submit prints {job!r}")
        return job.strip()

    @property
    def header(self):
        return [h for v, h in self.daemon.headers if v == "SUBMIT"][-1]


def helps(_):
    top = status(run("--help"), 0, "--help").stdout.decode()
    check("\nJobs of sensoriumd:\n  submit " in top and "3 some of it failed" in top, "--help has no headings")
    for name in COMMANDS:
        text = status(run(name, "--help"), 0, f"{name} --help").stdout.decode()
        check(text.startswith(f"Usage: sensorium {name} ") and "\nExamples:\n  " in text, f"{name} --help: {text[:60]}")
        check(re.search(rf"^  {name} ", top, re.M), f"--help does not list {name}")
        check(all(len(line) <= 110 for line in text.splitlines()), f"{name} --help has wide lines")


def wrong(_):
    for args, word in (
            (("submit", "a", "b"), "2 were given"), (("submit", "--wait", "--watch", "a"), "not both"),
            (("submit", "--priority", "high", "a"), "whole number"), (("submit", "--temperature", "nan", "a"), "nan"),
            (("submit", "--deadline", "-1", "a"), "-1"), (("submit", "--cert", "x", "a"), "--server-key"),
            (("submit", "--priorty", "1", "a"), "--priority"), (("submit", b"\xff\xfe", "--tag", b"\xff"), "UTF-8"),
            (("status",), "JOB"), (("wait",), "JOB"), (("watch",), "JOB"), (("watch", "1-a", "2-b"), "2 were given"),
            (("cancel",), "JOB"), (("requeue",), "JOB"), (("delete",), "JOB"), (("jobs", "1-a"), "unexpected"),
            (("jobs", "--state", "runing"), "did you mean running"), (("jobs", "--limit", "0"), "0"),
            (("jobs", "--json", "--ids"), "not both"), (("top", "now"), "unexpected"), (("top", "-d", "0"), "0"),
            (("keygen",), "--server"), (("keygen", "--server", "--name", "x"), "--name"),
            (("keygen", "--name", "../x"), "--name"), (("keygen", "--name", "x", "--role", "king"), "king"),
            (("keygen", "--server", "--role", "admin"), "--role")):
        words = [a if isinstance(a, bytes) else a.encode() for a in args]
        done = subprocess.run([PROGRAM.encode(), *words], capture_output=True, timeout=60, check=False)
        check(done.returncode == 2 and word in done.stderr.decode(), f"{args}: {done.returncode} {done.stderr!r}")


def nobody(tmp):
    began = time.monotonic()
    for command in (("status", "1-a"), ("submit", "x"), ("top",), ("jobs",), ("watch", "1-a")):
        done = status(run(*command, "--endpoint", "ipc:///nowhere.sock"), 1, f"{command} without a daemon")
        check(b"nobody listens at ipc:///nowhere.sock: is sensoriumd running?" in done.stderr, f"{command}: {done}")
    check(time.monotonic() - began < 30, "five commands without a daemon took long")
    done = status(run("jobs", "--endpoint", "nonsense"), 1, "no endpoint")
    check(b"nonsense" in done.stderr, f"no endpoint: {done.stderr}")
    done = status(run("jobs", env={"XDG_RUNTIME_DIR": str(tmp), "SENSORIUM_ENDPOINT": ""}), 1, "the default")
    check(b"ipc:///run/sensorium/sensoriumd.sock" in done.stderr, f"the default endpoint: {done.stderr}")


def submits(tmp):
    picture = tmp / "p.jpg"
    picture.write_bytes(b"\xff\xd8 picture")
    with Session() as s:
        s.submit("hello")
        check(s.header.pop("key").startswith("once-") and s.header == {"prompt": "hello"}, f"header {s.header}")
        s.submit("--task", "transcribe", "--audio", picture, "--image", picture, "-l", "de", "--words", "-n", "9", "--stop",
                 "a", "--stop", "b", "--temperature", "0.5", "--seed", "7", "-P", "-5", "--retries", "0", "--keep", "60",
                 "--key", "k", "--share", "s", "--tag", "t", "-m", "big", "--cancel-on-disconnect", "--system", "be", "x")
        want = {"task": "transcribe", "prompt": "x", "priority": -5, "retries": 0, "keep_s": 60, "key": "k", "share": "s",
                "tag": "t", "model": "big", "on_disconnect": "cancel", "system": "be",
                "media": [{"kind": "audio", "name": "p.jpg", "frame": 0}, {"kind": "image", "name": "p.jpg", "frame": 1}],
                "options": {"language": "de", "words": True, "max_tokens": 9, "stop": ["a", "b"], "temperature": 0.5,
                            "seed": 7}}
        check(s.header == want, f"header {s.header}")
        link = tmp / "link.jpg"
        link.symlink_to(picture)
        s.submit("--by-path", "--video", link, "--deadline", "100", "x")
        check(s.header["media"] == [{"kind": "video", "name": "link.jpg", "path": str(picture.resolve())}], "--by-path")
        check(abs(s.header["deadline_at_ms"] / 1000 - time.time() - 100) < 20, "--deadline")
        s.run(1, "submit", "--image", tmp / "none.jpg", "x")
        s.run(1, "submit", "--by-path", "--image", tmp / "none.jpg", "x")
        check(s.out(0, "submit", "--wait", "-", stdin=b"from input") == "You said: from input\n", "'-'")
        check(s.out(0, "submit", "--watch", "hello") == "You said: hello\n", "--watch")
        check(s.out(0, "submit", "--stream", "--tag", "retry", "hi") == "You said: hi\n", "a second attempt shows")
        check(s.out(0, "submit", "--watch", "--tag", "big", "x") == "0123456789abcdef" * 65536 + "\n", "a megabyte")
        accepted = json.loads(s.out(0, "submit", "--json", "hello"))
        check(accepted["state"] == "queued", f"--json: {accepted}")
        result = json.loads(s.out(0, "submit", "--json", "--wait", "hello"))
        check(result["text"] == "You said: hello" and result["state"] == "done", f"--json --wait: {result}")
        events = [json.loads(x) for x in s.out(0, "submit", "--json", "--watch", "hello").splitlines()]
        check([e["event"] for e in events] == ["state", "stage", "text", "text", "end"], f"--json --watch: {events}")
        same = [s.submit("--key", "once", "x") for _ in range(2)]
        check(same[0] == same[1], "the same key")
        for tag, want, word in (("partial", 3, b"missing: page 2"), ("fail", 1, b"no idea"), ("dead", 1, b"died")):
            for how in ("--wait", "--watch"):
                done = s.run(want, "submit", how, "--tag", tag, "x")
                check(word in done.stderr, f"{tag} {how}: {done.stderr!r}")
        done = s.run(1, "submit", "--model", "none", "x")
        check(done.stderr == b"sensorium: there is no model 'none': PING lists those there are\n", "an unknown model")
        check(s.run(1, "submit", "--tag", "full", "x").stderr == b"sensorium: the queue is full\n", "a full queue")
        s.submit("--patience", "10", "--tag", "busy", "x")


def faults(_):
    with Session() as s:
        check(s.out(0, "submit", "--watch", "--tag", "restart", "hello") == "You said: hello\n", "over a restart")
        check(s.out(0, "submit", "--wait", "--tag", "restart", "hello") == "You said: hello\n", "--wait over a restart")
        check(s.out(0, "submit", "--watch", "--tag", "garbage", "hello") == "You said: hello\n", "among garbage")
        done = s.run(1, "submit", "--tag", "nonsense", "hello")
        check(b"cannot be read" in done.stderr, f"an answer that is no JSON: {done.stderr}")


def asks(_):
    with Session() as s:
        done, failed, partial, hung = (s.submit("--tag", t, "x") for t in ("a b", "fail", "partial", "hang"))
        s.run(3, "wait", "-q", done, failed, partial)
        check(re.search(rf"^{done} done: generate by fake, waited .*, tag a b$", s.out(0, "status", done)), "status")
        check("running" in s.out(0, "status", hung) and "generate 1/4" in s.out(0, "status", hung), "status of one that runs")
        row = json.loads(s.out(0, "status", "--json", failed))
        check((row["job"], row["state"]) == (failed, "failed"), f"status --json: {row}")
        check(s.run(3, "status", done, "7-none").stderr == b"sensorium: 7-none: there is no job 7-none\n", "status of none")
        s.run(1, "status", "7-none")
        check(s.out(0, "wait", done) == "You said: x\n", "wait")
        check(s.out(3, "wait", done, failed) == f"==> {done} <==\nYou said: x\n\n==> {failed} <==\n", "wait for two")
        lines = [json.loads(x)["state"] for x in s.out(3, "wait", "--json", done, failed, partial).splitlines()]
        check(lines == ["done", "failed", "partial"], f"wait --json: {lines}")
        for jobs, want in (((failed,), 1), ((partial,), 3), ((done, done), 0), ((failed, failed), 1), ((failed, partial), 3),
                           (("7-none",), 1), ((done, "7-none"), 3)):
            s.run(want, "wait", "-q", *jobs)
        check(s.out(0, "watch", done) == "You said: x\n", "watch")
        s.run(3, "watch", partial)
        s.run(1, "watch", "7-none")
        seqs = [json.loads(x)["seq"] for x in s.out(0, "watch", "--json", done).splitlines()]
        after = [json.loads(x)["seq"] for x in s.out(0, "watch", "--json", "--after", str(seqs[1]), done).splitlines()]
        check(after == seqs[2:], f"watch --after: {seqs} {after}")
        check(s.out(0, "cancel", hung, done) == f"{hung} cancelled\n{done} done\n", "cancel")
        check(s.out(3, "cancel", hung, "7-none") == f"{hung} cancelled\n", "cancel of none")
        check(s.out(0, "requeue", hung) == f"{hung} queued\n", "requeue")
        check(s.run(3, "requeue", failed, done).stdout == f"{failed} queued\n".encode(), "requeue of one that is done")
        check(s.out(0, "wait", hung) == "You said: x\n", "wait for a second chance")
        check(s.out(0, "delete", hung) == f"{hung} deleted\n", "delete")
        s.run(1, "delete", hung)
        check(json.loads(s.out(0, "cancel", "--json", done))["state"] == "done", "cancel --json")


def tables(_):
    with Session() as s:
        ids = [s.submit("--tag", t, "--priority", "7", "x") for t in ("a\x1b[2J", "b", "fail", "b", "hang")]
        s.run(3, "wait", "-q", *ids[:4])
        lines = s.out(0, "jobs").splitlines()
        check(len(lines) == 6 and [x.split()[0] for x in lines] == ["JOB", *reversed(ids)], f"jobs: {lines}")
        check(re.fullmatch(rf"{ids[4]} +running +generate +fake +7 +1 +\d.* generate 1/4 +hang", lines[1]), f"{lines[1]}")
        check("\x1b" not in "".join(lines) and "\\x1b[2J" in lines[5], f"an escape in a tag: {lines[5]!r}")
        check(s.out(0, "jobs", "--ids", "--limit", "2").split() == [ids[4], ids[3]], "--ids --limit")
        check(s.out(0, "jobs", "--ids", "--state", "failed").split() == [ids[2]], "--state")
        check(s.out(0, "jobs", "--ids", "--tag", "b").split() == [ids[3], ids[1]], "--tag")
        rows = [json.loads(x) for x in s.out(0, "jobs", "--json").splitlines()]
        check([r["job"] for r in rows] == ids[::-1], f"--json: {rows}")
        check(s.out(0, "jobs", "--state", "expired") == "", "no jobs at all")
        for i in range(1200):
            s.daemon.on_submit([b"nobody"], b"0", {"task": "noop", "tag": "many"}, [])
        check(len(s.out(0, "jobs", "--ids", "--tag", "many", "--limit", "5000").split()) == 1200, "more than one page")
        check(len(s.out(0, "jobs", "--ids", "--tag", "many", "--limit", "1100").split()) == 1100, "part of a page")
        once = s.out(0, "top")
        check(re.search(r"1 running, .*1 failed", once) and re.search(rf"^{ids[4]} +generate +fake .*generate 1/4 +hang$",
                                                                        once, re.M), f"top: {once}")
        check("models: fake (loaded)" in once and "models 134 MB" in once and "\x1b" not in once, f"top: {once}")
        check(json.loads(s.out(0, "top", "--json"))["stats"]["queue"]["jobs"]["failed"] == 1, "top --json")


def on_terminal(args, endpoint, seconds, keys):
    """What a command shows on a terminal, and its exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(SENSORIUM_ENDPOINT=endpoint, TERM="xterm")
        os.environ.pop("NO_COLOR", None)
        os.execv(PROGRAM, [PROGRAM, *args])
    shown, until = b"", time.monotonic() + seconds
    while True:
        if time.monotonic() > until and keys:
            os.write(fd, keys)
            keys = b""
        if select.select([fd], [], [], 0.05)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            if not data:
                return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            shown += data
        if time.monotonic() > until + 60:
            os.kill(pid, signal.SIGKILL)


def terminals(_):
    with Session() as s:
        s.run(1, "submit", "--wait", "--tag", "fail", "x")
        s.submit("--tag", "hang", "x")
        time.sleep(0.2)
        shown, code = on_terminal(["jobs"], s.daemon.endpoint, 60, b"")
        check(code == 0 and "\x1b[31mfailed\x1b[0m" in shown and "\x1b[33mrunning\x1b[0m" in shown, f"colours: {shown!r}")
        for keys in (b"q", b"\x03"):
            shown, code = on_terminal(["top", "-d", "0.2"], s.daemon.endpoint, 1.5, keys)
            check(code == 0, f"top, ended by {keys}: {code} {shown[-300:]!r}")
            check(shown.startswith("\x1b[?1049h\x1b[?25l") and shown.rstrip().endswith("\x1b[?25h\x1b[?1049l"),
                  f"top leaves the terminal as it was: {shown[:40]!r} {shown[-40:]!r}")
            check(shown.count("RUNNING") >= 3 and "generate 1/4" in shown, f"top draws again: {shown.count('RUNNING')}")


def interrupts(_):
    with Session() as s:
        for how in ("--wait", "--watch"):
            process = subprocess.Popen([PROGRAM, "submit", how, "--tag", "hang", "x"], stderr=subprocess.PIPE,
                                       stdout=subprocess.PIPE, env={**os.environ, "SENSORIUM_ENDPOINT": s.daemon.endpoint})
            while s.daemon.seen["hang"] < (1 if how == "--wait" else 2):
                time.sleep(0.05)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
            check(process.returncode == 130 and b"the job goes on: sensorium wait " in err, f"{how}: {err!r}")


def keys(tmp):
    folder = tmp / "keys"
    folder.mkdir()
    done = status(run("keygen", "--server", folder / "server.cert"), 0, "keygen --server")
    check(b"server.cert_secret  stays with the daemon" in done.stdout, f"keygen --server: {done.stdout}")
    done = status(run("keygen", "--name", "archive", "--role", "read", folder / "a.cert"), 0, "keygen --name")
    check(b"clients" in done.stdout and b"archive" in done.stdout, f"keygen --name: {done.stdout}")
    for name in ("server.cert", "a.cert"):
        secret = folder / f"{name}_secret"
        check(stat.S_IMODE(secret.stat().st_mode) == 0o600, f"{secret} can be read by others")
        check("secret-key" not in (folder / name).read_text(), f"{name} has the secret key")
    check('name = "archive"' in (folder / "a.cert").read_text() and 'role = "read"' in (folder / "a.cert").read_text(), "notes")
    before = (folder / "a.cert_secret").read_bytes()
    status(run("keygen", "--name", "archive", folder / "a.cert"), 1, "keygen over a key")
    check((folder / "a.cert_secret").read_bytes() == before, "a key was overwritten")
    status(run("keygen", "--server", "/nowhere/x"), 1, "keygen in no folder")

    import zmq.auth
    with FakeDaemon("tcp://127.0.0.1:*", secret=zmq.auth.load_certificate(folder / "server.cert_secret")) as daemon:
        args = ("-e", daemon.endpoint, "--cert", folder / "a.cert")
        done = status(run("submit", "--wait", *args, "--server-key", folder / "server.cert", "x"), 0, "over CURVE")
        check(done.stdout == b"You said: x\n", f"over CURVE: {done}")
        done = status(run("jobs", *args, "--server-key", folder / "a.cert"), 1, "another server's key")
        check(b"encryption" in done.stderr, f"another server's key: {done.stderr}")
        status(run("jobs", "-e", daemon.endpoint), 1, "no key")
        os.chmod(folder / "a.cert_secret", 0o644)
        done = status(run("jobs", *args, "--server-key", folder / "server.cert"), 1, "a key that others can read")
        check(b"chmod 600" in done.stderr, f"a key that others can read: {done.stderr}")


main((helps, wrong, nobody, submits, faults, asks, tables, terminals, interrupts, keys))
