#!/usr/bin/env python3
"""The front end with the queue behind it and no models (front_tool): the protocol's conformance, keys and
roles, addresses, slow readers, messages that are none."""
import json
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time

try:
    import zmq
    import zmq.auth
except ImportError:
    sys.exit(77)
TOP = os.path.abspath(os.environ.get("srcdir", "."))
sys.path.insert(0, os.path.join(TOP, "tests", "daemon"))
from conformance import Client, noop  # noqa: E402

TOOL = os.path.join(os.environ.get("SN_BUILDDIR", "build"), "tests", "queue", "front_tool")
SANITIZED = "-fsanitize" in os.environ.get("SN_CC", "")  # which keeps what was freed
VERBS = ["SUBMIT", "ESTIMATE", "STATUS", "RESULT", "CANCEL", "REQUEUE", "DELETE", "LIST", "UNWATCH", "STATS", "PING"]
N_FUZZ = int(os.environ.get("SN_FUZZ_MESSAGES", "3000"))


class Daemon:
    all = []

    def __init__(self, folder, *options, data="data"):
        self.process = subprocess.Popen([TOOL, "--data", os.path.join(folder, data), *options], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.all.append(self)
        self.endpoints = []
        for line in self.process.stdout:
            if line == "ready\n":
                return
            self.endpoints.append(line.split()[1])
        self.error = self.process.stderr.read()
        self.process.wait()

    def end(self, signal_=signal.SIGTERM):
        self.process.send_signal(signal_)
        self.process.wait(10)
        self.error = self.process.stderr.read()
        return self.process.returncode

    def rss(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def expect_refusal(folder, *options, text):
    daemon = Daemon(folder, *options, data="other")
    assert daemon.process.returncode == 1, (options, daemon.process.returncode)
    assert daemon.error.count("\n") == 1 and text in daemon.error, (options, daemon.error)


def conformance(endpoint, *options):
    subprocess.run([sys.executable, os.path.join(TOP, "tests", "daemon", "conformance.py"), endpoint, *options],
                   check=True, timeout=240)


# --- the checks ---


def check_conformance(folder):
    root = os.path.join(folder, "root")
    os.mkdir(root)
    ipc = f"ipc://{folder}/sockets/front"
    daemon = Daemon(folder, "--endpoint", ipc, "--endpoint", "tcp://127.0.0.1:*", "--root", root, "--faults",
                    "--jobs-max", "40")
    assert daemon.endpoints[0] == ipc and daemon.endpoints[1].startswith("tcp://127.0.0.1:"), daemon.endpoints
    conformance(daemon.endpoints[1], "--root", root, "--faults", "--jobs-max", "40")
    conformance(ipc, "--only", "both_sockets")
    assert daemon.end() == 0 and daemon.error == "", daemon.error
    plain = Daemon(folder, "--endpoint", ipc)
    conformance(ipc, "--only", "fields")
    conformance(ipc, "--only", "paths")
    assert plain.end() == 0


def check_addresses(folder):
    ipc = f"ipc://{folder}/made/front"
    daemon = Daemon(folder, "--endpoint", ipc, "--endpoint", "tcp://[::1]:*")
    assert stat.S_IMODE(os.stat(f"{folder}/made/front").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(f"{folder}/made").st_mode) == 0o700
    tcp = daemon.endpoints[1]
    assert tcp.startswith("tcp://[::1]:"), tcp
    expect_refusal(folder, "--endpoint", ipc, text="in use")
    expect_refusal(folder, "--endpoint", tcp, text="in use")
    assert Client(ipc).ok("PING", {}) and Client(tcp).ok("PING", {})["tenant"] == "local"
    daemon.end(signal.SIGKILL)  # the socket's file stays, and does not stand in the way
    assert os.path.exists(f"{folder}/made/front")
    daemon = Daemon(folder, "--endpoint", ipc)
    assert Client(ipc).ok("PING", {})
    assert daemon.end() == 0 and not os.path.exists(f"{folder}/made/front")
    with open(f"{folder}/file", "w", encoding="ascii"):
        pass
    expect_refusal(folder, "--endpoint", f"ipc://{folder}/file", text="no socket")
    assert os.path.exists(f"{folder}/file")
    expect_refusal(folder, "--endpoint", "ipc://relative", text="absolute")
    expect_refusal(folder, "--endpoint", f"ipc://{folder}/" + "x" * 120, text="107")
    expect_refusal(folder, "--endpoint", "udp://127.0.0.1:5", text="begins with")
    for open_ in ("tcp://*:0", "tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://localhost:0", "tcp://127.0.0.1.example:0"):
        expect_refusal(folder, "--endpoint", open_, text="must have keys")
    expect_refusal(folder, text="no endpoint")
    expect_refusal(folder, "--endpoint", ipc, "--root", f"{folder}/nothing", text="nothing")


def certificate(keys, file, name, role):
    """As `sensorium keygen` makes them."""
    public, secret = os.path.join(keys, file + ".key"), os.path.join(keys, file + ".key_secret")
    pair = [key.decode() for key in zmq.curve_keypair()]
    notes = "".join(f'    {k} = "{v}"\n' for k, v in (("name", name), ("role", role)) if v)
    for path, n in ((public, 1), (secret, 2)):
        keys_ = "".join(f'    {k} = "{v}"\n' for k, v in list(zip(("public-key", "secret-key"), pair))[:n])
        with open(path, "w", encoding="ascii") as to:
            to.write(f"metadata\n{notes}curve\n{keys_}")
    os.chmod(secret, 0o600)
    return public, secret


def certificates(folder):
    keys, clients = os.path.join(folder, "keys"), os.path.join(folder, "clients")
    os.mkdir(keys)
    os.mkdir(clients)
    server = certificate(keys, "server", None, None)[1]
    secrets = {"server": server}
    who = {"ann": ("alpha", "submit"), "eve": ("beta", "submit"), "rob": ("alpha", "read"), "root": ("ops", "admin"),
           "plain": ("gamma", None), "odd": ("delta", "king"), "nameless": (None, "submit"), "stranger": ("zeta", "admin")}
    for file, (name, role) in who.items():
        public, secrets[file] = certificate(keys, file, name, role)
        if file != "stranger":
            os.rename(public, os.path.join(clients, file + ".key"))
    return secrets, clients


def curve_client(endpoint, secrets, name):
    Client.curve = [*zmq.auth.load_certificate(secrets[name]), zmq.auth.load_certificate(secrets["server"])[0]]
    try:
        return Client(endpoint)
    finally:
        Client.curve = None


def is_silent(client):
    client.send("PING", {})
    return client.receive(1.0) is None


def check_keys(folder):
    secrets, clients = certificates(folder)
    options = ("--certificate", secrets["server"], "--clients", clients, "--endpoint", "tcp://127.0.0.1:*")
    os.chmod(secrets["server"], 0o640)
    expect_refusal(folder, *options, text="others can read")
    os.chmod(secrets["server"], 0o600)
    expect_refusal(folder, *options[:2], *options[4:], text="folder")
    expect_refusal(folder, *options, "--clients", f"{folder}/nothing", text="nothing")
    expect_refusal(folder, "--certificate", f"{folder}/nothing", *options[2:], text="nothing")

    ipc = f"ipc://{folder}/front"
    daemon = Daemon(folder, *options, "--endpoint", "tcp://0.0.0.0:*", "--endpoint", ipc, "--faults")
    tcp = daemon.endpoints[0]
    ann, eve, rob, root = (curve_client(tcp, secrets, name) for name in ("ann", "eve", "rob", "root"))
    assert [ann.ok("PING", {})[k] for k in ("tenant", "role")] == ["alpha", "submit"]
    assert [root.ok("PING", {})[k] for k in ("tenant", "role")] == ["ops", "admin"]
    assert curve_client(tcp, secrets, "plain").ok("PING", {})["role"] == "submit"
    assert Client(ipc).ok("PING", {})["tenant"] == "local"
    for name in ("stranger", "odd", "nameless"):
        assert is_silent(curve_client(tcp, secrets, name)), name
    assert is_silent(Client(tcp))  # no CURVE at all
    conformance(tcp, "--key", secrets["ann"], "--server-key", secrets["server"], "--faults")

    job = ann.submit(noop(echo="alpha's own", media=[{"kind": "image", "frame": 0}]), [b"secret"])
    assert ann.result(job)["text"] == "alpha's own"
    for verb in ("STATUS", "RESULT", "CANCEL", "REQUEUE", "DELETE", "WATCH"):
        eve.error("not_found", verb, {"job": job})
    assert eve.ok("LIST", {})["jobs"] == []
    digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
    eve.error("unknown_hash", "SUBMIT", noop(media=[{"kind": "image", "sha256": digest}]))
    assert ann.submit(noop(media=[{"kind": "image", "sha256": digest}]))
    key = {"key": "the same"}
    assert ann.submit(noop(echo="a", **key)) != eve.submit(noop(echo="b", **key))

    assert rob.ok("RESULT", {"job": job})["text"] == "alpha's own"
    assert rob.ok("LIST", {})["jobs"] and rob.events(rob.send("WATCH", {"job": job}))
    for verb in ("CANCEL", "REQUEUE", "DELETE"):
        rob.error("forbidden", verb, {"job": job})
    rob.error("forbidden", "SUBMIT", noop())
    rob.error("forbidden", "ESTIMATE", noop())
    ann.error("forbidden", "LIST", {"tenant": "beta"})
    assert root.ok("STATUS", {"job": job})["state"] == "done"
    assert {j["job"] for j in root.ok("LIST", {"tenant": "alpha"})["jobs"]} >= {job}
    assert root.ok("DELETE", {"job": job}) == {}

    named = curve_client(tcp, secrets, "ann")
    named.socket.disconnect(tcp)
    named.socket.setsockopt(zmq.ROUTING_ID, b"ann")
    named.socket.connect(tcp)
    named.error("forbidden", "PING", {})

    public, secrets["late"] = certificate(os.path.join(folder, "keys"), "late", "late", None)
    os.rename(public, os.path.join(clients, "late.key"))  # needs no reload
    late = curve_client(tcp, secrets, "late")
    assert late.ok("PING", {})["tenant"] == "late"
    os.unlink(os.path.join(clients, "late.key"))
    daemon.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    late.error("forbidden", "PING", {})
    assert is_silent(curve_client(tcp, secrets, "late"))
    assert ann.ok("PING", {})["tenant"] == "alpha"
    assert daemon.end() == 0 and daemon.error == "", daemon.error


def check_slow_readers(folder):
    """Replies that nobody reads are bounded, and nobody else waits for them; events come joined, later."""
    daemon = Daemon(folder, "--endpoint", "tcp://127.0.0.1:*", "--reply-bytes", "1000000")
    endpoint = daemon.endpoints[0]
    other = Client(endpoint)
    text = "0123456789" * 20000
    job = other.submit(noop(echo=text))
    other.result(job)
    slow = zmq.Context.instance().socket(zmq.DEALER)
    slow.linger, slow.rcvhwm, slow.rcvbuf = 0, 1, 4096
    slow.connect(endpoint)
    before = daemon.rss()
    for i in range(3000):
        slow.send_multipart([b"SNJP/1", b"RESULT", b"%d" % i, json.dumps({"job": job}).encode()])
        if i % 500 == 0:
            begun = time.monotonic()
            other.ok("PING", {})
            assert time.monotonic() - begun < 5
    until = time.monotonic() + 20
    while other.ok("STATS", {})["front"]["undelivered"] == 0 and time.monotonic() < until:
        time.sleep(0.1)
    assert other.ok("STATS", {})["front"]["undelivered"] > 0
    if not SANITIZED:
        assert daemon.rss() - before < 300e6, daemon.rss() - before  # 512 messages of 200 kB, and what malloc keeps
    n = 0
    while slow.poll(2000):
        frames = slow.recv_multipart()
        assert frames[1] == b"OK" and len(frames[3]) > len(text)
        n += 1
    assert 100 < n < 3000, n
    slow.close()

    watcher = zmq.Context.instance().socket(zmq.DEALER)
    watcher.linger, watcher.rcvhwm, watcher.rcvbuf = 0, 1, 4096
    watcher.connect(endpoint)
    text = text[:40000]
    header = noop(echo=text, sleep_ms=300, watch=True)
    watcher.send_multipart([b"SNJP/1", b"SUBMIT", b"1", json.dumps(header).encode()])
    accepted = watcher.recv_multipart()
    other.result(json.loads(accepted[3])["job"])
    time.sleep(1)
    said, n, event = "", 0, {}
    while event.get("event") != "end":
        assert watcher.poll(10000), f"no end after {n} events"
        event = json.loads(watcher.recv_multipart()[3])
        said += event.get("text", "") if event["event"] == "text" else ""
        n += 1
    assert said == text == event["result"]["text"] and n < 50000, (len(said), n)
    assert daemon.end() == 0 and daemon.error == "", daemon.error


def check_ends_with_answers(folder):
    """What is being committed when the daemon is told to end is answered."""
    daemon = Daemon(folder, "--endpoint", "tcp://127.0.0.1:*", "--idle")
    client = Client(daemon.endpoints[0])
    client.ok("PING", {})
    requests = [client.send("SUBMIT", noop(echo=str(i))) for i in range(200)]
    first = client.reply(requests[0])
    assert first[0] == "ACCEPTED"
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.wait(10)  # with requests that it did not read, too
    answered = []
    while (reply := client.receive(0.5)) is not None:
        answered.append(reply[1:])
    assert all(name in ("ACCEPTED", "REJECTED") for name, _ in answered), answered
    jobs = [r[1]["job"] for r in [first] + answered if r[0] == "ACCEPTED"]
    again = Daemon(folder, "--endpoint", "tcp://127.0.0.1:*")
    listed = Client(again.endpoints[0]).ok("LIST", {"limit": 1000})
    assert set(jobs) <= {j["job"] for j in listed["jobs"]}
    assert again.end() == 0


# --- messages that are none ---


def random_bytes(rng, most):
    return bytes(rng.randrange(256) for _ in range(rng.randrange(most)))


def random_header(rng):
    good = [{}, noop(), noop(echo="x"), {"job": "1-0123456789abcdef"}, {"prompt": "x"}, {"limit": 5}]
    text = json.dumps(rng.choice(good)).encode()
    if rng.random() < 0.5:
        at = rng.randrange(len(text))
        text = text[:at] + random_bytes(rng, 4) + text[at + rng.randrange(3):]
    return rng.choice([text, text, text, random_bytes(rng, 40), b"[" * rng.randrange(2000)])


def random_message(rng, n):
    request = rng.choice([b"%d" % n, b"%d" % n + b"\xff" * rng.randrange(70), b"", random_bytes(rng, 300)])
    frames = [rng.choice([b"SNJP/1", b"SNJP/1", b"SNJP/1", b"SNJP/2", b"", random_bytes(rng, 20)]),
              rng.choice([rng.choice(VERBS).encode(), b"WHAT", b"ping", b"", random_bytes(rng, 30)]), request,
              random_header(rng)] + [random_bytes(rng, 50) for _ in range(rng.choice([0, 0, 0, 1, 2, 300]))]
    if rng.random() < 0.2:
        frames = frames[:rng.randrange(len(frames)) + 1]
    if rng.random() < 0.1:
        rng.shuffle(frames)
    return [b""] * rng.choice([0, 0, 0, 1, 2]) + frames


def request_id(frames):
    """Of a message that is to be answered, as section 2 says; None: it is to be dropped."""
    frames = frames[1:] if frames[0] == b"" else frames
    return frames[2] if len(frames) >= 3 and 1 <= len(frames[2]) <= 64 else None


def check_hostile_messages(folder):
    daemon = Daemon(folder, "--endpoint", "tcp://127.0.0.1:*", "--jobs-max", "100000")
    client, rng = Client(daemon.endpoints[0]), random.Random(7)
    before = client.ok("STATS", {})["front"]
    missing, n_dropped = set(), 0
    for n in range(N_FUZZ):
        frames = random_message(rng, n)
        request = request_id(frames)
        client.socket.send_multipart(frames)
        if request is None:
            n_dropped += 1
        else:
            missing.add(request)
        while client.socket.poll(0 if n + 1 < N_FUZZ and len(missing) < 200 else 2000):
            reply = client.socket.recv_multipart()
            reply = reply[1:] if reply[0] == b"" else reply
            assert len(reply) == 4 and reply[0] == b"SNJP/1", reply
            missing.discard(reply[2])
            json.loads(reply[3])
            if len(missing) < 100 and n + 1 < N_FUZZ:
                break
    assert not missing, (len(missing), list(missing)[:3])
    after = client.ok("STATS", {})["front"]
    assert after["dropped"] - before["dropped"] == n_dropped, (after, n_dropped)
    assert after["requests"] - before["requests"] == N_FUZZ - n_dropped + 1, after
    other = Client(daemon.endpoints[0])
    assert other.result(other.submit(noop(echo="still here")))["text"] == "still here"
    garbage = zmq.Context.instance().socket(zmq.STREAM)  # not ZMTP at all
    garbage.linger = 0
    garbage.connect(daemon.endpoints[0])
    peer = garbage.recv_multipart()[0]
    garbage.send_multipart([peer, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + random_bytes(rng, 5000)])
    garbage.close()
    other.ok("PING", {})
    assert daemon.end() == 0 and daemon.error == "", daemon.error


def check_idle_clients(folder):
    """Clients that only stand there."""
    daemon = Daemon(folder, "--endpoint", "tcp://127.0.0.1:*")
    client = Client(daemon.endpoints[0])
    client.ok("PING", {})
    before = daemon.rss()
    context = zmq.Context(4)
    context.max_sockets = 2000
    idle = []
    for _ in range(400):
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(daemon.endpoints[0])
        socket.send_multipart([b"SNJP/1", b"PING", b"1", b"{}"])
        idle.append(socket)
    for socket in idle:
        assert socket.poll(10000)
    grown = (daemon.rss() - before) / len(idle)
    assert client.ok("STATS", {})["front"]["clients"] == len(idle) + 1
    print(f"     {grown / 1024:.1f} KiB for an idle client")
    if not SANITIZED:
        assert grown <= 65536, grown
    context.destroy(0)
    until = time.monotonic() + 10
    while client.ok("STATS", {})["front"]["clients"] > 1 and time.monotonic() < until:
        time.sleep(0.1)
    assert client.ok("STATS", {})["front"]["clients"] == 1
    assert daemon.end() == 0


def main():
    failed = 0
    for name, fn in list(globals().items()):
        if not name.startswith("check_") or (sys.argv[1:] and name[6:] not in sys.argv[1:]):
            continue
        with tempfile.TemporaryDirectory(prefix="sensorium-front-") as folder:
            begun = time.monotonic()
            try:
                fn(folder)
                print(f"ok   {name[6:]} ({time.monotonic() - begun:.1f} s)", flush=True)
            except (AssertionError, subprocess.SubprocessError) as e:
                failed += 1
                print(f"FAIL {name[6:]}: {str(e)[:2000] or repr(e)} (line {e.__traceback__.tb_next.tb_lineno})", flush=True)
            for daemon in Daemon.all:
                daemon.process.kill()
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
