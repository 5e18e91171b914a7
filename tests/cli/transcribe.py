#!/usr/bin/env python3
"""convert and transcribe, with a tiny Whisper of random weights, and, where it is in the cache, with
Whisper base."""

import json
import os
import random
import re
import struct
import wave

from program import HERE, check, main, run, status

TINY = HERE.parent / "reference" / "models" / "whisper.gguf"
TONES = HERE.parent / "reference" / "media" / "tones.wav"
INAUGURAL = HERE.parent.parent / "samples" / "inaugural.mp3"
SEEDS = HERE.parent / "fuzz" / "corpus"
BASE = os.environ.get("SN_TEST_WHISPER")
SAID = "ask what you can do for your country"


def write_wave(path, samples):
    with wave.open(str(path), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(16000)
        w.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def transcribe(*args, model=TINY):
    return status(run("transcribe", "-m", model, "-q", *args), 0, f"transcribe {args}").stdout.decode()


def formats(tmp):
    args = ("-l", "en", "--temperature", "0", TONES)
    data = json.loads(transcribe("-f", "json", *args))
    check(data["language"] == "en" and not data["no_speech"] and data["segments"], f"json: {data}")
    text = transcribe(*args)
    check(" ".join(text.split()) == " ".join(data["text"].split()), f"txt: {text!r}, json: {data['text']!r}")
    srt = transcribe("-f", "srt", *args)
    check(re.match(r"1\n00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}\n", srt), f"srt: {srt!r}")
    vtt = transcribe("-f", "vtt", "-w", *args)
    check(re.match(r"WEBVTT\n\n00:00:\d\d\.\d{3} --> 00:00:\d\d\.\d{3}\n", vtt), f"vtt: {vtt!r}")
    words = json.loads(transcribe("-f", "json", "-w", *args))
    for s in words["segments"]:
        check("".join(w["word"] for w in s["words"]).strip() == s["text"], f"words of {s}")
    folder = tmp / "out" / "put"
    transcribe("-f", "srt", "-o", folder, *args)
    check((folder / "tones.srt").read_text() == srt, "--output-dir writes another file")
    lines = transcribe("-f", "json", "-l", "en", "--temperature", "0", *[TONES] * 20).splitlines()
    check(len(lines) == 20 and all(json.loads(x)["text"] == data["text"] for x in lines), f"20 files: {lines}")
    check(transcribe("--batch", "1", "-t", "1", *args) == text, "the batch changes the text")


def silence(tmp):
    noise = random.Random(3)
    for loud in (0, 3, 300):
        path = tmp / f"noise{loud}.wav"
        write_wave(path, [noise.randint(-loud, loud) for _ in range(35 * 16000)])
        done = status(run("transcribe", "-m", TINY, path), 0, f"noise of {loud}")
        check(done.stdout == b"" and b"no speech" in done.stderr, f"noise of {loud}: {done}")
        data = json.loads(transcribe("-f", "json", path))
        check(data["no_speech"] and data["segments"] == [] and data["language"] is None, f"silence: {data}")
    write_wave(tmp / "empty.wav", [])
    done = run("transcribe", "-m", TINY, tmp / "empty.wav")
    check(done.returncode in (0, 1) and done.stdout == b"", f"an empty recording: {done}")


def refuses(tmp):
    text = tmp / "text.wav"
    text.write_text("not a sound at all\n" * 100)
    status(run("transcribe", "-m", TINY, text), 1, "a text file")
    status(run("transcribe", "-m", TINY, tmp / "none.wav"), 1, "no such file")
    status(run("transcribe", "-m", TINY, "-l", "tlh", TONES), 1, "an unknown language")
    status(run("transcribe", "-m", TINY), 2, "no file")
    status(run("transcribe", "-m", TINY, "-f", "doc", TONES), 2, "an unknown format")
    status(run("transcribe", "-m", TINY, "-f", "srt", TONES, TONES), 2, "subtitles of two to standard output")
    status(run("transcribe", "-m", TINY, "-w", TONES), 2, "words in plain text")
    llama = TINY.with_name("llama-smol.gguf")
    status(run("transcribe", "-m", llama, TONES), 1, "a model that does not hear")
    done = status(run("generate", "-m", TINY, "--raw", "-p", "x"), 1, "Whisper asked to generate")
    check(b"encoder" in done.stderr, f"Whisper asked to generate: {done.stderr}")
    # the others go on
    done = run("transcribe", "-m", TINY, "-q", "-l", "en", tmp / "none.wav", TONES)
    check(done.returncode == 1 and b"tones.wav <==" in done.stdout, f"one of two: {done}")


def converts(tmp):
    out = tmp / "out.gguf"
    status(run("convert", SEEDS / "whisper_ggml" / "tiny", out), 0, "convert a ggml file")
    data = json.loads(status(run("inspect", "--json", out), 0, "inspect it").stdout)
    check("whisper" in json.dumps(data), "it is no Whisper")
    folder = tmp / "ct2"
    folder.mkdir()
    (folder / "model.bin").write_bytes((SEEDS / "whisper_ct2" / "tiny").read_bytes())
    status(run("convert", folder, out), 1, "a folder without vocabulary")
    (folder / "vocabulary.txt").write_text("a\nb\nab\n<|endoftext|>\n")
    status(run("convert", folder, out), 0, "convert a folder")
    (folder / "vocabulary.json").write_text('["a", "b", "ab", "<|endoftext|>"]')
    status(run("convert", folder, tmp / "same.gguf"), 0, "the vocabulary as JSON")
    check(out.read_bytes() == (tmp / "same.gguf").read_bytes(), "the vocabulary as JSON is another")
    status(run("convert", TONES, out), 1, "convert a sound")


def hears(_):
    if not BASE:
        print("skip: Whisper base is not in the cache")
        return
    data = json.loads(transcribe("-f", "json", "-w", INAUGURAL, model=BASE))
    check(data["language"] == "en" and data["language_probability"] > 0.9, f"language: {data['language']}")
    check(SAID in data["text"] and data["text"].startswith("And so my fellow Americans"), data["text"])
    country = data["segments"][-1]["words"][-1]
    check(country["word"] == " country." and 9.5 < country["start"] < 10.3, f"the last word: {country}")
    exact = transcribe("--no-timestamps", INAUGURAL, model=BASE)
    check(exact == "And so my fellow Americans, ask not what your country can do for you, " + SAID + ".\n",
          f"without times: {exact!r}")


main((formats, silence, refuses, converts, hears))
