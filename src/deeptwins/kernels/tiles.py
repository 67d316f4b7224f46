"""How a tensor (N, C, H, W) is cut into tiles, on the host's side and on the device's.

The kernels see it as positions x channels: position m of M = N * H * W. Where channels are last in memory, a tile is
(BM positions, BC channels), else BM positions of one channel: the last axis of a tile is always the contiguous one.
A slab is BC channels, or one; a split is a row of tiles. One program works on one split of one slab.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import triton
import triton.language as tl

WARPS = 8
# Programs per multiprocessor: enough to keep the memory busy, few enough that merging their partial results is cheap.
PROGRAMS = 2
# Elements per tile, by the bytes of an element: every thread loads at least two times 16 bytes.
TILE = {2: 4096, 4: 4096, 8: 2048}
# Channels per tile at most, by the bytes of an element: 128 bytes, a line of the cache.
CHANNELS = {2: 64, 4: 32, 8: 16}
# Up to so many channels, tiles of 2-byte elements have half of these: more slabs, and so fewer splits to merge.
NARROW = 128
# Partial results that a program merges at most: 32 registers per thread.
MERGED = 8192
# Tiles per program at least.
TILES = 2


@dataclass(frozen=True)
class Tiling:
    """How the kernels cut a tensor: a grid of slabs x splits."""

    N: int
    """Images where channels come first in memory, positions where they are last."""
    C: int
    HW: int
    """Positions per image; 1 where channels are last."""
    last: bool
    """Whether channels are last in memory."""
    wide: bool
    """Whether offsets need 64 bits."""
    BC: int
    """Channels per tile."""
    BM: int
    """Positions per tile."""
    tiles: int
    """Per split."""
    splits: int

    @property
    def grid(self) -> tuple[int, int]:
        """The programs of every kernel: slabs x splits."""
        return triton.cdiv(self.C, self.BC), self.splits

    @property
    def slots(self) -> int:
        """The splits, rounded up to a power of two: the kernels merge so many partial results, of which some are 0."""
        return int(triton.next_power_of_2(self.splits))


@functools.lru_cache(maxsize=4096)
def tile(shape: tuple[int, int, int, int], itemsize: int, last: bool, processors: int) -> Tiling:  # noqa: FBT001
    """Cut a tensor that is not empty.

    Args:
        shape: (N, C, H, W).
        itemsize: bytes per element.
        last: whether channels are last in memory.
        processors: multiprocessors of the device.
    """
    images, channels, height, width = shape
    positions = images * height * width
    at_most = CHANNELS[itemsize] // (2 if channels <= NARROW and itemsize < 4 else 1)  # noqa: PLR2004
    BC = min(at_most, max(8, triton.next_power_of_2(channels))) if last else 1
    BM = max(8, min(TILE[itemsize] // BC, triton.next_power_of_2(positions)))
    all_tiles = triton.cdiv(positions, BM)
    slabs = triton.cdiv(channels, BC)
    tiles = triton.cdiv(all_tiles, max(1, min(PROGRAMS * processors // slabs, all_tiles // TILES, MERGED // BC)))
    return Tiling(
        N=positions if last else images,
        C=channels,
        HW=1 if last else height * width,
        last=last,
        wide=positions * channels >= 2**30,  # half of what 32 bits hold, since kernels add two offsets
        BC=BC,
        BM=BM,
        tiles=tiles,
        splits=triton.cdiv(all_tiles, tiles),
    )


@triton.jit
def share(N, HW: tl.constexpr, LAST: tl.constexpr, WIDE: tl.constexpr, BC: tl.constexpr):
    """Return the number M of all positions, this program's channels c, (BC,) or one, and its split of the positions."""
    c, split = tl.program_id(0), tl.program_id(1)
    if WIDE:
        c, split, N = c.to(tl.int64), split.to(tl.int64), tl.full((), 0, tl.int64) + N
    if LAST:
        c = c * BC + tl.arange(0, BC)
    return N * HW, c, split


@triton.jit
def across(v, LAST: tl.constexpr):
    """Broadcast values per channel over a tile."""
    if LAST:
        return v[None, :]
    else:
        return v


@triton.jit
def along(v, LAST: tl.constexpr):
    """Broadcast values per position over a tile."""
    if LAST:
        return v[:, None]
    else:
        return v


@triton.jit
def offsets(m, c, C: tl.constexpr, HW: tl.constexpr, LAST: tl.constexpr):
    """Return the offsets of the elements at positions m (BM,) and channels c."""
    if LAST:
        return m[:, None] * C + c[None, :]
    else:
        return m // HW * (C * HW) + c * HW + m % HW


@triton.jit
def inside(m, c, M, C: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr):
    """Tell which of these elements exist. C is a constant, so that where BC divides it no channel is tested."""
    exist = along(m < M, LAST)
    if C % BC != 0:
        exist = exist & across(c < C, LAST)
    return exist


@triton.jit
def pack(keep, BM: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr):
    """Pack eight flags, contiguous in memory, into one byte."""
    if LAST:
        return tl.sum(tl.reshape(keep.to(tl.int32), (BM, BC // 8, 8)) << tl.arange(0, 8)[None, None, :], 2).to(tl.uint8)
    else:
        return tl.sum(tl.reshape(keep.to(tl.int32), (BM // 8, 8)) << tl.arange(0, 8)[None, :], 1).to(tl.uint8)


@triton.jit
def packed(first, c, M, C: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr):
    """Return the offsets of packed flags, for the tile at position `first`, and which exist. A row has whole bytes."""
    if LAST:
        m = first + tl.arange(0, BM)
        byte = tl.program_id(0) * (BC // 8) + tl.arange(0, BC // 8)
        return m[:, None] * ((C + 7) // 8) + byte[None, :], (m < M)[:, None] & (byte < (C + 7) // 8)[None, :]
    else:
        byte = first // 8 + tl.arange(0, BM // 8)
        return c * ((M + 7) // 8) + byte, byte < (M + 7) // 8


@triton.jit
def unpack(byte, BM: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr):
    """Unpack each byte into eight flags."""
    # Loading a byte once per flag would need no exchange between threads, but Triton 3.6 then lays out all tiles anew.
    if LAST:
        bits = tl.broadcast_to(byte[:, :, None], (BM, BC // 8, 8)).to(tl.int32) >> tl.arange(0, 8)[None, None, :]
        return tl.reshape(bits & 1, (BM, BC)) != 0
    else:
        bits = tl.broadcast_to(byte[:, None], (BM // 8, 8)).to(tl.int32) >> tl.arange(0, 8)[None, :]
        return tl.reshape(bits & 1, (BM,)) != 0


@triton.jit
def slots(partial, c, splits, C: tl.constexpr, SLOTS: tl.constexpr, LAST: tl.constexpr):
    """Read the partial results of channels c: a tile of SLOTS positions, zero beyond the last split."""
    i = tl.arange(0, SLOTS)
    return tl.load(partial + along(i, LAST) * C + across(c, LAST), along(i < splits, LAST) & across(c < C, LAST), 0)
