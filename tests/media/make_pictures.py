#!/usr/bin/env python3
"""Makes tests/media/pictures: small files of every kind, and expected.ppm, which holds what each of
them looks like (several PPM pictures, one behind the other, each with its name and the tolerance
in a comment).

What they look like is Pillow's word: decoded, turned by ImageOps.exif_transpose, colours converted
by ImageCms with a perceptual intent, laid over white. Where Pillow knows better than to be asked
(16 bits, gAMA, inks without Adobe's mark), it is computed here from the definition.

Needs Pillow and numpy; pillow-heif for the HEIC file, which is left alone without it.
usage: make_pictures.py [FOLDER]
"""
import io
import os
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

FOLDER = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "pictures")
W, H = 23, 14
ORIENTATION = 0x0112
expected = []


# --- contents ---

def scene(n_channels, width=W, height=H):
    """Smooth ramps and one hard corner, different in every direction, (height, width, n) in 0..1."""
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / (width - 1), y / (height - 1)
    planes = [x, y, (1 - x) * (1 - y), 0.5 + 0.5 * np.sin(5 * x + 3 * y)]
    a = np.stack(planes[:n_channels], axis=-1)
    a[: height // 3, : width // 4] = np.linspace(0.9, 0.1, n_channels)
    return a


def to8(a):
    return np.rint(a * 255).astype(np.uint8)


def to16(a):
    return np.rint(a * 65535).astype(np.uint16)


def from16(a):
    return ((a.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)


RGB = Image.fromarray(to8(scene(3)))
GREY = Image.fromarray(to8(scene(2)[..., 1] * 0.5 + scene(1)[..., 0] * 0.5))
RGBA = Image.fromarray(to8(scene(4)), "RGBA")
CMYK = Image.fromarray(to8(scene(4)), "CMYK")


# --- profiles ---

def s15f16(v):
    return struct.pack(">i", round(v * 65536))


def xyz(v):
    return b"XYZ \0\0\0\0" + b"".join(s15f16(x) for x in v)


def gamma_curve(g):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(g * 256)) + b"\0\0"


def text(s):
    s = s.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(s)) + s + bytes(12 + 67 - 1)


def icc(kind, space, pcs, tags, version=2):
    body, table = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", version << 24, kind, space, pcs)
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += s15f16(0.9642) + s15f16(1) + s15f16(0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


WHITE = xyz((0.9642, 1, 0.8249))
# The primaries of Adobe RGB (1998) and of sRGB, adapted to D50
WIDE = icc(b"mntr", b"RGB ", b"XYZ ", {
    b"desc": text("wide"), b"wtpt": WHITE, b"rXYZ": xyz((0.60974, 0.31111, 0.01947)),
    b"gXYZ": xyz((0.20528, 0.62567, 0.06087)), b"bXYZ": xyz((0.14919, 0.06322, 0.74457)),
    b"rTRC": gamma_curve(2.2), b"gTRC": gamma_curve(2.2), b"bTRC": gamma_curve(2.2)})
DARK_GREY = icc(b"mntr", b"GRAY", b"XYZ ", {
    b"desc": text("dark"), b"wtpt": WHITE, b"kTRC": gamma_curve(1.4)})
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB = SRGB[:24] + WIDE[24:36] + SRGB[36:84] + bytes(16) + SRGB[100:]  # no date of today


def inks():
    """Four pale inks, so that few colours are out of sRGB's reach."""
    steps, rows = 4, b""
    for c, m, y, k in np.ndindex(steps, steps, steps, steps):
        c, m, y, k = c / 3, m / 3, y / 3, k / 3
        light = 1 - 0.7 * k
        l = 96 * light * (1 - 0.25 * c) * (1 - 0.3 * m) * (1 - 0.05 * y)
        a = light * (-18 * c + 30 * m - 3 * y)
        b = light * (-22 * c - 3 * m + 40 * y)
        rows += bytes((round(l * 2.55), round(a + 128), round(b + 128)))
    identity = b"".join(s15f16(float(i in (0, 4, 8))) for i in range(9))
    table = b"mft1\0\0\0\0" + bytes((4, 3, steps, 0)) + identity
    table += bytes(range(256)) * 4 + rows + bytes(range(256)) * 3
    # version 4, whose black is given: that of version 2 is guessed, and guesses change
    return icc(b"prtr", b"CMYK", b"Lab ", {
        b"desc": text("inks"), b"wtpt": WHITE, b"A2B0": table}, version=4)


INKS = inks()


def to_srgb(image, profile):
    """As RGB or RGBA."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    return ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"),
                                     renderingIntent=ImageCms.Intent.PERCEPTUAL, outputMode=mode)


# --- writing ---

def over_white(image):
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def expect(name, image, tolerance=0):
    array = np.ascontiguousarray(np.asarray(image.convert("RGB")))
    expected.append((name, tolerance, array))


def path_of(name):
    return os.path.join(FOLDER, name)


def exif(orientation):
    e = Image.Exif()
    e[ORIENTATION] = orientation
    return e


def save(name, image, tolerance=0, profile=None, **options):
    """Saves with Pillow and expects what Pillow reads from it."""
    image.save(path_of(name), **({"icc_profile": profile} if profile else {}), **options)
    seen(name, tolerance, profile)


def seen(name, tolerance=0, profile=None):
    with Image.open(path_of(name)) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
    if profile:
        upright = to_srgb(upright, profile)
    expect(name, over_white(upright), tolerance)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(array, depth, colour_type, before=b"", behind=b""):
    """A PNG as Pillow does not write it; 16-bit arrays in the host's order."""
    height = array.shape[0]
    rows = array.astype(">u2" if depth == 16 else "u1").tobytes()
    n = len(rows) // height
    raw = b"".join(b"\0" + rows[i * n:(i + 1) * n] for i in range(height))
    head = struct.pack(">IIBBBBB", array.shape[1], height, depth, colour_type, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before +
            chunk(b"IDAT", zlib.compress(raw, 9)) + behind + chunk(b"IEND", b""))


def write(name, data):
    with open(path_of(name), "wb") as f:
        f.write(data)


def exif_bytes(orientation):
    return exif(orientation).tobytes()[6:]


def turned(array, orientation):
    """A stored array as it is seen."""
    return {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1],
            4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
            6: lambda a: a[::-1].swapaxes(0, 1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
            8: lambda a: a[:, ::-1].swapaxes(0, 1)}[orientation](array)


# --- the pictures ---

def orientations():
    palette = RGB.quantize(32)
    palette_alpha = RGB.quantize(32)
    for o in range(1, 9):
        e = exif(o)
        save(f"rgb-{o}.jpg", RGB, exif=e, quality=90)
        save(f"grey-{o}.jpg", GREY, exif=e, quality=90)
        save(f"cmyk-{o}.jpg", CMYK, exif=e, quality=90)
        save(f"wide-{o}.jpg", RGB, exif=e, quality=90, profile=WIDE, tolerance=1)
        save(f"palette-{o}.png", palette, exif=e)
        save(f"palette-alpha-{o}.png", palette_alpha, exif=e, transparency=bytes(range(0, 256, 8)))
        save(f"alpha-{o}.png", RGBA, exif=e)
        wide = to16(scene(3))
        write(f"rgb16-{o}.png", png(wide, 16, 2, behind=chunk(b"eXIf", exif_bytes(o))))
        expect(f"rgb16-{o}.png", Image.fromarray(np.ascontiguousarray(turned(from16(wide), o))))
        save(f"rgb-{o}.tiff", RGB, tiffinfo=tiff_orientation(o))
        save(f"alpha-{o}.webp", RGBA, exif=e, lossless=True)


def tiff_orientation(o):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[ORIENTATION] = o
    return info


def jpegs():
    save("progressive.jpg", RGB, progressive=True, quality=80)
    save("422.jpg", RGB, subsampling=1, quality=80)
    save("420-odd.jpg", RGB.crop((0, 0, 21, 13)), subsampling=2, quality=80)
    save("grey-dark.jpg", GREY, profile=DARK_GREY, tolerance=1)
    save("cmyk-inks.jpg", CMYK, profile=INKS, quality=95, tolerance=1)
    save("srgb.jpg", RGB, profile=SRGB, tolerance=1)
    RGB.save(path_of("broken-profile.jpg"), icc_profile=b"not a profile" * 20)
    seen("broken-profile.jpg")
    # Inks without Adobe's mark are not inverted. Pillow inverts whatever it reads.
    CMYK.save(path_of("cmyk-plain.jpg"), quality=95)
    with open(path_of("cmyk-plain.jpg"), "rb") as f:
        data = f.read()
    at = data.index(b"\xff\xee")
    data = data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2:at + 4])[0]:]
    write("cmyk-plain.jpg", data)
    with Image.open(path_of("cmyk-plain.jpg")) as image:
        ink = Image.fromarray(255 - np.asarray(image), "CMYK")
    expect("cmyk-plain.jpg", ink.convert("RGB"))
    # without the last bytes: the end marker of a whole picture
    buffer = io.BytesIO()
    RGB.save(buffer, "JPEG", quality=90)
    write("no-end.jpg", buffer.getvalue()[:-2])
    buffer.seek(0)
    expect("no-end.jpg", Image.open(buffer).convert("RGB"))


def pngs():
    save("1-bit.png", GREY.convert("1"))
    for bits in 1, 2, 4:
        save(f"palette-{bits}-bit.png", RGB.quantize(2 ** bits), bits=bits)
        grey = (np.asarray(GREY) >> (8 - bits)).astype(np.uint8)
        packed = pack_bits(grey, bits)
        write(f"grey-{bits}-bit.png", png_packed(packed, W, bits))
        expect(f"grey-{bits}-bit.png", Image.fromarray((grey * (255 // (2 ** bits - 1))).astype(np.uint8)))
    save("grey.png", GREY)
    save("grey-alpha.png", Image.merge("LA", (GREY, RGBA.getchannel("A"))))
    save("rgb-trns.png", RGB, transparency=RGB.getpixel((0, 0)))
    save("grey-trns.png", GREY, transparency=GREY.getpixel((0, 0)))
    save("wide.png", RGB, profile=WIDE, tolerance=1)
    save("wide-alpha.png", RGBA, profile=WIDE, tolerance=1)
    save("grey-dark.png", GREY, profile=DARK_GREY, tolerance=1)
    grey = to16(scene(1)[..., 0])
    write("grey16.png", png(grey, 16, 0))
    expect("grey16.png", Image.fromarray(from16(grey)))
    rgba = to16(scene(4))
    write("rgba16.png", png(rgba, 16, 6))
    expect("rgba16.png", over_white(Image.fromarray(from16(rgba), "RGBA")))
    deep = to16(scene(3))
    write("wide16.png", png(deep, 16, 2, before=chunk(b"iCCP", b"wide\0\0" + zlib.compress(WIDE))))
    expect("wide16.png", to_srgb(Image.fromarray(from16(deep)), WIDE), 1)
    gammas()
    adam7()


def gammas():
    gama = chunk(b"gAMA", struct.pack(">I", 100000))
    linear = to8(scene(3))
    write("gamma-linear.png", png(linear, 8, 2, before=gama))
    bright = np.rint(255 * (linear / 255) ** (1 / 2.2)).astype(np.uint8)
    expect("gamma-linear.png", Image.fromarray(bright), 1)
    write("gamma-srgb.png", png(linear, 8, 2, before=chunk(b"sRGB", b"\0") + gama))
    expect("gamma-srgb.png", Image.fromarray(linear))
    write("gamma-usual.png", png(linear, 8, 2, before=chunk(b"gAMA", struct.pack(">I", 45455))))
    expect("gamma-usual.png", Image.fromarray(linear))


def pack_bits(array, bits):
    rows = []
    for row in array:
        text_bits = "".join(format(v, f"0{bits}b") for v in row)
        text_bits += "0" * (-len(text_bits) % 8)
        rows.append(int(text_bits, 2).to_bytes(len(text_bits) // 8, "big"))
    return rows


def png_packed(rows, width, depth):
    head = struct.pack(">IIBBBBB", width, len(rows), depth, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) +
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows))) + chunk(b"IEND", b""))


def adam7():
    """Interlaced, RGBA, turned: what Pillow cannot write."""
    a = to8(scene(4))
    raw = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                           (1, 0, 2, 2), (0, 1, 1, 2)):
        part = a[y0::dy, x0::dx]
        if part.size:
            raw += b"".join(b"\0" + row.tobytes() for row in part)
    head = struct.pack(">IIBBBBB", W, H, 8, 6, 0, 0, 1)
    write("interlaced.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) +
          chunk(b"eXIf", exif_bytes(8)) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))
    expect("interlaced.png", over_white(Image.fromarray(np.ascontiguousarray(turned(a, 8)), "RGBA")))


def others():
    save("lossy.webp", RGB, quality=80)
    save("lossy-alpha.webp", RGBA, quality=80)
    save("lossless.webp", RGB, lossless=True)
    save("wide.webp", RGB, profile=WIDE, lossless=True, tolerance=1)
    RGB.save(path_of("animated.webp"), save_all=True, append_images=[ImageOps.invert(RGB)], lossless=True)
    seen("animated.webp")
    save("still.gif", RGB.quantize(64))
    save("transparent.gif", RGB.quantize(64), transparency=5)
    save("interlaced.gif", RGB.quantize(16), interlace=1)
    frames = [RGB.quantize(16), ImageOps.invert(RGB).quantize(16)]
    frames[0].save(path_of("animated.gif"), save_all=True, append_images=frames[1:])
    seen("animated.gif")
    small_frame()
    for name, image in (("rgb", RGB), ("grey", GREY), ("palette", RGB.quantize(16)),
                        ("palette4", RGB.quantize(4)), ("1-bit", GREY.convert("1")), ("rgba", RGBA)):
        save(f"{name}.bmp", image)
    bmps()
    tiffs()
    heifs()


def small_frame():
    """A frame in the middle of a larger screen: white around it."""
    buffer = io.BytesIO()
    RGB.quantize(16).save(buffer, "GIF")
    data = bytearray(buffer.getvalue())
    data[6:10] = struct.pack("<HH", W + 7, H + 5)
    at = data.index(b"," + struct.pack("<HHHH", 0, 0, W, H))
    data[at + 1:at + 5] = struct.pack("<HH", 3, 2)
    write("small-frame.gif", bytes(data))
    whole = Image.new("RGB", (W + 7, H + 5), "white")
    buffer.seek(0)
    whole.paste(Image.open(buffer).convert("RGB"), (3, 2))
    expect("small-frame.gif", whole)


def bmp(width, height, bits, compression, pixels, header=40, extra=b"", n_colours=0):
    at = 14 + header + len(extra)
    head = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(pixels),
                       2835, 2835, n_colours, 0)
    return (b"BM" + struct.pack("<IHHI", at + len(pixels), 0, 0, at) + head.ljust(header, b"\0") +
            extra + pixels)


def bmps():
    a = to8(scene(3))
    rows = b"".join(r[:, ::-1].tobytes() + bytes(-3 * W % 4) for r in a)
    write("from-top.bmp", bmp(W, -H, 24, 0, rows))
    expect("from-top.bmp", Image.fromarray(a))
    v = (a >> np.array([3, 2, 3], np.uint8)).astype(np.uint16)
    packed = v[..., 0] << 11 | v[..., 1] << 5 | v[..., 2]
    rows = b"".join(r.astype("<u2").tobytes() + bytes(-2 * W % 4) for r in packed[::-1])
    write("565.bmp", bmp(W, H, 16, 3, rows, extra=struct.pack("<III", 0xf800, 0x7e0, 0x1f)))
    top = np.array([31, 63, 31])
    expect("565.bmp", Image.fromarray(((v * 255 + top // 2) // top).astype(np.uint8)))
    runs()


def runs():
    """Run lengths: literal runs, a jump, both depths."""
    colours = bytes(v for i in range(16) for v in (i * 16, 255 - i * 16, i * 7, 0))
    rgb = np.array([[i * 7, 255 - i * 16, i * 16] for i in range(16)], np.uint8)
    indices = np.zeros((4, 9), np.uint8)  # from the bottom
    indices[0] = [3] * 9
    indices[1] = [1, 2, 3, 4, 5, 0, 0, 0, 0]
    indices[3, 2:] = [7] * 7
    data8 = (bytes((9, 3, 0, 0)) + bytes((0, 5, 1, 2, 3, 4, 5, 0)) + bytes((0, 2, 0, 1)) +
             bytes((0, 0)) + bytes((0, 2, 2, 0)) + bytes((7, 7)) + bytes((0, 1)))
    # after the literal run x is 5, and the jump goes up a line: back to the start of the next
    write("rle8.bmp", bmp(9, 4, 8, 1, data8, extra=colours, n_colours=16))
    expect("rle8.bmp", Image.fromarray(rgb[indices[::-1]]))
    indices4 = np.zeros((2, 9), np.uint8)
    indices4[0] = [1, 2, 1, 2, 1, 2, 1, 9, 8]
    indices4[1, :3] = [4, 5, 6]
    data4 = (bytes((7, 0x12)) + bytes((2, 0x98)) + bytes((0, 0)) + bytes((0, 3, 0x45, 0x60)) +
             bytes((0, 1)))
    write("rle4.bmp", bmp(9, 2, 4, 2, data4, extra=colours, n_colours=16))
    expect("rle4.bmp", Image.fromarray(rgb[indices4[::-1]]))


def tiffs():
    for name in "tiff_lzw", "tiff_adobe_deflate", "packbits":
        save(f"{name}.tiff", RGB, compression=name)
    save("grey.tiff", GREY)
    save("palette.tiff", RGB.quantize(16))
    save("1-bit.tiff", GREY.convert("1"))
    save("alpha.tiff", RGBA, tolerance=1)
    save("cmyk.tiff", CMYK, tolerance=1)
    save("cmyk-inks.tiff", CMYK, profile=INKS, tolerance=1)
    save("wide.tiff", RGB, profile=WIDE, tolerance=1)
    save("grey-dark.tiff", GREY, profile=DARK_GREY, tolerance=1)
    grey = to16(scene(1)[..., 0])
    Image.fromarray(grey).save(path_of("grey16.tiff"))
    expect("grey16.tiff", Image.fromarray(from16(grey)), 1)


def heifs():
    large = Image.fromarray(to8(scene(3, 64, 48)))
    large.save(path_of("still.avif"), quality=90, subsampling="4:4:4")
    seen("still.avif", 3)
    try:
        import pillow_heif
    except ImportError:
        print("no pillow-heif: still.heic is left as it is", file=sys.stderr)
    else:
        pillow_heif.register_heif_opener()
        large.save(path_of("still.heic"), quality=95)
    if os.path.exists(path_of("still.heic")):
        expect("still.heic", large, 10)  # against the original: the codec's own loss


os.makedirs(FOLDER, exist_ok=True)
orientations()
jpegs()
pngs()
others()
with open(path_of("expected.ppm"), "wb") as out:
    for name, tolerance, array in sorted(expected, key=lambda e: e[0]):
        out.write(b"P6\n# %s tolerance %d\n%d %d\n255\n" %
                  (name.encode(), tolerance, array.shape[1], array.shape[0]))
        out.write(array.tobytes())
print(len(expected), "pictures")
