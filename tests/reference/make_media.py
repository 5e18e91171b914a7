#!/usr/bin/env python3
"""Makes media/: two pictures of odd shapes, a sound and a video, for the tests of what takes media.

    make_media.py           writes them; the same bytes of pixels and samples everywhere

The video is lossless in RGB; ffmpeg (5.1, with libx264) writes it."""

import pathlib
import subprocess
import wave

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
RATE = 16000  # Hz
FPS, N_FRAMES = 5, 16


def waves(width, height, seed):
    """Smooth colours: three plane waves per channel."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.RandomState(seed)
    out = np.zeros((height, width, 3))
    for channel in range(3):
        for _ in range(3):
            fx, fy, phase = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25), rng.uniform(0, 6.28)
            out[..., channel] += np.sin(fx * x + fy * y + phase)
    return out * 40 + 128


def wide():
    """93 x 61: waves, a red disc, a white grid of one pixel's lines, black to the right."""
    a = waves(93, 61, 1)
    y, x = np.mgrid[0:61, 0:93]
    a[(x - 30) ** 2 + (y - 25) ** 2 < 15 ** 2] = (230, 30, 40)
    a[(x > 55) & (x < 85) & (y > 10) & (y < 50) & ((x % 7 == 0) | (y % 9 == 0))] = 255
    a[:, 88:] = 0
    return a


def tall():
    """50 x 120: waves, a yellow triangle, noise at the foot."""
    a = waves(50, 120, 2)
    y, x = np.mgrid[0:120, 0:50]
    a[(y > 30) & (y < 70) & (abs(x - 25) < (y - 30) / 2)] = (250, 220, 20)
    a[95:] = np.random.RandomState(3).uniform(0, 256, (25, 50, 3))
    return a


def tones():
    """2.3 s: a falling tone with its octave, a pause, a rising one; a little noise throughout."""
    n = int(2.3 * RATE)
    t = np.arange(n) / RATE
    sweep = np.where(t < 1.2, 700 - 200 * t, 200 + 500 * (t - 1.4))
    phase = 2 * np.pi * np.cumsum(sweep) / RATE
    loud = np.where(t < 1.2, np.sin(np.pi * t / 1.2), np.clip(np.sin(np.pi * (t - 1.4) / 0.9), 0, 1))
    x = loud * (0.4 * np.sin(phase) + 0.2 * np.sin(2 * phase))
    return x + 0.004 * np.random.RandomState(4).standard_normal(n)


def frame(k):
    """50 x 36: a disc that crosses waves, and from the middle on a bar that falls; every one differs."""
    a = waves(50, 36, 5) * 0.7
    y, x = np.mgrid[0:36, 0:50]
    a[(x - 4 - 3 * k) ** 2 + (y - 18 - 8 * np.sin(k / 2)) ** 2 < 49] = (240, 40 + 10 * k, 20)
    if k >= N_FRAMES // 2:
        a[4 * (k - N_FRAMES // 2):][:5] = (30, 80, 250)
    return np.clip(np.rint(a), 0, 255).astype(np.uint8)


def frames():
    return np.stack([frame(k) for k in range(N_FRAMES)])


def write_video(path, sound):
    raw = frames()
    _, height, width, _ = raw.shape
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s",
                    f"{width}x{height}", "-r", str(FPS), "-i", "pipe:0", "-i", sound, "-c:v", "libx264rgb",
                    "-qp", "0", "-bf", "0", "-preset", "veryslow", "-c:a", "aac", "-b:a", "24k", "-bitexact",
                    path], input=raw.tobytes(), check=True)


def main():
    folder = HERE / "media"
    folder.mkdir(exist_ok=True)
    for name, pixels in (("wide", wide()), ("tall", tall())):
        Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(
            folder / f"{name}.png", optimize=True)
    with wave.open(str(folder / "tones.wav"), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(RATE)
        w.writeframes(np.rint(tones() * 32767).astype("<i2").tobytes())
    write_video(folder / "clip.mp4", folder / "tones.wav")


if __name__ == "__main__":
    main()
