"""What the tests of the daemon share: starting and killing it, and a client written from docs/protocol.md."""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

try:
    import zmq
except ImportError:
    print("skip: pyzmq is not there")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent / "reference" / "models"
DAEMON = os.environ.get("SENSORIUMD", "./sensoriumd")
QUICK = bool(os.environ.get("SN_TEST_QUICK") or os.environ.get("SN_TEST_SANITIZED"))  # fewer of the same
SLOW = 10 if os.environ.get("SN_TEST_SANITIZED") else 1  # times everything takes
FINAL = {"done", "partial", "failed", "cancelled", "expired", "dead"}
failures = []


def check(ok, what):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what}", flush=True)
    return ok


class Refused(Exception):
    """An ERROR or a REJECTED; .verb and .header say which."""

    def __init__(self, verb, header):
        super().__init__(f"{verb} {header}")
        self.verb, self.header, self.code = verb, header, header.get("code")


def unique(pairs):
    """An object of a header, in which no name may stand twice."""
    assert len(dict(pairs)) == len(pairs), f"a name stands twice: {pairs}"
    return dict(pairs)


class Client:
    """Requests and replies over one DEALER socket."""

    def __init__(self, endpoint, keys=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        if keys:  # (public, secret, server's public), Z85
            self.socket.curve_publickey, self.socket.curve_secretkey, self.socket.curve_serverkey = keys
        self.socket.connect(endpoint)
        self.ids = itertools.count(1)
        self.waiting = {}  # replies that somebody else asked for

    def send(self, verb, header=None, media=()):
        request = b"%d" % next(self.ids)
        self.socket.send_multipart([b"SNJP/1", verb.encode(), request, json.dumps(header or {}).encode(), *media])
        return request

    def receive(self, timeout_s=30.0):
        """(request id, verb, header), or None when the time is over."""
        if not self.socket.poll(int(timeout_s * 1000)):
            return None
        version, verb, request, header, *_ = self.socket.recv_multipart()
        assert version == b"SNJP/1", version
        return request, verb.decode(), json.loads(header, object_pairs_hook=unique)

    def reply(self, request, timeout_s=30.0):
        """The next (verb, header) to this request; TimeoutError."""
        if self.waiting.get(request):
            return self.waiting[request].pop(0)
        end = time.monotonic() + timeout_s * SLOW
        while (left := end - time.monotonic()) > 0:
            got = self.receive(left)
            if got and got[0] == request:
                return got[1:]
            if got:
                self.waiting.setdefault(got[0], []).append(got[1:])
        raise TimeoutError(f"no reply within {timeout_s} s")

    def ask(self, verb, header=None, media=(), timeout_s=30.0):
        verb, answer = self.reply(self.send(verb, header, media), timeout_s)
        if verb in ("ERROR", "REJECTED"):
            raise Refused(verb, answer)
        return answer

    def submit(self, header, media=(), timeout_s=30.0):
        return self.ask("SUBMIT", header, media, timeout_s)["job"]

    def result(self, job, timeout_s=60.0):
        """The result of a job, once it is final."""
        end = time.monotonic() + timeout_s * SLOW
        while time.monotonic() < end:
            answer = self.ask("RESULT", {"job": job, "wait_ms": 2000}, timeout_s=timeout_s)
            if answer["state"] in FINAL:
                return answer
        raise TimeoutError(f"{job} is not final within {timeout_s} s")

    def close(self):
        self.socket.close()
        self.context.term()


class Daemon:
    """sensoriumd in a folder of its own. Its log is .log."""

    def __init__(self, folder, *args, env=None):
        self.folder = pathlib.Path(folder)
        self.args = [str(a) for a in args]
        self.env = {**os.environ, **(env or {})}
        self.endpoint = f"ipc://{self.folder}/d.sock"
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.process = None

    def command(self):
        return [DAEMON, "--data", str(self.data), "--endpoint", self.endpoint, *self.args]

    def start(self, timeout_s=60.0):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.env)
        client = Client(self.endpoint)
        try:
            client.ask("PING", timeout_s=timeout_s)
        except TimeoutError:
            raise RuntimeError(f"the daemon did not come up: {self.log.read_text()[-2000:]}") from None
        finally:
            client.close()
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s=60.0):
        """Ends it politely; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s * SLOW)

    def worker(self):
        """The worker's pid."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.kill()


def main(cases):
    """Runs the cases, each with a folder of its own; ends the process."""
    if not os.access(DAEMON, os.X_OK):
        print(f"skip: {DAEMON} is not there")
        sys.exit(77)
    for case in cases:
        # Paths of sockets are at most 107 bytes long.
        with tempfile.TemporaryDirectory(prefix="sn-", dir="/tmp") as folder:
            print(f"-- {case.__name__}", flush=True)
            try:
                case(pathlib.Path(folder))
            except Exception as e:  # the next case may tell more
                check(False, f"{case.__name__}: {type(e).__name__}: {e}")
                for log in pathlib.Path(folder).rglob("log"):
                    print(log.read_text(errors="replace")[-3000:])
    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0)
