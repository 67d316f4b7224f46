"""Tests of pictures: the same pixels, however they are stored."""

import contextlib
import io
import logging
import warnings

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from deeptwins.data import pictures
from deeptwins.data.pictures import UnfitError
from pictures_made import png, saved, tiff

BLACK_AND_WHITE = np.random.default_rng(0).integers(0, 2, (6, 10), dtype=np.uint8) * 255
FOUR = np.random.default_rng(1).integers(0, 4, (6, 10), dtype=np.uint8) * 85  # levels
SIXTEEN = np.random.default_rng(2).integers(0, 16, (6, 10), dtype=np.uint8) * 17
GREY = np.random.default_rng(3).permutation(256).astype(np.uint8).reshape(8, 32)
COLOUR = np.random.default_rng(4).integers(0, 256, (6, 10, 3), dtype=np.uint8)
RAMP = np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=1)  # a palette of greys


def read(encoded):
    """Decode a picture, (H, W, 3)."""
    return np.asarray(pictures.rgb(pictures.opened(encoded)))


def with_channel(pixels, value):
    """Add a channel of one value."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), value, pixels.dtype)], axis=2)


def wide(pixels):
    """Write the same levels with 16 bits."""
    return pixels.astype(np.uint16) * 257


def shuffled(pixels):
    """Store greys through a palette in another order: (indices, palette as PNG has it)."""
    order = np.random.default_rng(5).permutation(256)
    return np.argsort(order)[pixels].astype(np.uint8), RAMP[order].tobytes()


TIFF_RAMP = [(320, wide(RAMP).T.ravel().tolist())]
STORED = {
    "PNG, 1 bit": (BLACK_AND_WHITE, png(BLACK_AND_WHITE // 255, 1, 0)),
    "PNG, 2 bits": (FOUR, png(FOUR // 85, 2, 0)),
    "PNG, 4 bits": (SIXTEEN, png(SIXTEEN // 17, 4, 0)),
    "PNG, 16 bits": (GREY, png(wide(GREY), 16, 0)),
    "PNG, palette": (GREY, png(shuffled(GREY)[0], 8, 3, (b"PLTE", shuffled(GREY)[1]))),
    "PNG, grey and alpha": (GREY, png(with_channel(GREY, 255), 8, 4)),
    "PNG, grey and alpha, 16 bits": (GREY, png(wide(with_channel(GREY, 255)), 16, 4)),
    "PNG, grey in RGB": (GREY, saved(GREY, "PNG", "RGB")),
    "PNG, RGB": (COLOUR, saved(COLOUR, "PNG")),
    "PNG, RGB, 16 bits": (COLOUR, png(wide(COLOUR), 16, 2)),
    "PNG, RGBA": (COLOUR, saved(COLOUR, "PNG", "RGBA")),
    "PNG, RGBA, 16 bits": (COLOUR, png(wide(with_channel(COLOUR, 255)), 16, 6)),
    "TIFF, 1 bit": (BLACK_AND_WHITE, saved(BLACK_AND_WHITE, "TIFF", "1")),
    "TIFF, white is zero": (GREY, tiff(255 - GREY, 0)),
    "TIFF, 16 bits": (GREY, tiff(wide(GREY), 1)),
    "TIFF, 16 bits, big-endian": (GREY, tiff(wide(GREY).astype(">u2"), 1)),
    "TIFF, 16 bits, compressed": (GREY, saved(wide(GREY), "TIFF", compression="tiff_lzw")),
    "TIFF, grey and alpha": (GREY, tiff(with_channel(GREY, 255), 1, 2)),
    "TIFF, palette": (GREY, tiff(GREY, 3, more=TIFF_RAMP)),
    "TIFF, palette and alpha": (GREY, tiff(with_channel(GREY, 255), 3, 2, more=TIFF_RAMP)),
    "TIFF, RGB": (COLOUR, tiff(COLOUR, 2)),
    "TIFF, RGB, 16 bits": (COLOUR, tiff(wide(COLOUR).astype(">u2"), 2)),
    "TIFF, RGB and something": (COLOUR, tiff(with_channel(COLOUR, 7), 2, 0)),
    "TIFF, RGB and multiplied alpha": (COLOUR, tiff(with_channel(COLOUR, 255), 2, 1)),
    "TIFF, RGB and alpha": (COLOUR, tiff(with_channel(COLOUR, 255), 2, 2)),
    "TIFF, CMYK": (COLOUR, tiff(with_channel(255 - COLOUR, 0), 5)),
    "TIFF, grey in CMYK": (GREY, saved(GREY, "TIFF", "CMYK")),
    "PGM, 16 bits": (GREY, b"P5 32 8 65535 " + wide(GREY).astype(">u2").tobytes()),
    "PPM, 16 bits": (COLOUR, b"P6 10 6 65535 " + wide(COLOUR).astype(">u2").tobytes()),
    "BMP, grey": (GREY, saved(GREY, "BMP")),
    "BMP, 1 bit": (BLACK_AND_WHITE, saved(BLACK_AND_WHITE, "BMP", "1")),
    "GIF, grey": (GREY, saved(GREY, "GIF")),
    "GIF": (COLOUR[:, :4], saved(COLOUR[:, :4], "GIF")),
    "WebP, grey": (GREY, saved(GREY, "WEBP", lossless=True)),
    "WebP, RGBA": (COLOUR, saved(COLOUR, "WEBP", "RGBA", lossless=True)),
    "JPEG, grey": (np.full((8, 16), 77, np.uint8), saved(np.full((8, 16), 77, np.uint8), "JPEG")),
}


@pytest.mark.parametrize("how", STORED)
def test_a_picture_has_the_same_pixels_however_it_is_stored(how):
    """Bits, palettes, channels that are equal or say nothing, and byte orders change no pixel."""
    pixels, encoded = STORED[how]
    expected = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
    assert np.array_equal(read(encoded), expected)
    assert pictures.size(pictures.opened(encoded)) == pixels.shape[:2]


OPAQUE = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
WIDE = ("I;16", "I;16B", "I;16L")


@pytest.mark.parametrize("mode", OPAQUE)
def test_a_picture_has_the_same_pixels_in_every_mode(mode):
    """In every mode of Pillow, a picture of black and white gives just these."""
    image = Image.fromarray(BLACK_AND_WHITE)
    for step in {"La": ("LA",), "RGBa": ("RGBA",), "HSV": ("RGB",)}.get(mode, ()):
        image = image.convert(step)
    assert np.array_equal(np.asarray(pictures.rgb(image.convert(mode))), np.stack([BLACK_AND_WHITE] * 3, axis=2))


@pytest.mark.parametrize("mode", WIDE)
def test_sixteen_bits_are_read_in_every_byte_order(mode):
    """In every mode of 16 bits the upper 8 are the picture."""
    values = wide(GREY).astype(">u2" if mode == "I;16B" else "<u2")
    image = Image.frombytes(mode, (32, 8), values.tobytes())
    assert np.array_equal(np.asarray(pictures.rgb(image))[..., 0], GREY)


def test_lab_is_read_as_nearly_as_it_is_stored():
    """LAB holds fewer colours than RGB: each channel is off by a few levels at most."""
    got = read(saved(GREY, "TIFF", "LAB")).astype(int)
    assert np.abs(got - GREY[..., None]).max() <= 2


def test_no_mode_that_pillow_reads_is_forgotten():
    """The modes tested here, or refused, are all that TIFF and PNG, which have the most, can be opened in."""
    modes = {mode for mode, _ in [*TiffImagePlugin.OPEN_INFO.values(), *PngImagePlugin._MODES.values()]}
    assert modes <= {*OPAQUE, *WIDE, "LAB", "I", "F"}


SEEN = np.random.default_rng(6).integers(0, 4, (5, 8), dtype=np.uint8) * 85
KEYED = {
    2: png(SEEN // 85, 2, 0, (b"tRNS", b"\0\1")),
    4: png(SEEN // 17, 4, 0, (b"tRNS", b"\0\5")),
    8: png(SEEN, 8, 0, (b"tRNS", b"\0\x55")),
    16: png(wide(SEEN), 16, 0, (b"tRNS", b"\x55\x55")),
}


@pytest.mark.parametrize("bits", KEYED)
def test_a_transparent_level_is_white(bits):
    """A level of grey that a PNG calls transparent is white, whatever its number of bits."""
    assert np.array_equal(read(KEYED[bits])[..., 0], np.where(SEEN == 85, 255, SEEN))


@pytest.mark.parametrize(("key", "seen"), [(0, {255}), (1, {0, 255})])
def test_one_of_two_levels_may_be_transparent(key, seen):
    """Of one bit, black or white may be transparent, and both are white then; what is not stays as it is."""
    pixels = read(png(BLACK_AND_WHITE // 255, 1, 0, (b"tRNS", bytes([0, key]))))[..., 0]
    assert {*pixels.ravel().tolist()} == seen
    assert (pixels[BLACK_AND_WHITE == 255] == 255).all()


RGBA = np.stack(np.meshgrid(np.arange(0, 256, 5), np.arange(0, 256, 3), indexing="ij"), axis=2).astype(np.uint8)
RGBA = np.concatenate([RGBA[..., :1], 255 - RGBA[..., :1], RGBA[..., :1] // 2, RGBA[..., 1:]], axis=2)
ON_WHITE = np.floor((RGBA[..., :3] * (RGBA[..., 3:] / 255) + 255 - RGBA[..., 3:]) + 0.5).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_what_is_transparent_lies_on_white(kind):
    """A pixel of opacity a is a times itself and 1 - a times white; what it hides does not matter."""
    encoded = saved(RGBA, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert np.array_equal(read(encoded), ON_WHITE)


def test_transparency_is_the_same_however_it_is_stored():
    """A palette's alpha, a transparent colour, grey with alpha, and RGBA of the same picture agree."""
    indices = np.random.default_rng(7).integers(0, 4, (6, 10), dtype=np.uint8)
    palette = np.array([[0, 0, 0, 255], [90, 90, 90, 128], [200, 200, 200, 0], [30, 30, 30, 255]], np.uint8)
    whole = palette[indices]
    chunks = (b"PLTE", palette[:, :3].tobytes()), (b"tRNS", palette[:, 3].tobytes())
    grey, tinted = whole[..., [0, 3]], Image.fromarray(whole)
    ways = [
        png(indices, 8, 3, *chunks),
        png(indices, 2, 3, *chunks),
        png(grey, 8, 4),
        png(wide(grey), 16, 4),
        png(wide(whole), 16, 6),
        tiff(grey, 1, 2),
        tiff(np.stack([indices, whole[..., 3]], axis=2), 3, 2, more=[(320, _tiff_palette(palette))]),
        saved(whole, "WEBP", lossless=True, exact=True),
    ]
    expected = read(saved(whole, "PNG"))
    assert all(np.array_equal(read(way), expected) for way in ways)
    assert all(np.array_equal(np.asarray(pictures.rgb(tinted.convert(mode))), expected) for mode in ("RGBA", "LA"))
    hidden = np.where(whole[..., 3:] == 0, np.array([1, 2, 3, 0], np.uint8), whole)
    assert np.array_equal(read(saved(hidden, "PNG")), expected)


def _tiff_palette(palette):
    """Write a palette as TIFF has it: all reds first."""
    return np.pad(palette[:, :3], ((0, 256 - len(palette)), (0, 0))).T.astype(int).ravel() * 257


def test_one_colour_may_be_transparent():
    """A colour that RGB, a palette or a GIF calls transparent is white, and no other is."""
    pixels = np.where(COLOUR[..., :1] < 128, np.array([9, 8, 7], np.uint8), np.array([1, 2, 3], np.uint8))
    expected = np.where(COLOUR[..., :1] < 128, 255, np.array([1, 2, 3], np.uint8))
    indices = (COLOUR[..., 0] >= 128).astype(np.uint8)
    palette = Image.fromarray(indices)
    palette.putpalette([9, 8, 7, 1, 2, 3])
    gif = io.BytesIO()
    palette.save(gif, "GIF", transparency=0)
    chunks = (b"PLTE", bytes([9, 8, 7, 1, 2, 3])), (b"tRNS", b"\0")
    for way in (png(pixels, 8, 2, (b"tRNS", b"\0\x09\0\x08\0\x07")), png(indices, 1, 3, *chunks), gif.getvalue()):
        assert np.array_equal(read(way), expected)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG", "MPO"])
@pytest.mark.parametrize("orientation", range(10))
def test_pictures_are_upright(kind, orientation):
    """The orientation that a camera notes is applied, and told before pixels are decoded; all but 1 to 8 are none."""
    blocks = np.kron(
        np.array([[0, 90, 200], [255, 30, 120]], np.uint8), np.ones((16, 16), np.uint8)
    )  # JPEG keeps these
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    encoded = saved(blocks, kind, "RGB", exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    turned = blocks.T if orientation in (5, 6, 7, 8) else blocks
    turned = turned[::-1] if orientation in (3, 4, 7, 8) else turned
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    assert np.array_equal(read(encoded)[..., 1], turned)
    assert pictures.size(pictures.opened(encoded)) == turned.shape


def test_palettes_and_sixteen_bits_are_upright():
    """An orientation is applied to what has a palette, 16 bits, or a transparent level, too."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for way in (saved(GREY, "PNG", "P", exif=exif), saved(wide(GREY), "PNG", exif=exif)):
        assert np.array_equal(read(way)[..., 0], np.rot90(GREY, -1))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_is_the_picture(kind):
    """Of an animation, or of several pages, the first is taken."""
    first, second = (Image.fromarray(some) for some in (GREY, 255 - GREY))
    options = {"save_all": True, "append_images": [second]} | ({"lossless": True} if kind == "WEBP" else {})
    file = io.BytesIO()
    first.save(file, kind, **options)
    assert Image.open(file).n_frames == 2
    assert np.array_equal(read(file.getvalue())[..., 0], GREY)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (tiff(GREY.astype(np.float32), 1), "range"),
        (tiff(GREY.astype(np.int32), 1), "range"),
        (tiff(GREY.astype(np.int16), 1), "range"),
        (saved(GREY, "PPM", "F"), "range"),
        (tiff(GREY[:1].astype(np.uint16) * 16, 1, bits=12), "12 bits"),
        (tiff(wide(255 - GREY), 0), "0 is white"),
        (png(wide(COLOUR), 16, 2, (b"tRNS", bytes(6))), "transparent colour"),
        (png(GREY.astype(np.uint16), 16, 0), "lower 8 alone"),
    ],
    ids=["float", "32 bits", "signed", "PFM", "12 bits", "white is zero", "16 bits and a colour", "lower bits"],
)
def test_pixels_that_could_be_read_in_two_ways_are_refused(encoded, reason):
    """Where a file does not say what black and white are, or Pillow reads another picture, we say so."""
    with pytest.raises(UnfitError, match=f"{reason}.*save it with 8 bits a channel"):
        read(encoded)


def test_black_with_sixteen_bits_is_black():
    """All black is a picture like others, with 16 bits, too."""
    assert not read(png(np.zeros((2, 2), np.uint16), 16, 0)).any()


DAMAGED_EXIF = tuple(
    b"Exif\0\0" + rest for rest in (b"II*\0\x08\0\0\0\xff\xff\x12\x01", b"II*\0\xff\xff\xff\xff", b"nothing")
)


def test_damaged_exif_says_nothing():
    """A picture whose EXIF is damaged is read as it is stored."""
    for exif in DAMAGED_EXIF:
        encoded = saved(GREY, "PNG", exif=exif)
        assert np.array_equal(read(encoded)[..., 0], GREY)
        assert pictures.size(pictures.opened(encoded)) == GREY.shape


TORN = bytearray(saved(COLOUR, "TIFF", compression="tiff_lzw"))
TORN[8:40] = bytes(32)
LOUD = {
    "libtiff": bytes(TORN),
    "more channels than Pillow knows": tiff(np.zeros((2, 2, 9), np.uint8), 2, 0),
    "many pixels": saved(np.zeros((300, 300), np.uint8), "PNG"),
    "EXIF": saved(GREY, "PNG", exif=DAMAGED_EXIF[0]),
    "EXIF of a TIFF": tiff(GREY, 1, more=[(34665, [60000])]),
}


@pytest.mark.parametrize("what", LOUD)
def test_pillow_is_silent(what, capfd, monkeypatch):
    """What Pillow and its libraries say of odd or damaged pictures does not reach the terminal."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's, which an ordinary process has not
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80_000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pictures.silence()
        with contextlib.suppress(OSError, SyntaxError):
            pictures.rgb(pictures.opened(LOUD[what]))
    assert not caught
    assert capfd.readouterr() == ("", "")


def test_every_suffix_is_of_a_format_that_is_read():
    """What counts as a picture by its suffix is in a format that we try."""
    formats = Image.registered_extensions()
    assert {formats[suffix] for suffix in pictures.SUFFIXES} == set(pictures.FORMATS)
