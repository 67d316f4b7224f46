"""Pictures as people see them: upright, in 8 bits of red, green and blue, on white where they are transparent.

A picture gives the same pixels however it is stored: in grey, with a palette, in 16 bits, in CMYK, and so on.
"""

from __future__ import annotations

import ctypes
import io
import logging
import warnings
from contextlib import suppress

import numpy as np
from PIL import ExifTags, Image, ImageOps

# To try all formats that Pillow knows takes longer than to decode the image.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".tif", ".tiff", ".gif"),
)
PIXELS = 2 * 89_478_485  # of a picture; Pillow's own limit, beyond which it would not even open a JPEG to scale it
Image.MAX_IMAGE_PIXELS = None
LFS = b"version https://git-lfs.github.com/spec/"  # so begins what lies in the place of a file that Git LFS keeps
POINTER = "a pointer of Git LFS, not the file itself: run git lfs pull where it was cloned"
_WHITE = {"1": 255, "L;2": 85, "L;4": 17}  # white, as a multiple of the largest value, where grey has fewer bits
_BITS, _PHOTOMETRIC, _BLACK_IS_ZERO = 258, 262, 1  # tags of TIFF, and a value of the second


class UnfitError(Exception):
    """A picture that is sound, but whose pixels cannot be told for sure; says what to do."""


def silence() -> None:
    """Keep Pillow's warnings off the terminal: they name no file, and what matters of them is an error here."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(AttributeError, OSError):  # libtiff, which Pillow brings, prints errors of its own accord
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)  # type: ignore[attr-defined]


silence()


def opened(encoded: bytes, size: int | None = None) -> Image.Image:
    """Read what a picture is, but for its pixels. Of several frames, the first is the picture.

    Args:
        encoded: the content of its file.
        size: pixels of the shorter side that are wanted. One that is too large is scaled, but not below that, while it
            is decoded, if its format can.

    Raises:
        UnfitError: it is too large, or its pixels could be read in more than one way.
        Exception: whatever Pillow raises where it is damaged.
    """
    if encoded.startswith(LFS):
        raise UnfitError(POINTER)
    image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    width, height = image.size
    if width * height > PIXELS and size is not None:
        image.draft(image.mode, (size, size))  # JPEG alone can
    if image.width * image.height > PIXELS:
        raise UnfitError(f"too large: {width}x{height} pixels, at most {PIXELS:,}: scale it down")
    if image.mode in ("I", "F") and not (image.mode == "I" and image.format == "PPM"):
        raise UnfitError("its pixels are numbers whose range the file does not tell: save it with 8 bits a channel")
    if image.mode.startswith("I;16") and image.format == "TIFF":
        tags = image.getexif()
        if tags.get(_BITS) not in (16, (16,)) or tags.get(_PHOTOMETRIC) != _BLACK_IS_ZERO:
            raise UnfitError("grey of 12 bits, or of 16 bits whose 0 is white: save it with 8 bits a channel")
    bits = image.tile[0][3] if image.format == "PNG" and image.tile else None
    key = image.info.get("transparency")
    if bits == "RGB;16B" and key is not None:
        raise UnfitError("16 bits a channel and a transparent colour: save it with 8 bits a channel")
    if isinstance(key, int) and bits in _WHITE:  # Pillow scales the pixels, but not the level that is transparent
        image.info["transparency"] = min(key * _WHITE[bits], 255)
    return image


def size(image: Image.Image) -> tuple[int, int]:
    """Tell the height and width that an opened picture has once it is upright; pixels are decoded only if need be."""
    # Pillow swaps the sides of a TIFF itself. Where they are equal, there is nothing to swap.
    if image.format != "TIFF" and image.width != image.height and _orientation(image) in (5, 6, 7, 8):
        return image.width, image.height
    return image.height, image.width


def surely_grey(image: Image.Image) -> bool:
    """Whether an opened picture is grey whatever its pixels are."""
    return image.mode in ("1", "L", "LA")


def rgb(image: Image.Image) -> Image.Image:
    """Decode an opened picture.

    Raises:
        UnfitError: its pixels could be read in more than one way.
        Exception: whatever Pillow raises where it is damaged.
    """
    image.load()
    with suppress(Exception):  # EXIF that is damaged says nothing
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    elif image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image  # Pillow has no other way from there
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, straight.convert("RGBA"))
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Take the upper 8 of the 16 bits of grey, as Pillow does of those of red, green and blue."""
    levels = np.asarray(image)
    if 0 < levels.max() < 256:  # noqa: PLR2004  almost black to every viewer
        raise UnfitError("of its 16 bits a pixel it uses the lower 8 alone: save it with 8 bits a channel")
    transparent = levels == image.info.get("transparency", -1)
    return Image.fromarray(np.where(transparent, 255, levels >> 8).astype(np.uint8))


def _orientation(image: Image.Image) -> object:
    with suppress(Exception):  # as in rgb
        return image.getexif().get(ExifTags.Base.Orientation)
    return None
