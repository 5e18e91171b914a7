#!/usr/bin/env python3
"""docs/schemas/job.json and the parser agree: on each row of headers.json, and on headers that are made of
those by changing one thing at random. Where the schema cannot say something, the row says so."""
import copy
import json
import os
import random
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    sys.exit(77)

TOP = os.environ.get("srcdir", ".")
TOOL = os.path.join(os.environ.get("SN_BUILDDIR", "build"), "tests", "queue", "job_tool")
N_MUTANTS = 4000


def load(name):
    with open(os.path.join(TOP, name), encoding="utf-8") as file:
        return json.load(file)


def validator(name):
    schema = load(f"docs/schemas/{name}.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def judge(cases):
    """What the parser says of (header, frames)."""
    text = "".join(f"{frames} {json.dumps(header)}\n" for header, frames in cases)
    run = subprocess.run([TOOL], input=text, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in run.stdout.splitlines()]


VALUES = [None, True, False, 0, 1, -1, 2, 0.5, 1.0, 17, 101, 1e6, 2**31, 2**53 - 1, 2**53, "", "x", "noop",
          "transcribe", "keep", "fail", "image", "user", "/x", "0" * 64, "x" * 300, [], ["x"], [""], {}, {"x": 1}]
NAMES = ["task", "model", "prompt", "messages", "system", "media", "options", "priority", "deadline_at_ms", "retries",
         "keep_s", "key", "on_disconnect", "watch", "share", "tag", "nonsense"]
OPTIONS = ["max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "stop", "raw",
           "image_tokens", "fps", "frames", "language", "translate", "words", "sleep_ms", "echo", "fault", "nonsense"]


def inner(rng, value):
    """An object or array within, the outer ones more likely."""
    while isinstance(value, (dict, list)) and value and rng.random() < 0.5:
        children = [v for v in (value.values() if isinstance(value, dict) else value) if isinstance(v, (dict, list))]
        if not children:
            break
        value = rng.choice(children)
    return value


def mutate(rng, header):
    header = copy.deepcopy(header)
    at = inner(rng, header)
    value = copy.deepcopy(rng.choice(VALUES))
    if isinstance(at, list):
        if at and rng.random() < 0.7:
            at[rng.randrange(len(at))] = value
        else:
            at.append(value)
    elif at and rng.random() < 0.3:
        del at[rng.choice(sorted(at))]
    elif at and rng.random() < 0.5:
        at[rng.choice(sorted(at))] = value
    else:
        at[rng.choice(OPTIONS if at is header.get("options") else NAMES)] = value
    return header


def beyond_schema(code, message):
    """Frames and media that do not match, and parts of messages that do not match the media."""
    return code == "bad_media" or "stands for medium" in message or message.startswith("messages name")


def main():
    rows = [row for row in load("tests/queue/headers.json") if len(row) > 1]
    job = validator("job")
    validator("result")
    validator("stats")
    wrong = 0
    for row, verdict in zip(rows, judge([(row[0], row[1]) for row in rows])):
        taken = job.is_valid(row[0])
        expected = row[2] is None or len(row) > 4
        if taken != expected or (row[2] or "ok") != verdict[0]:
            print(f"FAIL: {json.dumps(row[0])}: schema {taken}, parser {verdict}")
            wrong += 1
    rng = random.Random(5)
    mutants = [(mutate(rng, row[0]), row[1]) for row in rng.choices(rows, k=N_MUTANTS)]
    n_taken = 0
    for (header, frames), verdict in zip(mutants, judge(mutants)):
        taken = job.is_valid(header)
        n_taken += taken
        if taken != (verdict[0] == "ok") and not (taken and beyond_schema(verdict[0], verdict[2])):
            print(f"FAIL: {frames} {json.dumps(header)[:300]}: schema {taken}, parser {verdict}")
            wrong += 1
    print(f"{len(rows)} rows, {N_MUTANTS} mutants ({n_taken} good): {wrong} disagree")
    return wrong > 0 or not N_MUTANTS / 20 < n_taken < N_MUTANTS * 19 / 20


sys.exit(main())
