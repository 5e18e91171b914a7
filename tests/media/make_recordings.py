#!/usr/bin/env python3
"""Makes tests/media/recordings/ and what they should decode to (golden-*.txt). Run by hand, in the
source tree, on Debian 12 with ffmpeg 5.1, espeak-ng and sox; the tests need none of these.

Sound: every container and codec that media/sound reads, from one spoken sentence beside a tone. The
golden values are those of `ffmpeg -ac 1 -ar 16000 -f f32le`: the number of samples, and every 100th.
Video: four quarters in four colours, in all orientations, colour matrices and ranges, as a person
would see them; the golden values are computed here, not by FFmpeg.
"""
import struct
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent / "recordings"
TMP = Path("/tmp/make_recordings")
STEP = 100  # samples between golden values


def run(*args):
    subprocess.run([str(a) for a in args], check=True, stdin=subprocess.DEVNULL)


def ffmpeg(*args):
    run("ffmpeg", "-nostdin", "-v", "error", "-y", *args[:-1], "-bitexact", args[-1])


def sources():
    TMP.mkdir(exist_ok=True)
    HERE.mkdir(exist_ok=True)
    run("espeak-ng", "-s", "190", "-w", TMP / "said.wav", "Sound comes in here.")
    run("sox", "-D", TMP / "said.wav", "-r", "24000", TMP / "left.wav", "trim", "0.05", "0.9", "gain", "-6")
    run("sox", "-D", "-n", "-r", "24000", "-b", "16", TMP / "right.wav", "synth", "0.9", "sine", "330", "gain", "-14")
    run("sox", "-D", "-M", TMP / "left.wav", TMP / "right.wav", TMP / "both.wav")
    run("sox", "-D", TMP / "both.wav", TMP / "short.wav", "trim", "0.1", "0.25")
    run("sox", "-D", TMP / "left.wav", "-r", "16000", TMP / "mono16.wav")


# name, source, arguments of ffmpeg, tolerance against the golden values (lossy decoders differ in the
# last bits from one CPU to the next)
LOSSLESS, LOSSY = 2e-6, 2e-4
SOUNDS = [
    ("pcm-s16.wav", "short", [], LOSSLESS),
    ("pcm-u8-8k-mono.wav", "short", ["-c:a", "pcm_u8", "-ar", 8000, "-ac", 1], LOSSLESS),
    ("pcm-s24-48k.wav", "short", ["-c:a", "pcm_s24le", "-ar", 48000, "-t", 0.1], LOSSLESS),
    ("pcm-f32-16k-mono.wav", "short", ["-c:a", "pcm_f32le", "-ar", 16000, "-ac", 1], LOSSLESS),
    ("pcm-s16-5.1.wav", "short", ["-ac", 6, "-t", 0.1], LOSSLESS),
    ("mulaw.wav", "short", ["-c:a", "pcm_mulaw", "-ar", 8000, "-ac", 1], LOSSLESS),
    ("adpcm-ms.wav", "both", ["-c:a", "adpcm_ms", "-ar", 8000], LOSSLESS),
    ("rf64.wav", "short", ["-rf64", "always"], LOSSLESS),
    ("pcm.w64", "short", [], LOSSLESS),
    ("pcm.aiff", "short", [], LOSSLESS),
    ("pcm.au", "short", [], LOSSLESS),
    ("pcm.caf", "short", ["-c:a", "pcm_s16be"], LOSSLESS),
    ("pcm.mov", "short", ["-c:a", "pcm_s16be"], LOSSLESS),
    ("flac.flac", "both", ["-ar", 16000], LOSSLESS),
    ("flac.ogg", "short", ["-c:a", "flac"], LOSSLESS),
    ("alac.m4a", "short", ["-c:a", "alac"], LOSSLESS),
    ("wavpack.wv", "short", [], LOSSLESS),
    ("mp3.mp3", "both", ["-b:a", "32k"], LOSSY),
    ("mp2.mp2", "both", ["-b:a", "48k"], LOSSY),
    ("mp3.avi", "both", ["-c:a", "mp3", "-b:a", "32k"], LOSSY),
    ("vorbis.ogg", "both", ["-c:a", "libvorbis", "-q:a", 0, "-page_duration", 100000], LOSSY),
    ("opus.opus", "both", ["-b:a", "24k", "-page_duration", 100000], LOSSY),
    ("opus.webm", "both", ["-c:a", "libopus", "-b:a", "24k"], LOSSY),
    ("speex.ogg", "mono16", ["-c:a", "libspeex"], LOSSY),
    ("aac.m4a", "both", ["-c:a", "aac", "-b:a", "40k", "-movflags", "+faststart"], LOSSY),
    ("aac.aac", "both", ["-b:a", "40k"], LOSSY),
    ("aac.mkv", "both", ["-c:a", "aac", "-b:a", "40k"], LOSSY),
    ("aac.ts", "both", ["-c:a", "aac", "-b:a", "40k", "-f", "mpegts"], LOSSY),
    ("aac.flv", "both", ["-c:a", "aac", "-b:a", "40k", "-ar", 22050], LOSSY),
    ("ac3.ac3", "both", ["-ar", 32000, "-b:a", "64k"], LOSSY),
    ("eac3.eac3", "both", ["-ar", 32000, "-b:a", "64k"], LOSSY),
    ("mp2.mpg", "both", ["-c:a", "mp2", "-b:a", "48k"], LOSSY),
    ("wmav2.wma", "both", ["-c:a", "wmav2", "-b:a", "32k", "-ar", 22050], LOSSY),
]


def reference(path):
    out = subprocess.run(["ffmpeg", "-nostdin", "-v", "quiet", "-i", path, "-ac", "1", "-ar", "16000", "-f", "f32le",
                          "-"], stdin=subprocess.DEVNULL, capture_output=True).stdout
    return struct.unpack(f"<{len(out) // 4}f", out)


def make_sounds():
    names = []
    for name, source, args, tolerance in SOUNDS:
        ffmpeg("-i", TMP / f"{source}.wav", *args, HERE / name)
        names.append((name, tolerance))
    run("sox", "-D", TMP / "mono16.wav", "-r", "8000", HERE / "amr-nb.amr-nb")
    names.append(("amr-nb.amr-nb", LOSSY))
    # The format changes in the middle: 24 kHz stereo, then 16 kHz mono
    ffmpeg("-i", TMP / "mono16.wav", "-c:a", "libvorbis", "-q:a", 0, TMP / "mono.ogg")
    (HERE / "chained.ogg").write_bytes((HERE / "vorbis.ogg").read_bytes() + (TMP / "mono.ogg").read_bytes())
    names.append(("chained.ogg", LOSSY))
    with open(HERE / "golden-sound.txt", "w") as golden:
        print("# name, samples, tolerance; then every", STEP, "th sample", file=golden)
        for name, tolerance in names:
            pcm = reference(HERE / name)
            print(name, len(pcm), f"{tolerance:g}", file=golden)
            print(*(f"{x:.7g}" for x in pcm[::STEP]), file=golden)


# --- video: 32x24 pixels, the quarters in four colours ---

WIDTH, HEIGHT = 32, 24
COLOURS = [(200, 40, 30), (40, 180, 60), (30, 60, 190), (230, 220, 90)]  # top left, right, bottom left, right


def yuv(rgb, kr, kb, full):
    r, g, b = (x / 255 for x in rgb)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    if full:
        return [round(255 * y), round(128 + 255 * u), round(128 + 255 * v)]
    return [round(16 + 219 * y), round(128 + 224 * u), round(128 + 224 * v)]


def raw_frame(colours, kr, kb, full):
    planes = []
    for plane in range(3):
        half = 2 if plane else 1
        rows = bytearray()
        for y in range(HEIGHT // half):
            for x in range(WIDTH // half):
                quarter = (y >= HEIGHT // half // 2) * 2 + (x >= WIDTH // half // 2)
                rows.append(yuv(colours[quarter], kr, kb, full)[plane])
        planes.append(rows)
    return b"".join(planes)


def encode(name, frames, args, fps=10):
    (TMP / "frames.yuv").write_bytes(b"".join(frames))
    ffmpeg("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-r", fps,
           "-i", TMP / "frames.yuv", *args, HERE / name)


X264 = ["-c:v", "libx264", "-qp", 4, "-preset", "veryslow"]
MATRICES = {"601": (0.299, 0.114, "smpte170m"), "709": (0.2126, 0.0722, "bt709"), "2020": (0.2627, 0.0593, "bt2020nc")}

# name of the orientation: a, b, c, d of the display matrix, and which quarter is seen in each corner
ORIENTATIONS = {
    "0": ((1, 0, 0, 1), (0, 1, 2, 3)),
    "90": ((0, 1, -1, 0), (2, 0, 3, 1)),
    "180": ((-1, 0, 0, -1), (3, 2, 1, 0)),
    "270": ((0, -1, 1, 0), (1, 3, 0, 2)),
    "mirror": ((-1, 0, 0, 1), (1, 0, 3, 2)),
    "flip": ((1, 0, 0, -1), (2, 3, 0, 1)),
    "transpose": ((0, 1, 1, 0), (0, 2, 1, 3)),
    "transverse": ((0, -1, -1, 0), (3, 1, 2, 0)),
}


def set_matrix(name, abcd):
    """In the track header of an MP4 file: nine numbers, 40 bytes into version 0 of it."""
    data = bytearray((HERE / name).read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    a, b, c, d = (x << 16 for x in abcd)
    data[at:at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (HERE / name).write_bytes(data)


def make_videos():
    golden = open(HERE / "golden-video.txt", "w")
    print("# name, width, height; then the colours of its four corners", file=golden)

    def expect(name, width, height, corners):
        print(name, width, height, *(c for i in corners for c in COLOURS[i]), file=golden)

    base = raw_frame(COLOURS, 0.299, 0.114, False)
    for name, (abcd, corners) in ORIENTATIONS.items():
        file = f"turned-{name}.mp4"
        encode(file, [base], [*X264, "-colorspace", "smpte170m", "-color_range", "tv"])
        set_matrix(file, abcd)
        shape = (HEIGHT, WIDTH) if abcd[0] == 0 else (WIDTH, HEIGHT)
        expect(file, *shape, corners)
    for matrix, (kr, kb, tag) in MATRICES.items():
        for full in (False, True):
            file = f"colour-{matrix}-{'full' if full else 'limited'}.mp4"
            encode(file, [raw_frame(COLOURS, kr, kb, full)],
                   [*X264, "-colorspace", tag, "-color_range", "pc" if full else "tv"])
            expect(file, WIDTH, HEIGHT, (0, 1, 2, 3))
    for sar, shape in (("2/1", (2 * WIDTH, HEIGHT)), ("2/3", (WIDTH, HEIGHT * 3 // 2))):
        file = f"pixels-{sar.replace('/', '-')}.mkv"
        encode(file, [base], [*X264, "-colorspace", "smpte170m", "-aspect", f"{shape[0]}/{shape[1]}"])
        expect(file, *shape, (0, 1, 2, 3))
    golden.close()


def make_clips():
    """Forty frames at 10 a second; the luma of each says which one it is: 20 + 5 * number."""
    frames = [bytes([20 + 5 * i]) * (WIDTH * HEIGHT) + b"\x80" * (WIDTH * HEIGHT // 2) for i in range(40)]
    sound = ["-i", TMP / "left.wav", "-map", "0:v", "-map", "1:a", "-c:a", "aac", "-b:a", "24k"]
    encode("clip.mp4", frames, [*sound, *X264, "-g", 8, "-bf", 2])
    encode("clip-mute.mp4", frames, [*X264, "-g", 40])
    ffmpeg("-i", HERE / "clip.mp4", "-map", "0:v", "-c", "copy", HERE / "clip.mkv")
    ffmpeg("-i", HERE / "clip.mp4", "-map", "0:v", "-c", "copy", "-f", "mpegts", HERE / "clip.ts")
    encode("clip.webm", frames, ["-c:v", "libvpx", "-g", 8, "-qmax", 8, "-b:v", "200k"])
    encode("clip.avi", frames, ["-c:v", "mpeg4", "-q:v", 2, "-g", 8, "-bf", 2])
    # As browsers record: no length in the header, no index
    with open(HERE / "clip-streamed.mkv", "wb") as out:
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", HERE / "clip.mkv", "-c", "copy",
                        "-bitexact", "-live", "1", "-f", "matroska", "-"], stdout=out, check=True)
    # A recording with a cover, which is no video
    ffmpeg("-f", "lavfi", "-i", "color=red:s=16x16", "-frames:v", 1, TMP / "cover.png")
    ffmpeg("-i", TMP / "left.wav", "-i", TMP / "cover.png", "-map", 0, "-map", 1, "-c:v", "copy", "-c:a",
           "mp3", "-b:a", "24k", "-disposition:v", "attached_pic", HERE / "cover.mp3")
    ffmpeg("-f", "lavfi", "-i", "color=red:s=16x16", "-frames:v", 1, "-c:v", "jpeg2000", HERE / "jpeg2000.mov")


if __name__ == "__main__":
    sources()
    make_sounds()
    make_videos()
    make_clips()
