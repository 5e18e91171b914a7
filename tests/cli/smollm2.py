#!/usr/bin/env python3
"""A real model, end to end: SmolLM2-135M-Instruct from the cache."""

import json
import sys

from program import SMOLLM2, check, main, run, status

if not SMOLLM2:
    print("skip: SN_TEST_SMOLLM2 is not set and the model is not in the cache")
    sys.exit(77)


def answers(_):
    done = status(run("generate", "-m", SMOLLM2, "-p", "What is the capital of France?", "-n", "32",
                      "--json"), 0, "generate")
    data = json.loads(done.stdout)
    check("Paris" in data["text"], f"the capital of France: {data['text']!r}")
    check(data["finish"] == "eos", f"the answer ended by {data['finish']}")
    text = status(run("generate", "-m", SMOLLM2, "-p", "What is the capital of France?", "-n",
                      "32"), 0, "generate as text").stdout.decode()
    check(text.rstrip("\n") == data["text"].rstrip("\n"), f"streamed: {text!r}")
    cut = status(run("generate", "-m", SMOLLM2, "-p", "What is the capital of France?", "--stop",
                     "Paris", "--json"), 0, "generate --stop")
    data = json.loads(cut.stdout)
    check("Paris" not in data["text"] and data["finish"] == "stop", f"--stop: {data}")


def converses(_):
    done = status(run("chat", "-m", SMOLLM2, "-n", "48", "-v",
                      stdin="What is the capital of France?\nAnd what is the capital of Italy?\n"),
                  0, "chat")
    text = done.stdout.decode()
    check("Paris" in text and "Rome" in text, f"a conversation: {text!r}")
    counts = [line.split() for line in done.stderr.decode().splitlines()]
    check(int(counts[-1][2]) >= int(counts[0][0]), f"the cache was not used: {counts}")


def sampled(_):
    args = ("generate", "-m", SMOLLM2, "--raw", "-p", "Once upon a time", "-n", "24",
            "--temperature", "0.8", "--top-p", "0.95", "--seed", "7")
    first = status(run(*args), 0, "a sampled text").stdout
    check(run(*args, "-t", "1").stdout == first, "the text depends on the number of threads")
    check(run(*args[:-1], "8").stdout != first, "another seed gives the same text")


def cache_type(_):
    done = status(run("generate", "-m", SMOLLM2, "-p", "What is the capital of France?", "-n", "32",
                      "--kv", "q8"), 0, "a q8 cache")
    check(b"Paris" in done.stdout, f"with a q8 cache: {done.stdout!r}")


main((answers, converses, sampled, cache_type))
