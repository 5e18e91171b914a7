#!/usr/bin/env python3
"""Command lines: help, versions, usage errors and their exit statuses, "--", suggestions."""

import re

from program import PROGRAM, TINY, check, main, run, status

COMMANDS = ("generate", "ask", "chat", "pull", "inspect", "quantize", "perplexity", "tokenize",
            "detokenize", "encode", "estimate", "logits", "bench", "doctor")

# Arguments that are wrong, and a word that the error must have.
WRONG = (
    ((), "command"),
    (("generat",), "generate"),
    (("tokenise",), "tokenize"),
    (("xyzzy",), "xyzzy"),
    (("generate",), "-m"),
    (("generate", "-m"), "-m"),
    (("generate", "-m", TINY), "-p"),
    (("generate", "-m", TINY, "-p", "a", "--tokens", "1"), "one of"),
    (("generate", "-m", TINY, "-p", "a", "--temprature", "1"), "--temperature"),
    (("generate", "-m", TINY, "-p", "a", "--temperature", "hot"), "hot"),
    (("generate", "-m", TINY, "-p", "a", "--temperature", "nan"), "nan"),
    (("generate", "-m", TINY, "-p", "a", "--temperature=-1"), "-1"),
    (("generate", "-m", TINY, "-p", "a", "--top-p", "1.5"), "1.5"),
    (("generate", "-m", TINY, "-p", "a", "-n", "-3"), "-3"),
    (("generate", "-m", TINY, "-p", "a", "-n", "99999999999"), "99999999999"),
    (("generate", "-m", TINY, "-p", "a", "-n", "3x"), "3x"),
    (("generate", "-m", TINY, "-p", "a", "--seed", "18446744073709551616"), "2^64"),
    (("generate", "-m", TINY, "-p", "a", "-t", "0"), "0"),
    (("generate", "-m", TINY, "-p", "a", "--kv", "q3"), "q3"),
    (("generate", "-m", TINY, "-p", "a", "--logit-bias", "5"), "ID=NUMBER"),
    (("generate", "-m", TINY, "-p", "a", "--logit-bias", "5=nan"), "5=nan"),
    (("generate", "-m", TINY, "-p", "a", "--stop", ""), "empty"),
    (("generate", "-m", TINY, "-p", "a", "--raw=yes"), "takes no value"),
    (("generate", "-m", TINY, "-p", "a", "--ids", "--json"), "--ids"),
    (("generate", "-m", TINY, "-p", "a", "--logprobs", "3"), "--json"),
    (("generate", "-m", TINY, "-p", "a", "--json", "--logprobs", "21"), "20"),
    (("generate", "-m", TINY, "-p", "a", "-Z"), "-Z"),
    (("generate", "-m", TINY, "a"), "unexpected"),
    (("tokenize", "-m", TINY), "TEXT"),
    (("tokenize", "-m", TINY, "a", "b"), "2 were given"),
    (("tokenize", "-m", TINY, "--", "--json", "b"), "2 were given"),
    (("detokenize", "-m", TINY), "IDS"),
    (("logits", "-m", TINY, "--tokens", "1"), "-o"),
    (("logits", "-m", TINY, "-o", "x.npy"), "--tokens"),
    (("logits", "-m", TINY, "--tokens", "1", "-o", "x.npy", "--last", "0"), "--last"),
    (("perplexity", "-m", TINY), "FILE"),
    (("perplexity", "-m", TINY, "--ctx", "1", "f"), "--ctx"),
    (("bench", "-m", TINY, "--repeat", "0"), "--repeat"),
    (("bench",), "-m"),
    (("chat", "-m", TINY, "hello"), "unexpected"),
    (("doctor", "now"), "unexpected"),
    (("inspect",), "MODEL"),
    (("pull",), "--list"),
    (("quantize",), "Try"),
)


def helps(_):
    top = status(run("--help"), 0, "--help").stdout.decode()
    for name in COMMANDS:
        check(re.search(rf"^  {name} ", top, re.M), f"--help does not list {name}")
        text = status(run(name, "--help"), 0, f"{name} --help").stdout.decode()
        check(text.startswith(f"Usage: sensorium {name} "), f"{name} --help: {text[:60]!r}")
        check("\nExamples:\n  " in text, f"{name} --help has no examples")
        wide = [line for line in text.splitlines() if len(line) > 110]
        check(not wide, f"{name} --help: wide lines {wide}")
    done = status(run("--version"), 0, "--version")
    check(re.fullmatch(r"sensorium \d+\.\d+\.\d+\n", done.stdout.decode()), "--version")


def wrong(_):
    for args, word in WRONG:
        done = status(run(*args), 2, str(args))
        err = done.stderr.decode()
        check(word in err, f"{args}: {word!r} is not in {err!r}")
        check("--help" in err, f"{args}: no way to help in {err!r}")
        check(done.stdout == b"", f"{args}: output {done.stdout[:60]!r}")


def words(_):
    """The same command line, written in other ways."""
    want = status(run("tokenize", "-m", TINY, "a b"), 0, "tokenize").stdout
    for args in (("-m", TINY, "--", "a b"), (f"-m{TINY}", "a b"), (f"--model={TINY}", "a b"),
                 ("a b", "-m", TINY), ("--model", TINY, "a b")):
        check(run("tokenize", *args).stdout == want, f"tokenize {args} differs")
    dashes = status(run("tokenize", "-m", TINY, "--", "--json"), 0, "a text like an option")
    check(dashes.stdout != b"" and b"{" not in dashes.stdout, "'--' does not end options")


def colours(_):
    done = run("xyzzy")
    check(b"\033" not in done.stderr, "colours without a terminal")


def full_disk(_):
    import os
    import subprocess
    if not os.path.exists("/dev/full"):
        return
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE, check=False)
    check(done.returncode == 1 and b"standard output" in done.stderr, "a full disk goes unseen")


main((helps, wrong, words, colours, full_disk))
