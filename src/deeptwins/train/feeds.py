"""Feeds: the coming batches and learning rates, in memory that stays where it is, for all nets that train on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from deeptwins.data.stream import Stream
from deeptwins.study.specs import Recipe
from deeptwins.train.lanes import STEPS, Lane, Mark
from deeptwins.train.optimization import learning_rate


class Feed:
    """A few consecutive batches of a stream, made on the device from the number of the first."""

    def __init__(self, stream: Stream, t: int, *, capture: bool = True) -> None:
        """Make room for `STEPS` batches and rates.

        Args:
            stream: of the batches.
            t: the number of the first batch that will be asked for.
            capture: whether making them may be captured.
        """
        self._stream = stream
        self._recipe, device, steps = stream.recipe, stream.device, STEPS[stream.device.type]
        size, count = stream.recipe.batch_size, len(stream.dataset.train)
        like = stream.batch(t)  # strides included: they choose among the algorithms of a convolution
        self._places = [tuple(map(torch.empty_like, like)) for _ in range(steps)]
        # What fused optimizers read a rate from: on a CPU as exactly as they take a number.
        self._rates = torch.zeros(steps, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
        self.rates = list(self._rates.unbind())
        """Learning rates by place: numbers in tensors ()."""
        resident = stream.dataset.train.images.ahead == 0
        self._make = self._compute if resident else self._fetch
        # Tables of the epochs that a block can touch; that of epoch e lies in slot e modulo the number of slots.
        self._tables = torch.zeros(-(-steps * size // count) + 1 if resident else 0, 4, count, dtype=torch.int64)
        self._tables = self._tables.to(device)
        self._epochs: dict[int, int] = {}  # by slot: whose table lies in it
        self._counter = torch.zeros((), dtype=torch.int64, device=device)  # the number of the next batch
        self._offsets = torch.arange(size, device=device)
        self._next = 0  # the counter's value, as the host knows it
        self._block: tuple[int, int] | None = None  # the batches in the places: number of the first, and how many
        self._filled: Mark = None
        self._read: list[Mark] = []
        self._lane = Lane(device, capture=capture and resident)  # after all that its steps use

    def batch(self, place: int) -> tuple[Tensor, Tensor]:
        """The batch at a place: images float32 (B, C, H, W), channels_last, and labels int64 (B,)."""
        x, y = self._places[place]
        return x, y

    def fill(self, t: int, count: int) -> None:
        """Put batches t to t + count - 1 and their rates into places 0 to count - 1, unless they are there already.

        Raises:
            InputError: an image of a streamed dataset is damaged or gone.
        """
        if self._block == (t, count):
            return
        with self._lane:
            self._lane.after(self._read)
            self._read.clear()
            if self._next != t:
                self._counter.fill_(t)
            rates = torch.tensor([learning_rate(self._recipe, t + i) for i in range(count)], dtype=self._rates.dtype)
            self._rates[:count].copy_(_pinned(rates, self._stream.device), non_blocking=True)
            self._bring(t, count)
        self._next = t
        self._lane.run(self._make, count)
        self._next = t + count
        self._block, self._filled = (t, count), self._lane.mark()

    def stands_at(self, t: int) -> bool:
        """Whether batch t lies in place 0, or nothing lies in any place yet."""
        return self._block is None or self._block[0] == t

    @contextmanager
    def read_by(self, lane: Lane) -> Iterator[None]:
        """Read the batches from a lane: what it issues inside waits for `fill`, and the next `fill` waits for it."""
        lane.after([self._filled])
        yield
        self._read.append(lane.mark())

    def _bring(self, t: int, count: int) -> None:
        """Bring the tables of the epochs that some batches touch."""
        if not len(self._tables):
            return
        size, images = self._recipe.batch_size, len(self._stream.dataset.train)
        for epoch in range(t * size // images, ((t + count) * size - 1) // images + 1):
            slot = epoch % len(self._tables)
            if self._epochs.get(slot) != epoch:
                self._tables[slot].copy_(self._stream.table(epoch))
                self._epochs[slot] = epoch

    def _compute(self, place: int) -> None:
        """Make the batch of the counter's number, and count on, all on the device."""
        images = self._tables.shape[2]
        position = self._counter * len(self._offsets) + self._offsets
        draws = self._tables[position // images % len(self._tables), :, position % images].T
        self._put(place, *self._stream.gather(draws))
        self._counter += 1

    def _fetch(self, place: int) -> None:
        """Decode a batch on the host: its images do not lie on the device."""
        self._put(place, *self._stream.batch(self._next + place))

    def _put(self, place: int, x: Tensor, y: Tensor) -> None:
        for tensor, new in zip(self._places[place], (x, y), strict=True):
            tensor.copy_(new)


class Feeds:
    """The feeds of runs that train together: runs that begin at the same iteration of the same batches share one."""

    def __init__(self, *, capture: bool = True) -> None:
        """Begin without any; `capture` says whether they may capture their work."""
        self._capture = capture
        self._feeds: WeakValueDictionary[tuple[Recipe, int, int], Feed] = WeakValueDictionary()

    def at(self, stream: Stream, t: int) -> Feed:
        """The feed for nets that train on a stream from iteration t on."""
        key = stream.recipe, stream.seed, t
        feed = self._feeds.get(key)
        if feed is None or not feed.stands_at(t):  # two runs at different iterations would make it go back and forth
            feed = self._feeds[key] = Feed(stream, t, capture=self._capture)
        return feed


def _pinned(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory() if device.type == "cuda" else tensor
