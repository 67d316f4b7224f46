"""The batch stream: normalised, augmented batches that are a function of (seed, iteration) alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deeptwins.data.datasets import Dataset
from deeptwins.data.images import Images
from deeptwins.study.specs import Recipe

_CHUNK = 1024  # images


class Stream:
    """The batches of a run, on a device, in channels_last memory.

    The train set is shuffled anew for each epoch, and the epochs follow each other without a gap: batch t is positions
    t*B to (t+1)*B of that sequence. So all batches have one shape, and each image is used exactly once an epoch.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.dataset = dataset.to(device)
        self.recipe = recipe
        self.seed = seed
        self.device = device
        mean, scale = statistics(self.dataset.train.images, recipe.normalization)
        self._mean, self._scale = mean.to(device), scale.to(device)
        self.table = lru_cache(maxsize=4)(self._shuffled)
        """The table of an epoch, int64 (4, N), on the images' device: how they are shuffled and augmented."""

    def batch(self, t: int) -> tuple[Tensor, Tensor]:
        """Make batch t, from 0: images float32 (B, C, H, W), labels int64 (B,), without waiting for the device.

        Raises:
            InputError: an image of a streamed dataset is damaged or gone.
        """
        images = self.dataset.train.images
        if images.ahead:
            for coming in range(t, t + 1 + images.ahead):
                images.expect(self._draws(coming)[0])
        return self.gather(self._draws(t))

    def gather(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Make a batch from columns of the tables of epochs, int64 (4, B): images and labels as `batch` returns them.

        Raises:
            InputError: an image of a streamed dataset is damaged or gone.
        """
        train = self.dataset.train
        x, y = self._clean(train.images.at(draws[0])), _sent(train.labels[draws[0]], self.device)
        if self.recipe.shift or self.recipe.flip:
            _, down, right, flip = _sent(draws, self.device)
            x = crop(x, self.recipe.shift, down, right, flip)
        return x, y

    def epochs(self, t: int) -> float:
        """Convert a number of iterations to epochs."""
        return t * self.recipe.batch_size / len(self.dataset.train)

    def clean(self, split: str, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through a split of the dataset, by its name, in order, normalised, not augmented, in batches of `size`.

        Raises:
            InputError: an image of a streamed dataset is damaged or gone.
        """
        part = self.dataset.splits[split]
        indices = torch.split(torch.arange(len(part), device=part.images.device), size)
        for i, now in enumerate(indices):
            for coming in indices[i : i + 1 + part.images.ahead]:
                part.images.expect(coming)
            yield self._clean(part.images.at(now)), _sent(part.labels[now], self.device)

    def _clean(self, images: Tensor) -> Tensor:
        """Normalise: uint8 (B, C, H, W) anywhere -> float32 on the device."""
        pixels = _sent(images, self.device).contiguous(memory_format=torch.channels_last)
        return (pixels - self._mean).div_(self._scale)

    def _draws(self, t: int) -> Tensor:
        """Pick the columns of batch t from the tables of the epochs that it lies in: int64 (4, B)."""
        images, size = len(self.dataset.train), self.recipe.batch_size
        first, last = t * size, (t + 1) * size
        parts = []
        for epoch in range(first // images, (last - 1) // images + 1):
            start = epoch * images
            parts.append(self.table(epoch)[:, max(first - start, 0) : min(last - start, images)])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _shuffled(self, epoch: int) -> Tensor:
        """Draw an epoch: which image, how far the crop lies down and to the right, whether it is flipped; int64 (4, N).

        Made on the CPU, from the seed and the epoch, so that every device sees the same.
        """
        key = int.from_bytes(hashlib.sha256(f"{self.seed} {epoch}".encode()).digest())
        raw = np.random.PCG64(key).random_raw((4, len(self.dataset.train)))  # numpy promises that these never change
        places = 2 * self.recipe.shift + 1
        flips = raw[3] >> 63 if self.recipe.flip else np.zeros_like(raw[3])
        table = np.stack([np.argsort(raw[0], kind="stable"), raw[1] % places, raw[2] % places, flips], dtype=np.int64)
        return _sent(torch.from_numpy(table), self.dataset.train.images.device)


def crop(images: Tensor, shift: int, down: Tensor, right: Tensor, flip: Tensor) -> Tensor:
    """Pad images by `shift` zeros on each side and cut windows of their own size out of that, mirrored where flip is 1.

    Shapes: images (B, C, H, W), the others int64 (B,), with down and right from 0 to 2 * shift. Returns channels_last.
    """
    count, _, height, width = images.shape
    padded = F.pad(images, (shift, shift, shift, shift))
    image = torch.arange(count, device=images.device)[:, None, None]
    row = down[:, None] + torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    column = right[:, None] + column + flip[:, None] * (width - 1 - 2 * column)
    # Indices on both sides of a slice go first in the result: (B, H, W, C), which is channels_last for free.
    return padded[image, :, row[:, :, None], column[:, None, :]].permute(0, 3, 1, 2)


def statistics(images: Images, kind: Literal["channel", "pixel-mean", "none"]) -> tuple[Tensor, Tensor]:
    """Return what is subtracted from the images, and what the result is divided by: float32, to broadcast.

    `channel`: each channel's mean and standard deviation. `pixel-mean`: the mean image, and 255 (He et al. 2015, 4.2).
    `none`: 0, and 255.
    Sums are of integers, so that neither threads nor devices change them.
    """
    if kind == "none":
        return torch.tensor(0.0, device=images.device), torch.tensor(255.0, device=images.device)
    channels, height, width = images.shape
    total = torch.zeros(images.shape, dtype=torch.int64, device=images.device)
    squares = torch.zeros(channels, dtype=torch.int64, device=images.device)
    count = min(len(images), images.representative)
    for indices in torch.split(torch.arange(count, device=images.device), _CHUNK):
        pixels = images.at(indices)
        total += pixels.sum(0, dtype=torch.int64)
        if kind == "channel":
            squares += pixels.to(torch.int32).square().sum((0, 2, 3), dtype=torch.int64)
    if kind == "pixel-mean":
        mean = (total.double() / count).float()[None]
        return mean.contiguous(memory_format=torch.channels_last), torch.tensor(255.0, device=images.device)
    mean = total.sum((1, 2)).double() / (count * height * width)
    deviation = (squares.double() / (count * height * width) - mean**2).clamp(min=0).sqrt()
    deviation[deviation == 0] = 1  # a channel of one value
    return mean.float()[:, None, None], deviation.float()[:, None, None]


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Move to a device without waiting for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
