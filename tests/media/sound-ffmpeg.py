#!/usr/bin/env python3
"""Every recording, whole and damaged, gives the very samples that the ffmpeg program gives, in this
process and in a child. Skipped without that program."""
import array
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOOL = Path(os.environ["SN_BUILDDIR"]) / "tests/media/sound_tool"
RECORDINGS = Path(os.environ.get("srcdir", ".")) / "tests/media/recordings"
PEAK = 32.0  # SN_SOUND_PEAK


def reference(path):
    run = subprocess.run(["ffmpeg", "-nostdin", "-v", "quiet", "-i", path, "-ac", "1", "-ar", "16000", "-f",
                          "f32le", "-"], stdin=subprocess.DEVNULL, capture_output=True)
    pcm = array.array("f", run.stdout)
    for i, x in enumerate(pcm):
        if not abs(x) <= PEAK:  # broken packets may give anything
            pcm[i] = 0.0 if math.isnan(x) else math.copysign(PEAK, x)
    return pcm.tobytes()


def ours(path, out, *options):
    subprocess.run([TOOL, *options, path, out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out.read_bytes()


def damaged(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 4, 30])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.5:
        at = rng.randrange(len(data))
        del data[at:at + rng.randrange(500)]
    return bytes(data)


def main():
    if not shutil.which("ffmpeg"):
        sys.exit(77)
    rng = random.Random(1)
    cases = failures = 0
    with tempfile.TemporaryDirectory() as tmp:
        bad, out = Path(tmp) / "file.bin", Path(tmp) / "out.f32"
        for path in sorted(p for p in RECORDINGS.iterdir() if p.suffix != ".txt"):
            versions = [path.read_bytes()]
            if "SN_TEST_QUICK" not in os.environ:
                versions.append(damaged(versions[0], rng))
            for i, data in enumerate(versions):
                bad.write_bytes(data)
                want = reference(bad)
                # What is not on our list of formats gives nothing here, whatever ffmpeg makes of it
                for options in ((), ("-c",)):
                    cases += 1
                    got = ours(bad, out, *options)
                    if got != want and not (i > 0 and not got):
                        failures += 1
                        print(f"{path.name} {'damaged' if i else 'whole'} {options}: {len(got) // 4} samples,"
                              f" ffmpeg gives {len(want) // 4}")
    print(f"{cases} cases, {failures} differ")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
