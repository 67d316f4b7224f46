"""The same picture, stored in every way that the formats we read have: by hand where Pillow writes none."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png(pixels, depth, kind, *chunks):
    """Write a PNG.

    Args:
        pixels: (H, W) or (H, W, C), as wide as samples are: uint8, or uint16.
        depth: bits of a sample; below 8, samples are packed.
        kind: 0 grey, 2 red, green and blue, 3 a palette, 4 grey and alpha, 6 red, green, blue and alpha.
        chunks: (name, content), which come before the pixels.
    """
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2", "C").view(np.uint8) if depth == 16 else pixels
    rows = rows.reshape(height, -1)
    if depth < 8:
        bits = np.unpackbits(rows[..., None], axis=2)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    written = [header, *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in written
    )


def tiff(pixels, photometric, extra=None, bits=None, more=()):
    """Write a TIFF without compression.

    Args:
        pixels: (H, W) or (H, W, C), of any type, whose order of bytes the file has.
        photometric: 0 white is zero, 1 black is zero, 2 red, green and blue, 3 palette, 5 CMYK, 6 YCbCr, 8 LAB.
        extra: what the last channel is: 0 nothing, 1 alpha that the others are multiplied by, 2 alpha.
        bits: of a sample, if they are fewer than those of the type; one row of pixels then.
        more: further tags, (number, values of 16 bits).
    """
    height, width = pixels.shape[:2]
    channels = pixels.size // (height * width)
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    content = pixels.tobytes()
    if bits:
        unpacked = np.unpackbits(pixels.reshape(-1, 1).astype(">u2").view(np.uint8), axis=1)[:, 16 - bits :]
        content = np.packbits(unpacked.ravel()).tobytes()
    tags = {256: [width], 257: [height], 258: [bits or pixels.itemsize * 8] * channels, 259: [1], 262: [photometric]}
    tags |= {
        273: [8],
        277: [channels],
        278: [height],
        279: [len(content)],
        339: ["uif".index(pixels.dtype.kind) + 1] * channels,
    }
    tags |= ({} if extra is None else {338: [extra]}) | dict(more)
    at = 8 + len(content) + len(content) % 2
    beyond = at + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for number, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", beyond + len(values))
            values += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", number, 3, len(numbers)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at)
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + values
    return head + content + bytes(len(content) % 2) + directory


def saved(pixels, kind, mode=None, **options):
    """Let Pillow write a picture, in a mode of its own."""
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(file, kind, **options)
    return file.getvalue()
