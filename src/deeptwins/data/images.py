"""Images as uint8 tensors: resident in memory or on a device, or streamed, that is decoded on demand.

Both kinds have the same methods, so that callers need not know which one they have.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Event
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from deeptwins.data import pictures
from deeptwins.errors import InputError

Array = npt.NDArray[np.uint8]

RESIDENT_BYTES = 2 * 2**30  # decoded images that take more are streamed
# Images that a thread decodes per task: one by one, the hand-over would cost as much as decoding a small image.
_CHUNK = 64


class Encoded(Protocol):
    """Encoded images (PNG, JPEG, WebP, ...) by number, wherever they lie."""

    def __len__(self) -> int:
        """Count the images."""

    def read(self, index: int) -> bytes:
        """Read an encoded image.

        Raises:
            InputError: it cannot be read.
        """

    def name(self, index: int) -> str:
        """Name an image for an error message: its path, say."""

    def identity(self, index: int) -> str:
        """Return a text that differs for every other image, and for a changed version of this one, without decoding."""


@dataclass(frozen=True)
class Resident:
    """Images that lie in memory, or on a device, as one uint8 tensor (N, C, H, W)."""

    pixels: Tensor

    ahead: ClassVar[int] = 0
    representative: ClassVar[int] = sys.maxsize

    def __len__(self) -> int:
        """Count them."""
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Where `at` wants its indices and leaves its images."""
        return self.pixels.device

    def at(self, indices: Tensor) -> Tensor:
        """Gather images: int64 (B,) on `device` -> uint8 (B, C, H, W)."""
        return self.pixels.index_select(0, indices)

    def expect(self, indices: Tensor) -> None:
        """Do nothing: resident images need no preparation."""

    def coloured(self) -> bool:
        """Whether any has colour: channels that are not equal."""
        return any(bool((some[:, :1] != some[:, 1:]).any()) for some in self.pixels.split(_CHUNK))

    def digests(self, labels: npt.NDArray[np.int64]) -> list[bytes]:
        """Return a digest of each image: of its label and its pixels."""
        pixels = self.pixels.cpu().numpy()
        return [_digest(label, image.data) for label, image in zip(labels.tolist(), pixels, strict=True)]

    def take(self, order: npt.NDArray[np.int64]) -> Resident:
        """Put the images in another order."""
        return Resident(self.pixels[torch.from_numpy(order)])

    def grey(self) -> Resident:
        """Keep one of three equal channels."""
        return Resident(self.pixels[:, :1].contiguous())

    def to(self, device: torch.device) -> Resident:
        """Move to a device; free of cost if they are there already."""
        return Resident(self.pixels.to(device))

    def share(self) -> Resident:
        """Move to memory that other processes receive without a copy."""
        return Resident(self.pixels.share_memory_())


class Streamed:
    """Images that a pool of threads decodes on demand, or a little before."""

    ahead: ClassVar[int] = 4  # batches to announce through `expect`, besides the next one
    representative: ClassVar[int] = 10_000  # statistics over pixels take the first so many images only
    device: ClassVar[torch.device] = torch.device("cpu")

    def __init__(
        self, source: Encoded, size: int | None, shape: tuple[int, int, int], order: npt.NDArray[np.int64]
    ) -> None:
        self._source = source
        self._size = size
        self.shape = shape
        self._order = order
        self._coming: dict[bytes, list[Future[Array]]] = {}

    def __reduce__(self) -> tuple[type[Streamed], tuple[Any, ...]]:
        """Pickle all but the images that are being decoded: these belong to this process."""
        return Streamed, (self._source, self._size, self.shape, self._order)

    def __len__(self) -> int:
        """Count them."""
        return len(self._order)

    def at(self, indices: Tensor) -> Tensor:
        """Decode images: int64 (B,) -> uint8 (B, C, H, W).

        Raises:
            InputError: an image is damaged or gone, or has another size than before.
        """
        coming = self._coming.pop(indices.numpy().tobytes(), None) or self._start(indices)
        return torch.from_numpy(np.concatenate([part.result() for part in coming])).permute(0, 3, 1, 2)

    def expect(self, indices: Tensor) -> None:
        """Start to decode images, for which `at` will soon be called with exactly these indices."""
        key = indices.numpy().tobytes()
        if key in self._coming:
            return
        while len(self._coming) > self.ahead:  # `at` was never called for the oldest batch announced
            for part in self._coming.pop(next(iter(self._coming))):
                part.cancel()
        self._coming[key] = self._start(indices)

    def digests(self, labels: npt.NDArray[np.int64]) -> list[bytes]:
        """Return a digest of each image: of its label, name and size, since reading all would take too long."""
        names = (self._source.identity(index).encode("utf-8", "surrogateescape") for index in self._order.tolist())
        return [_digest(label, name) for label, name in zip(labels.tolist(), names, strict=True)]

    def take(self, order: npt.NDArray[np.int64]) -> Streamed:
        """Put the images in another order."""
        return Streamed(self._source, self._size, self.shape, self._order[order])

    def grey(self) -> Streamed:
        """Keep one of three equal channels."""
        return Streamed(self._source, self._size, (1, *self.shape[1:]), self._order)

    def to(self, device: torch.device) -> Streamed:  # noqa: ARG002 - the interface of Resident
        """Change nothing: each batch is moved when it is decoded."""
        return self

    def share(self) -> Streamed:
        """Change nothing: every process decodes for itself."""
        return self

    def _start(self, indices: Tensor) -> list[Future[Array]]:
        numbers = self._order[indices.numpy()].tolist()
        share = max(1, min(_CHUNK, len(numbers) // (4 * _workers())))  # small enough to keep all threads busy
        return [_pool().submit(self._decode, numbers[i : i + share]) for i in range(0, len(numbers), share)]

    def _decode(self, numbers: Sequence[int]) -> Array:
        channels, height, width = self.shape
        decoded = np.empty((len(numbers), height, width, channels), np.uint8)
        for place, number in enumerate(numbers):
            image = decode(self._source, number, self._size)
            if image.shape[:2] != (height, width):
                sizes = f"{image.shape[1]}x{image.shape[0]} pixels, and had {width}x{height} when it was first read"
                raise InputError(f"{self._source.name(number)}: {sizes}: put it back, and run again")
            decoded[place] = image[..., :channels]
        return decoded


Images = Resident | Streamed


def from_array(array: Array, size: int | None) -> Resident:
    """Make images of an array (N, H, W) or (N, H, W, C), scaled to squares of `size` pixels unless they are such."""
    if size is not None and array.shape[1:3] != (size, size):
        scaled = np.empty((len(array), size, size, *array.shape[3:]), np.uint8)  # fails here if memory is too small
        for i, image in enumerate(array):
            scaled[i] = _fit(Image.fromarray(image), size)
        array = scaled
    pixels = torch.from_numpy(np.require(array, requirements="W"))  # torch warns of arrays that are read-only
    return Resident(pixels[:, None] if array.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous())  # noqa: PLR2004


def from_encoded(source: Encoded, size: int | None) -> tuple[Images, bool]:
    """Decode images to three channels, now or, if they take too much memory, on demand; say whether any has colour.

    Raises:
        InputError: an image is damaged or unfit, or has another size than the first and `size` is None.
    """
    first = decode(source, 0, size)
    if len(source) * first.nbytes <= RESIDENT_BYTES:
        pixels = np.empty((len(source), *first.shape), np.uint8)

        def work(index: int) -> None:
            image = decode(source, index, size)
            _same(source, index, image.shape[:2], first.shape[:2])
            pixels[index] = image

        _each(work, len(source))
        resident = from_array(pixels, None)
        return resident, resident.coloured()
    coloured = Event()

    def look(index: int) -> None:
        with _opened(source, index, size) as image:
            if size is None:
                _same(source, index, pictures.size(image), first.shape[:2])
            if not coloured.is_set() and not pictures.surely_grey(image):  # pixels take long: until one has colour
                pixels = _pixels(image, size)
                if (pixels[..., :1] != pixels[..., 1:]).any():
                    coloured.set()

    _each(look, len(source))
    shape = (3, first.shape[0], first.shape[1])
    return Streamed(source, size, shape, np.arange(len(source))), coloured.is_set()


def decode(source: Encoded, index: int, size: int | None) -> Array:
    """Decode one image to (H, W, 3).

    Raises:
        InputError: it is damaged or unfit.
    """
    with _opened(source, index, size) as image:
        return _pixels(image, size)


@contextlib.contextmanager
def _opened(source: Encoded, index: int, size: int | None) -> Iterator[Image.Image]:
    """Open an image; whatever is wrong with it, now or inside the block, is one line that names it."""
    encoded = source.read(index)
    try:
        yield pictures.opened(encoded, size)
    except (InputError, MemoryError):
        raise
    except pictures.UnfitError as error:
        raise InputError(f"{source.name(index)}: {error}") from None
    except Exception:  # noqa: BLE001 - Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        formats = ", ".join(pictures.FORMATS)
        reason = f"damaged, or not an image ({formats}): replace it or take it away"
        raise InputError(f"{source.name(index)}: {reason}") from None


def _pixels(image: Image.Image, size: int | None) -> Array:
    return np.asarray(_fit(pictures.rgb(image), size))


def _fit(image: Image.Image, size: int | None) -> Image.Image:
    """Scale the shorter side to `size` pixels and cut out the middle square."""
    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def _same(source: Encoded, index: int, size: tuple[int, ...], first: tuple[int, ...]) -> None:
    """Refuse an image that has another size (H, W) than the first."""
    if size != first:
        sizes = f"{size[1]}x{size[0]} pixels, and {source.name(0)} has {first[1]}x{first[0]}"
        raise InputError(f"{source.name(index)}: {sizes}: set recipe.image_size to bring all images to one size")


def _each(work: Callable[[int], None], count: int) -> None:
    """Call `work` for all numbers below count, by the pool's threads."""

    def chunk(start: int) -> None:
        for index in range(start, min(start + _CHUNK, count)):
            work(index)

    list(_pool().map(chunk, range(0, count, _CHUNK)))  # a list, so that errors are raised here


def _digest(label: int, content: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(label.to_bytes(8, "little"), digest_size=16)
    digest.update(content)
    return digest.digest()


def _workers() -> int:
    """As many threads as PyTorch may use: one per core, and a single one where every core has a worker."""
    return torch.get_num_threads()


@cache
def _pool() -> ThreadPoolExecutor:
    """The process's decoding threads; Pillow's decoders release Python's lock."""
    return ThreadPoolExecutor(_workers(), thread_name_prefix="decode")
