#!/usr/bin/env python3
"""The commands on a tiny model with random weights: what they print, and what they refuse."""

import json
import os
import pty
import signal
import struct
import subprocess
import time

from program import PROGRAM, TINY, check, main, run, status

TEXTS = (b"", b"a", b"Hello, world", "na\u00efve \u65e5\u672c\u8a9e \U0001F600".encode(),
         b"  two  spaces\n\n\ttab\r\n", b"\xff\xfe broken \xc3", b"<|im_start|>user")


def ids_of(text, *options):
    done = status(run("tokenize", "-m", TINY, *options, "-", stdin=text), 0, f"tokenize {text!r}")
    out = done.stdout.decode()
    check(out.endswith("\n") and out.count("\n") == 1, f"tokenize {text!r}: {out!r}")
    return out.split()


def tokens(_):
    for text in TEXTS:
        ids = ids_of(text, "--no-special")
        back = status(run("detokenize", "-m", TINY, "--special", "-", stdin=" ".join(ids)), 0,
                      f"detokenize {ids}")
        check(back.stdout == text, f"{text!r} came back as {back.stdout!r}")
        done = status(run("tokenize", "-m", TINY, "--no-special", "--json", "-", stdin=text), 0,
                      f"tokenize --json {text!r}")
        data = json.loads(done.stdout)
        check([str(i) for i in data["ids"]] == ids, f"--json differs for {text!r}")
        check(len(data["tokens"]) == len(ids), f"--json lacks tokens for {text!r}")
    for bad in ("1,x", "-1", "1 2 99999999", "99999999999999999999", "1.5"):
        status(run("detokenize", "-m", TINY, "--", bad), 1, f"detokenize {bad}")


def generate(*options):
    done = run("generate", "-m", TINY, "--tokens", "1,2,3", "-n", "12", "--ignore-eos", *options)
    return status(done, 0, f"generate {options}").stdout


def generates(_):
    greedy = generate("--ids").split()
    check(len(greedy) == 12, f"-n 12 gave {len(greedy)} ids")
    check(generate("--ids").split() == greedy, "the same command gives other ids")
    check(generate("--ids", "-t", "1").split() == greedy, "one thread gives other ids")
    check(generate("--ids", "--temperature", "0").split() == greedy, "temperature 0 is not greedy")
    data = json.loads(generate("--json", "--logprobs", "3"))
    check([str(i) for i in data["ids"]] == [i.decode() for i in greedy], "--json has other ids")
    check(data["finish"] in ("length", "loop"), f"finish is {data['finish']}")
    check(data["usage"] == {"prompt_tokens": 3, "cached_tokens": 0, "completion_tokens": len(data["ids"])},
          f"usage is {data['usage']}")
    for key in ("load_s", "prefill_s", "first_token_s", "decode_s"):
        check(data["timings"][key] >= 0, f"timings lack {key}")
    for token, entry in zip(data["ids"], data["logprobs"]):
        check(entry["id"] == token and entry["logprob"] <= 0, f"logprob entry {entry}")
        check(len(entry["top"]) == 3 and entry["top"][0]["id"] == token, f"top of {entry}")
    hot = ("--temperature", "1.5", "--ids", "--seed")
    seeds = [generate(*hot, str(n)) for n in range(4)]
    check(len(set(seeds)) > 1, "every seed gives the same ids")
    check([generate(*hot, str(n)) for n in range(4)] == seeds, "a seed gives other ids again")
    check(generate("--ids", "--logit-bias", f"{greedy[0].decode()}=-inf").split()[0] != greedy[0],
          "a banned token came out")


def refusals(tmp):
    status(run("generate", "-m", tmp / "none.gguf", "-p", "a"), 1, "a missing file")
    (tmp / "empty.gguf").write_bytes(b"")
    (tmp / "text.gguf").write_bytes(b"this is not a model")
    whole = TINY.read_bytes()
    for n in (4, 23, 1000, len(whole) // 2, len(whole) - 1):
        (tmp / f"cut{n}.gguf").write_bytes(whole[:n])
    for bad in sorted(tmp.glob("*.gguf")):
        for args in (("generate", "-m", bad, "-p", "a"), ("tokenize", "-m", bad, "a"),
                     ("inspect", bad), ("bench", "-m", bad)):
            if args[0] == "tokenize" and bad.stat().st_size > len(whole) // 2:
                continue
            err = status(run(*args), 1, f"{args[0]} {bad.name}").stderr.decode()
            check(bad.name in err, f"{args[0]} {bad.name}: {err!r} does not name the file")
    status(run("generate", "-m", tmp, "-p", "a"), 1, "a folder as a model")
    long = ",".join(["5"] * 40)
    err = status(run("generate", "-m", TINY, "--tokens", long, "--ctx", "32"), 1,
                 "a long prompt").stderr.decode()
    check("40" in err and "32" in err, f"a long prompt: {err!r} lacks the numbers")
    done = status(run("generate", "-m", TINY, "--tokens", "1,2,3", "--ctx", "8", "-n", "0", "--ids",
                      "--ignore-eos", "--no-loop-check"), 0, "a full context")
    check(len(done.stdout.split()) == 6, f"8 - 3 + 1 tokens should fit: {done.stdout!r}")
    status(run("generate", "-m", TINY, "--tokens", "1,99999999"), 1, "a token out of range")
    status(run("generate", "-m", TINY, "--tokens", ""), 1, "no tokens")
    status(run("generate", "-m", TINY, "-f", tmp / "none.txt"), 1, "a missing prompt file")
    status(run("generate", "-m", TINY, "--device", "abacus", "-p", "a"), 1, "an unknown device")
    status(run("generate", "-m", "no-such-name", "-p", "a"), 1, "an unknown name")


def logits(tmp):
    out = tmp / "out.npy"
    status(run("logits", "-m", TINY, "--tokens", "1,2,3,4", "--last", "3", "-o", out), 0, "logits")
    data = out.read_bytes()
    check(data[:8] == b"\x93NUMPY\x01\x00", "no NumPy file")
    size, = struct.unpack("<H", data[8:10])
    check((10 + size) % 64 == 0 and data[10 + size - 1:10 + size] == b"\n", "the header's length")
    head = eval(data[10:10 + size].decode(), {})  # a literal, by NumPy's specification
    check(head["descr"] == "<f4" and head["shape"][0] == 3, f"header {head}")
    check(len(data) == 10 + size + 4 * 3 * head["shape"][1], "the array's length")
    one = tmp / "one.npy"
    status(run("logits", "-m", TINY, "--tokens", "1,2,3,4", "-o", one), 0, "logits of one")
    check(one.read_bytes()[-400:] == data[-400:], "the last row depends on --last")
    status(run("logits", "-m", TINY, "--tokens", "1", "--last", "2", "-o", out), 1, "too many rows")
    status(run("logits", "-m", TINY, "--tokens", "1", "-o", tmp / "no" / "x.npy"), 1, "a bad path")


def perplexity(tmp):
    text = tmp / "text.txt"
    text.write_text("It was a bright cold day in April, and the clocks were striking. " * 20)
    done = status(run("perplexity", "-m", TINY, "--ctx", "64", "--json", text), 0, "perplexity")
    a = json.loads(done.stdout)
    check(a["perplexity"] > 1 and a["windows"] == -(-a["tokens"] // 64), f"perplexity: {a}")
    check(a["scored"] == a["tokens"] - a["windows"], f"scored: {a}")
    b = json.loads(run("perplexity", "-m", TINY, "--ctx", "64", "-t", "1", "--json", text).stdout)
    check(a["perplexity"] == b["perplexity"], "the number of threads changes the perplexity")
    (tmp / "none.txt").write_text("")
    status(run("perplexity", "-m", TINY, tmp / "none.txt"), 1, "perplexity of nothing")
    status(run("perplexity", "-m", TINY, tmp / "missing.txt"), 1, "perplexity of a missing file")


def figures(_):
    done = status(run("bench", "-m", TINY, "--prefill", "40", "--decode", "3", "--batch", "2",
                      "--repeat", "2", "--json"), 0, "bench")
    data = json.loads(done.stdout)
    for key in ("prefill_tokens_per_s", "decode_tokens_per_s", "load_s", "first_token_s",
                "peak_rss_bytes", "kv_bytes"):
        check(data[key] > 0, f"bench: {key} is {data.get(key)}")
    status(run("bench", "-m", TINY, "--prefill", "4", "--decode", "0", "--repeat", "1"), 0,
           "bench without decoding")
    data = json.loads(status(run("doctor", "--json"), 0, "doctor").stdout)
    for key in ("version", "cores", "memory_bytes", "device", "libraries", "cache"):
        check(data.get(key), f"doctor lacks {key}")
    check(len(data["libraries"]) >= 6, f"libraries: {data['libraries']}")
    status(run("doctor"), 0, "doctor as text")
    data = json.loads(status(run("inspect", "--json", TINY), 0, "inspect").stdout)
    check(data["parameters"] > 0, "inspect counts no parameters")
    check(json.loads(run("pull", "--list", "--json").stdout), "the catalogue is empty")


def chats(tmp):
    template = ("--template", "chatml")
    args = ("chat", "-m", TINY, "-n", "4", *template)
    done = status(run(*args, stdin="hello\nagain\n"), 0, "chat")
    check(done.stdout.count(b"\n") >= 2, f"two turns gave {done.stdout!r}")
    check(run(*args, stdin="hello\n/quit\nagain\n").stdout ==
          run(*args, stdin="hello").stdout, "/quit does not quit")
    twice = run(*args, stdin="hello\n/reset\nhello\n").stdout
    half = run(*args, stdin="hello\n").stdout
    check(twice == half + half, "/reset leaves something behind")
    done = run(*args, "-v", stdin="hello\nagain\n")
    second = done.stderr.decode().splitlines()[-1]
    check(" 0 of them" not in second, f"the second turn runs everything again: {second}")
    done = status(run(*args, "--ctx", "16", stdin="word " * 60), 1, "a turn over the context")
    check(b"16" in done.stderr, f"an overflow: {done.stderr!r}")
    (tmp / "t.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    status(run("chat", "-m", TINY, "-n", "2", "--template", tmp / "t.jinja", stdin="hi\n"), 0,
           "a template from a file")
    (tmp / "bad.jinja").write_text("{% for %}")
    status(run("chat", "-m", TINY, "--template", tmp / "bad.jinja", stdin="hi\n"), 1, "a bad template")
    status(run("chat", "-m", TINY, "--template", "no-such", stdin="hi\n"), 1, "no such template")


def wait(process, seconds=60):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "nothing within a minute"


def interrupts(_):
    """Ctrl-C ends with 130 in the middle of an answer, and while chat waits for a turn."""
    args = [PROGRAM, "generate", "-m", str(TINY), "--tokens", "1,2,3", "-n", "0", "--ctx", "1000000",
            "--ignore-eos", "--no-loop-check"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        p.stdout.read(1)
        p.send_signal(signal.SIGINT)
        p.stdout.read()
        got = wait(p)
        check(got == 130, f"Ctrl-C in an answer: {got}: {p.stderr.read()[-200:]!r}")
    with subprocess.Popen([PROGRAM, "chat", "-m", str(TINY), "-n", "2", "--template", "chatml"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as p:
        p.stdin.write(b"hello\n")
        p.stdin.flush()
        p.stdout.read(1)
        time.sleep(0.5)  # it has answered and waits
        p.send_signal(signal.SIGINT)
        got = wait(p)
        check(got == 130, f"Ctrl-C while waiting for a turn: {got}")


def terminal(_):
    """Chat on a terminal: a prompt, an answer, /help, Ctrl-C at the prompt."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.environ["NO_COLOR"] = "1"
        os.execv(PROGRAM, [PROGRAM, "chat", "-m", str(TINY), "-n", "2", "--template", "chatml"])
    seen = b""

    def read_until(what):
        nonlocal seen
        end = time.monotonic() + 60
        while what not in seen and time.monotonic() < end:
            try:
                seen += os.read(fd, 4096)
            except OSError:
                break
        found = what in seen
        seen = seen[seen.index(what) + len(what):] if found else seen
        return check(found, f"on a terminal: {what!r} is not in {seen[-200:]!r}")

    read_until(b"/help lists commands")
    read_until(b"> ")
    os.write(fd, b"/help\n")
    read_until(b"/reset")
    read_until(b"> ")
    os.write(fd, b"hello\n")
    read_until(b"hello")
    read_until(b"> ")
    os.write(fd, b"\x03")
    done, raw = 0, 0
    end = time.monotonic() + 60
    while not done and time.monotonic() < end:
        done, raw = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)
    if not done:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(raw) if done else "nothing within a minute"
    check(code == 130, f"Ctrl-C at the prompt: {code}")
    os.close(fd)


main((tokens, generates, refusals, logits, perplexity, figures, chats, interrupts, terminal))
