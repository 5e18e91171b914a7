#!/usr/bin/env python3
"""Sound files through the program, stage by stage, against transformers: `encode` (mel, encoder,
projector), `logits` and `generate` with --audio and <__media__>; `ask`; recordings of several windows;
transcripts for models that do not hear; and what is refused. Prints a line for each family."""

import array
import json
import pathlib
import sys
import wave

try:
    import numpy as np
except ImportError:
    print("skip: numpy is missing")
    sys.exit(77)

# at the end: a file there is called inspect.py, as a module that NumPy imports
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from golden import GOLDEN, MODELS, decode_family  # noqa: E402
from program import HERE, TINY, check, main, run, status  # noqa: E402

MEDIA = HERE.parent / "reference" / "media"
HEARING = ("ultravox", "qwen2audio", "voxtral")
TONES = MEDIA / "tones.wav"
RATE, WINDOW = 16000, 480000


def families():
    for name in HEARING:
        yield name, json.loads((GOLDEN / name / "prompt.json").read_text(encoding="utf-8"))


def cosine(a, b):
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def stage(name, file, what, out):
    done = run("encode", "-m", MODELS / f"{name}.mmproj.gguf", "--audio", file, "--stage", what, "-o", out)
    status(done, 0, f"{name}: encode --stage {what}")
    return np.load(out).astype(np.float64) if done.returncode == 0 else np.zeros((1, 1, 1))


def write_wav(path, n, begin=0):
    """Samples begin .. begin + n of a sound that changes all the time."""
    t = np.arange(begin, begin + n) / RATE
    pcm = (9000 * np.sin(2 * np.pi * (220 + 3 * t) * t)).astype(np.int16)
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(RATE)
        f.writeframes(array.array("h", pcm.tolist()).tobytes())
    return path


def encode(tmp):
    """Mel within 1e-4, rows within an angle of cosine 0.99999."""
    for name, info in families():
        medium = info["media"][0]
        truth = np.load(GOLDEN / name / "mel_0.npy").astype(np.float64)
        mel = stage(name, TONES, "mel", tmp / "stage.npy")
        check(mel.shape == (1, len(truth), 3000), f"{name}: mel of shape {mel.shape}")
        error = np.abs(mel[0, :, :truth.shape[1]] - truth).max()
        # ultravox: behind the sound there is nothing, not silence
        error = max(error, np.abs(mel[0, :, truth.shape[1]:] - medium.get("rest_of_mel", 0)).max())
        check(error <= 1e-4, f"{name}: mel differs by {error:.1e}")
        worst = {}
        for what in ("encoder", "projector"):
            got = stage(name, TONES, what, tmp / "stage.npy")
            truth = np.load(GOLDEN / name / f"{what}.npy").astype(np.float64)
            worst[what] = 1 - cosine(got, truth) if got.shape == truth.shape else np.inf
            check(worst[what] <= 1e-5, f"{name}: {what} is off by 1 - cosine {worst[what]:.1e}")
        print(f"{name:12} mel {error:.1e}, encoder {worst['encoder']:.1e}, "
              f"projector {worst['projector']:.1e}")


def decode(tmp):
    for name, info in families():
        decode_family(name, info, ["--audio", TONES], tmp / "logits.npy")


def windows(tmp):
    """A long recording's rows are those of its windows, each by itself."""
    rest = 3 * RATE + 77
    long = write_wav(tmp / "long.wav", WINDOW + rest)
    parts = (write_wav(tmp / "first.wav", WINDOW), write_wav(tmp / "second.wav", rest, WINDOW))
    for name in HEARING:
        for what in ("mel", "encoder", "projector"):
            whole = stage(name, long, what, tmp / "stage.npy")
            apart = np.concatenate([stage(name, p, what, tmp / "stage.npy") for p in parts])
            check(np.array_equal(whole, apart), f"{name}: {what} of two windows is not that of each")
    check(len(stage("ultravox", parts[0], "projector", tmp / "stage.npy")) == 188, "rows of a full window")
    check(len(stage("qwen2audio", parts[0], "projector", tmp / "stage.npy")) == 750, "rows of a full window")
    # of what ends early, voxtral hears the silence behind it
    check(len(stage("voxtral", parts[1], "projector", tmp / "stage.npy")) == 375, "rows of a short window")


def ask(tmp):
    """Several sounds, in a chat; lines about them."""
    tail = write_wav(tmp / "tail.wav", RATE)
    for name in HEARING:
        done = status(run("ask", "-m", MODELS / f"{name}.gguf", "--template", "chatml", "--ctx", 1024, "--audio",
                          TONES, "--audio", tail, "--temperature", 0, "-n", 4, "--ids", "-v",
                          "What <|audio|> is <__media__> this?"), 0, f"{name}: ask")
        check(len(done.stdout.split()) <= 4, f"{name}: ask: {done.stdout!r}")
        lines = [x for x in done.stderr.decode().splitlines() if "of sound" in x]
        check(len(lines) == 2 and "tones.wav: 2.30 s" in lines[0] and "tail.wav: 1.00 s" in lines[1],
              f"{name}: ask -v says {done.stderr.decode()!r}")


def estimate(tmp):
    """As many tokens as rows come, whatever the length; a status when they do not fit."""
    files = (TONES, write_wav(tmp / "odd.wav", 3 * RATE + 77), write_wav(tmp / "two.wav", WINDOW + 5000),
             write_wav(tmp / "just.wav", WINDOW))
    for name in HEARING:
        for file in files:
            rows = len(stage(name, file, "projector", tmp / "rows.npy"))
            done = status(run("estimate", "-m", MODELS / f"{name}.mmproj.gguf", "--audio", file, "--json"), 0,
                          f"{name}: estimate")
            plan = json.loads(done.stdout)
            check(plan["tokens"] == rows == plan["sounds"][0]["tokens"], f"{name}: {plan}, {rows} rows")
            check(plan["sounds"][0]["windows"] == (2 if file.name == "two.wav" else 1), f"{name}: {plan}")
    many = [a for _ in range(40) for a in ("--audio", TONES)]
    done = run("estimate", "-m", MODELS / "ultravox.gguf", "--mmproj", MODELS / "ultravox.mmproj.gguf", *many)
    status(done, 1, "estimate of 40 sounds")
    check(b"the context is" in done.stderr, f"{done.stderr}")


def bench(_):
    for name in HEARING:
        done = status(run("bench", "-m", MODELS / f"{name}.mmproj.gguf", "--audio", TONES, "--repeat", 2, "--json"),
                      0, f"{name}: bench")
        got = json.loads(done.stdout)
        check(got["windows"] == 1 and got["seconds"] == 2.3 and got["tokens"] > 0 and got["windows_per_s"] > 0,
              f"{name}: {got}")


def order(tmp):
    """Sounds stand in the order in which they are given."""
    tail = write_wav(tmp / "tail.wav", RATE)
    got = []
    for first, second in ((TONES, tail), (tail, TONES)):
        out = tmp / "logits.npy"
        status(run("logits", "-m", MODELS / "ultravox.gguf", "--audio", first, "--audio", second, "-p",
                   "a <__media__> b <__media__> c", "-o", out), 0, "two sounds")
        got.append(np.load(out))
    check(not np.array_equal(*got), "the order of sounds makes no difference")


def transcript(tmp):
    """A model that does not hear is asked what somebody would have typed; one that hears, hears."""
    whisper, model = MODELS / "whisper.gguf", MODELS / "qwen2.gguf"
    chirp = write_wav(tmp / "chirp.wav", 2 * RATE)
    said = []
    for file in (TONES, chirp):
        done = status(run("transcribe", "-m", whisper, "-q", "-f", "json", file), 0, "transcribe")
        texts = " ".join(s["text"] for s in json.loads(done.stdout)["segments"])
        said.append(f"Transcript of {file.name}: " + (f'"{texts}"' if texts else "(no speech)") + "\n\n")
    options = ("--template", "chatml", "--temperature", 0, "-n", 8, "--json")
    got = status(run("ask", "-m", model, "--audio", TONES, "--audio", chirp, "--transcribe-with", whisper,
                     *options, "What is it?"), 0, "ask with a transcript")
    want = status(run("ask", "-m", model, *options, "".join(said) + "What is it?"), 0, "ask")
    told, typed = json.loads(got.stdout), json.loads(want.stdout)
    check(told["ids"] == typed["ids"] and told["usage"] == typed["usage"],
          f"a transcript gives {told['ids']}, typed {typed['ids']}")
    check([m["as"] for m in told["media"]] == ["transcript"] * 2 and "media" not in typed,
          f"media: {told['media']}")
    check(got.stderr.decode().count("reads a transcript") == 2, f"nothing about it in {got.stderr!r}")
    done = status(run("ask", "-m", MODELS / "llava.gguf", "--image", MEDIA / "wide.png", "--audio", TONES,
                      "--transcribe-with", whisper, *options, "a"), 0, "a picture and a transcript")
    check([m["as"] for m in json.loads(done.stdout)["media"]] == ["picture", "transcript"], f"{done.stdout}")
    done = status(run("ask", "-m", MODELS / "ultravox.gguf", "--audio", TONES, "--transcribe-with", whisper,
                      *options, "a"), 0, "ask one that hears")
    check(json.loads(done.stdout)["media"][0]["as"] == "sound", f"{done.stdout}")
    print(said)


def refusals(tmp):
    model, ears = MODELS / "ultravox.gguf", MODELS / "ultravox.mmproj.gguf"
    text, short = tmp / "text.wav", write_wav(tmp / "short.wav", 0)
    text.write_text("not a recording")
    out = tmp / "x.npy"
    minute = write_wav(tmp / "minute.wav", 2 * WINDOW)
    hour = write_wav(tmp / "hour.wav", 60 * WINDOW + 1)
    cases = (
        (("ask", "-m", TINY, "--audio", TONES, "a"), "cannot hear without an mmproj file"),
        (("ask", "-m", TINY, "--mmproj", tmp / "none.gguf", "--transcribe-with", MODELS / "whisper.gguf",
          "--audio", TONES, "a"), "none.gguf"),
        (("ask", "-m", TINY, "--transcribe-with", TINY, "--audio", TONES, "a"), "llama-smol"),
        (("ask", "-m", MODELS / "llava.gguf", "--audio", TONES, "a"), "audio tower"),
        (("ask", "-m", model, "--image", MEDIA / "wide.png", "a"), "vision"),
        (("ask", "-m", model, "--audio", tmp / "none.wav", "a"), "none.wav"),
        (("ask", "-m", model, "--audio", text, "a"), "text.wav"),
        (("ask", "-m", model, "--audio", MEDIA / "wide.png", "a"), "wide.png"),
        (("ask", "-m", model, "--ctx", 64, "--audio", minute, "a"), "the context is 64"),
        (("encode", "-m", ears, "--audio", short, "-o", out), "short.wav"),
        (("encode", "-m", ears, "--audio", hour, "-o", out), "30 minutes"),
        (("estimate", "-m", ears, "--audio", hour), "30 minutes"),
        (("estimate", "-m", MODELS / "llava.mmproj.gguf", "--audio", TONES), "audio tower"),
        (("bench", "-m", MODELS / "llava.mmproj.gguf", "--audio", TONES), "audio tower"),
        (("encode", "-m", MODELS / "llava.mmproj.gguf", "--audio", TONES, "-o", out), "audio tower"),
        (("logits", "-m", MODELS / "qwen2.gguf", "--mmproj", MODELS / "gemma3v.mmproj.gguf", "--audio", TONES,
          "-p", "a", "-o", out), "cannot hear"),
        (("logits", "-m", model, "--audio", TONES, "-p", "<__media__> <__media__>", "-o", out),
         "2 media markers"),
    )
    for args, word in cases:
        done = status(run(*args), 1, f"{args[0]} {word}")
        check(word in done.stderr.decode(), f"{word!r} is not in {done.stderr.decode()!r}")
    check(not out.exists(), "an output in spite of an error")
    for args in (("encode", "-m", ears, "--audio", TONES, "--stage", "pixels", "-o", "x"),
                 ("encode", "-m", ears, "--image", TONES, "--stage", "mel", "-o", "x"),
                 ("encode", "-m", ears, "--image", TONES, "--audio", TONES, "-o", "x"),
                 ("logits", "-m", model, "--tokens", "1", "--audio", TONES, "-o", "x"),
                 ("generate", "-m", model, "--tokens", "1", "--audio", TONES),
                 ("ask", "-m", model, "--transcribe-with", model, "a")):
        status(run(*args), 2, f"{args}")


main((encode, decode, windows, estimate, bench, ask, order, transcript, refusals))
