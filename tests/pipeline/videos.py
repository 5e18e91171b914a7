#!/usr/bin/env python3
"""A video file through the program, stage by stage, against transformers: `encode` (pixels, encoder,
projector), `logits` and `generate` with --video and <__media__>; `ask`; frames as pictures; what is made of
a video that does not fit, of its sound, and what is refused. Prints a line for each family."""

import json
import pathlib
import sys

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
CLIP, MUTE = MEDIA / "clip.mp4", HERE.parent / "media" / "recordings" / "clip-mute.mp4"
AS_PICTURES = ("llava", "gemma3v", "pixtral", "idefics2")
ROOMY = ("--ctx", 2048)


def families():
    for name in ("qwen2vl-video", "qwen25vl-video", "idefics3-video"):
        yield name, json.loads((GOLDEN / name / "prompt.json").read_text(encoding="utf-8"))


def cosine(a, b):
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def stage(mmproj, what, out, *more):
    done = run("encode", "-m", MODELS / mmproj, *(more or ("--video", CLIP)), "--stage", what, "-o", out)
    status(done, 0, f"{mmproj}: encode --stage {what}")
    return np.load(out).astype(np.float64) if done.returncode == 0 else np.zeros((1, 1))


def encode(tmp):
    """Pixels within one grey level, rows within an angle of cosine 0.99999."""
    for name, info in families():
        truth = np.load(GOLDEN / name / "pixels_0.npy").astype(np.float64)
        got = stage(info["mmproj"], "pixels", tmp / "stage.npy")
        mean, std = (np.array(info["processor"][n]).reshape(3, 1, 1) for n in ("image_mean", "image_std"))
        error = np.abs((got * std + mean) * 255 - truth).max() if got.shape == truth.shape else np.inf
        check(error <= 1, f"{name}: pixels {got.shape} of {truth.shape} differ by {error} levels")
        worst = {}
        for what in ("encoder", "projector"):
            truth = np.load(GOLDEN / name / f"{what}.npy").astype(np.float64)
            got = stage(info["mmproj"], what, tmp / "stage.npy")
            worst[what] = 1 - cosine(got, truth) if got.shape == truth.shape else np.inf
            check(worst[what] <= 1e-5, f"{name}: {what} is off by 1 - cosine {worst[what]:.1e}")
        print(f"{name:14} pixels {error:.2f} levels, encoder {worst['encoder']:.1e}, "
              f"projector {worst['projector']:.1e}")


def decode(tmp):
    for name, info in families():
        decode_family(name, info, ["--video", CLIP, *ROOMY], tmp / "logits.npy")


def pictures(tmp):
    """Of other families frames are pictures: eight of them, evenly spaced, each the rows that it would be
    alone. Frames 0, 2, ... of the clip are what they were made of, losslessly."""
    for name in AS_PICTURES:
        rows = stage(f"{name}.mmproj.gguf", "projector", tmp / "stage.npy")
        one = stage(f"{name}.mmproj.gguf", "projector", tmp / "stage.npy", "--video", CLIP, "--frames", 1)
        check(len(rows) == 8 * len(one) and np.array_equal(rows[:len(one)], one), f"{name}: {rows.shape}")
        done = run("generate", "-m", MODELS / f"{name}.gguf", "--raw", *ROOMY, "--video", CLIP, "-p",
                   "a <__media__> b", "-n", 1, "--json")
        media = json.loads(status(done, 0, f"{name}: generate").stdout)["media"]
        check(media[0]["as"] == "video" and media[0]["frames"] == 8 and media[0]["frames_per_s"] == 2.5 and
              media[0]["tokens"] == len(rows), f"{name}: {media}")


def plan(*args):
    done = status(run("estimate", *args, "--json"), 0, f"estimate {args}")
    return json.loads(done.stdout) if done.returncode == 0 else {"videos": [{}], "tokens": -1}


def estimate(tmp):
    """As many tokens as rows come, frames as asked for."""
    for name, info in families():
        mmproj = MODELS / info["mmproj"]
        got = plan("-m", mmproj, "--video", CLIP)
        rows = stage(info["mmproj"], "projector", tmp / "stage.npy")
        check(got["tokens"] == len(rows) == got["videos"][0]["tokens"], f"{name}: {got}, {len(rows)} rows")
        check(got["videos"][0]["frames"] == len(info["media"][0]["frames"]), f"{name}: {got}")
    qwen, llava = MODELS / "qwen2vl.mmproj.gguf", MODELS / "llava.mmproj.gguf"
    for args, frames in ((("--fps", 5), 16), (("--fps", 0.1), 4), (("--frames", 10), 10)):
        got = plan("-m", qwen, "--video", CLIP, *args)["videos"][0]
        check(got.get("frames") == frames, f"{args}: {got}")
    got = plan("-m", llava, "--video", CLIP, "--fps", 5)["videos"][0]
    check(got.get("frames") == 16, f"{got}")
    got = plan("-m", qwen, "--video", CLIP, "--image-tokens", 40)["videos"][0]
    check(got.get("tokens", 999) <= 3 * 40, f"{got}")
    text = status(run("estimate", "-m", qwen, "--video", CLIP), 0, "estimate").stdout.decode()
    got = plan("-m", MODELS / "qwen2vl.gguf", "--mmproj", qwen, "--video", CLIP)  # a context of 512
    check(got["videos"][0].get("frames") == 4 and got["videos"][0]["fewer_frames"], f"{got}")
    check("6 frames" in text and "420 tokens" in text, text)


def fit(_):
    """Fewer frames, then smaller ones; what was asked for is done, or refused."""
    model = MODELS / "qwen2vl.gguf"

    def shown(n_ctx, *args):
        done = run("generate", "-m", model, "--raw", "--ctx", n_ctx, "--video", CLIP, *args, "-p", "a", "-n", 1,
                   "--json")
        return json.loads(status(done, 0, f"a context of {n_ctx}").stdout or b'{"media": [{}]}')["media"][0]

    whole, fewer, smaller = shown(2048), shown(512), shown(256)
    check(whole["frames"] == 6 and not whole["fewer_frames"] and not whole["smaller_frames"], f"{whole}")
    check(fewer["frames"] == 4 and fewer["fewer_frames"] and not fewer["smaller_frames"], f"{fewer}")
    check(smaller["frames"] == 4 and smaller["smaller_frames"] and smaller["tokens"] <= 192, f"{smaller}")
    asked = shown(512, "--frames", 10)
    check(asked["frames"] == 10 and asked["smaller_frames"] and asked["tokens"] <= 384, f"{asked}")
    # frames of this family have one size
    done = run("generate", "-m", MODELS / "llava.gguf", "--raw", "--ctx", 256, "--video", CLIP, "--frames", 10,
               "-p", "a")
    status(done, 1, "ten frames for llava")
    check(b"there is room for 192" in done.stderr, f"{done.stderr}")


def ask(_):
    """In a chat, beside a picture; a line about it; its sound is left out, and that is said."""
    for name in ("qwen2vl", "idefics3", "llava"):
        done = status(run("ask", "-m", MODELS / f"{name}.gguf", *ROOMY, "--template", "chatml", "--image",
                          MEDIA / "wide.png", "--video", CLIP, "--temperature", 0, "-n", 4, "--ids", "-v",
                          "What <image> is <__media__> this?"), 0, f"{name}: ask")
        report = done.stderr.decode()
        check("3.20 s of video at 50x36" in report and "wide.png" in report and "left out" in report,
              f"{name}: ask -v says {report!r}")
    done = status(run("ask", "-m", MODELS / "llava.gguf", "--template", "chatml", *ROOMY, "--video", MUTE, "-n", 1,
                      "--json", "a"), 0, "a video without sound")
    check(json.loads(done.stdout)["media"][0]["sound"] == "none" and not done.stderr, f"{done}")


def sound(tmp):
    """A transcript of the sound, where a Whisper model is given."""
    whisper, model = MODELS / "whisper.gguf", MODELS / "llava.gguf"
    options = ("--template", "chatml", *ROOMY, "--temperature", 0, "-n", 8, "--json")
    done = status(run("transcribe", "-m", whisper, "-q", "-f", "json", CLIP), 0, "transcribe")
    said = " ".join(s["text"] for s in json.loads(done.stdout)["segments"])
    quote = "Transcript of clip.mp4: " + (f'"{said}"' if said else "(no speech)") + "\n\n"
    told = status(run("ask", "-m", model, "--video", CLIP, "--transcribe-with", whisper, *options, "What?"), 0,
                  "ask with a transcript")
    typed = status(run("ask", "-m", model, "--video", CLIP, *options, quote + "What?"), 0, "ask")
    told, typed = json.loads(told.stdout), json.loads(typed.stdout)
    check(told["ids"] == typed["ids"] and told["usage"] == typed["usage"], f"{told}, typed {typed}")
    check(told["media"][0]["sound"] == "transcript" and typed["media"][0]["sound"] == "ignored", f"{told}")
    # without a chat template, too
    got = []
    for args in (("--transcribe-with", whisper, "-p", "<__media__> What?"), ("-p", quote + "<__media__> What?")):
        status(run("logits", "-m", model, *ROOMY, "--video", CLIP, *args, "-o", tmp / "x.npy"), 0, f"{args}")
        got.append(np.load(tmp / "x.npy"))
    check(np.array_equal(*got), "logits: a transcript is not what somebody would have typed")
    return said


def refusals(tmp):
    llava, qwen = MODELS / "llava.gguf", MODELS / "qwen2vl.mmproj.gguf"
    text = tmp / "text.mp4"
    text.write_text("not a video")
    out = tmp / "y.npy"
    cases = (
        (("ask", "-m", TINY, "--video", CLIP, "a"), "mmproj"),
        (("ask", "-m", llava, "--video", tmp / "none.mp4", "a"), "none.mp4"),
        (("ask", "-m", llava, "--video", text, "a"), "text.mp4"),
        (("ask", "-m", llava, "--video", MEDIA / "tones.wav", "a"), "tones.wav"),
        (("ask", "-m", MODELS / "ultravox.gguf", "--video", CLIP, "a"), "vision"),
        (("encode", "-m", qwen, "--video", CLIP, "--frames", 5, "-o", out), "in pairs"),
        (("encode", "-m", qwen, "--video", CLIP, "--frames", 40, "-o", out), "the video has 16"),
        (("encode", "-m", qwen, "--video", CLIP, "--fps", 30, "-o", out), "the video has 5"),
        (("logits", "-m", llava, *ROOMY, "--video", MUTE, "-p", "<__media__> <__media__>", "-o", out),
         "2 media markers"),
    )
    for args, word in cases:
        done = status(run(*args), 1, f"{args[0]} {word}")
        check(word in done.stderr.decode(), f"{word!r} is not in {done.stderr.decode()!r}")
    check(not out.exists(), "an output in spite of an error")
    for args in (("ask", "-m", llava, "--fps", 2, "a"), ("ask", "-m", llava, "--frames", 2, "a"),
                 ("ask", "-m", llava, "--video", CLIP, "--fps", 2, "--frames", 2, "a"),
                 ("encode", "-m", qwen, "--video", CLIP, "--stage", "mel", "-o", "x"),
                 ("encode", "-m", qwen, "--video", CLIP, "--image", MEDIA / "wide.png", "-o", "x"),
                 ("generate", "-m", llava, "--tokens", "1", "--video", CLIP)):
        status(run(*args), 2, f"{args}")


main((encode, decode, pictures, estimate, fit, ask, sound, refusals))
