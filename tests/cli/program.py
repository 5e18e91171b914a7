"""What the tests of the program share: running it, collecting failures, a tiny model."""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = os.environ.get("SENSORIUM", "./sensorium")
TINY = HERE.parent / "reference" / "models" / "llama-smol.gguf"
SMOLLM2 = os.environ.get("SN_TEST_SMOLLM2")
LIMIT_S = 300
failures = []


def run(*args, stdin=b"", env=None):
    """The finished process; stdout and stderr are bytes."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    return subprocess.run([PROGRAM, *map(str, args)], input=stdin, capture_output=True,
                          timeout=LIMIT_S, env={**os.environ, **(env or {})}, check=False)


def check(ok, what):
    if not ok:
        failures.append(what)
        print(f"FAIL: {what}")
    return ok


def status(done, want, what):
    """Checks the exit status, and that a failure says something and a success says no error."""
    err = done.stderr.decode(errors="replace")
    check(done.returncode == want, f"{what}: exit status {done.returncode}, not {want}: {err[-300:]}")
    if want in (1, 2):
        check(err.startswith("sensorium: "), f"{what}: standard error is {err[:80]!r}")
    return done


def main(cases):
    if not os.access(PROGRAM, os.X_OK):
        print(f"skip: {PROGRAM} is not there")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as tmp:
        for case in cases:
            case(pathlib.Path(tmp))
    sys.exit(1 if failures else 0)
