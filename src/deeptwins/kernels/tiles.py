"""How a tensor (N, C, H, W) is cut into tiles, on the host's side and on the device's.

It is seen as positions x channels: position m of M = N * H * W. Where channels are last in memory a tile is
(BM positions, BC channels), else BM positions of one channel: the last axis of a tile is always the contiguous one.
Tiles are grouped into splits of the positions; a program works on one split of one slab of channels.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import triton
import triton.language as tl

WARPS = 8
PROGRAMS = 2  # a multiprocessor: enough to keep its memory busy, few enough that merging their partial results is cheap
TILE = {2: 4096, 4: 4096, 8: 2048}  # elements of a tile, by the bytes of one: at least two 16-byte loads a thread
CHANNELS = {2: 64, 4: 32, 8: 16}  # of a tile at most, by the bytes of one: 128 bytes, a line of the cache
NARROW = 128  # channels: up to here tiles take half as many, since fewer splits are then cheaper to merge
MERGED = 8192  # partial results that a program merges at most: 32 registers a thread
TILES = 2  # a program at least


@dataclass(frozen=True)
class Layout:
    """How the kernels cut a tensor: a grid of slabs of channels x splits of positions, each split a row of tiles."""

    N: int  # images where channels come first, positions where they are last
    C: int
    HW: int  # positions an image; 1 where channels are last
    last: bool  # in memory
    wide: bool  # offsets need 64 bits
    BC: int  # channels of a tile
    BM: int  # positions of a tile
    tiles: int  # of a split
    splits: int

    @property
    def grid(self) -> tuple[int, int]:
        """Programs of every kernel."""
        return triton.cdiv(self.C, self.BC), self.splits

    @property
    def slots(self) -> int:
        """Splits, up to a power of two."""
        return int(triton.next_power_of_2(self.splits))


@functools.lru_cache(maxsize=4096)
def layout(shape: tuple[int, int, int, int], itemsize: int, last: bool, processors: int) -> Layout:  # noqa: FBT001
    """Cut a tensor that is not empty.

    Args:
        shape: (N, C, H, W).
        itemsize: bytes of an element.
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
    return Layout(
        N=positions if last else images,
        C=channels,
        HW=1 if last else height * width,
        last=last,
        wide=positions * channels >= 2**30,  # half of what 32 bits hold: the sum of two offsets fits, too
        BC=BC,
        BM=BM,
        tiles=tiles,
        splits=triton.cdiv(all_tiles, tiles),
    )


@triton.jit
def share(N, HW: tl.constexpr, LAST: tl.constexpr, WIDE: tl.constexpr, BC: tl.constexpr):
    """What this program works on: all positions M, its channels c (BC,) or one alone, its split of the positions."""
    c, split = tl.program_id(0), tl.program_id(1)
    if WIDE:
        c, split, N = c.to(tl.int64), split.to(tl.int64), tl.full((), 0, tl.int64) + N
    if LAST:
        c = c * BC + tl.arange(0, BC)
    return N * HW, c, split


@triton.jit
def across(v, LAST: tl.constexpr):
    """Let values a channel span a tile."""
    if LAST:
        return v[None, :]
    else:
        return v


@triton.jit
def along(v, LAST: tl.constexpr):
    """Let values a position span a tile."""
    if LAST:
        return v[:, None]
    else:
        return v


@triton.jit
def offsets(m, c, C: tl.constexpr, HW: tl.constexpr, LAST: tl.constexpr):
    """Where the elements of positions m (BM,) and channels c lie."""
    if LAST:
        return m[:, None] * C + c[None, :]
    else:
        return m // HW * (C * HW) + c * HW + m % HW


@triton.jit
def inside(m, c, M, C: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr):
    """Which of them exist; C is known at compile time, so that a full tile needs no test of its channels."""
    exist = along(m < M, LAST)
    if C % BC != 0:
        exist = exist & across(c < C, LAST)
    return exist


@triton.jit
def pack(keep, BM: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr):
    """Eight flags, contiguous in memory, into one byte."""
    if LAST:
        return tl.sum(tl.reshape(keep.to(tl.int32), (BM, BC // 8, 8)) << tl.arange(0, 8)[None, None, :], 2).to(tl.uint8)
    else:
        return tl.sum(tl.reshape(keep.to(tl.int32), (BM // 8, 8)) << tl.arange(0, 8)[None, :], 1).to(tl.uint8)


@triton.jit
def packed(first, c, M, C: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr):
    """Where the bytes of the tile lie that begins at position `first`, and which exist: each row has whole bytes."""
    if LAST:
        m = first + tl.arange(0, BM)
        byte = tl.program_id(0) * (BC // 8) + tl.arange(0, BC // 8)
        return m[:, None] * ((C + 7) // 8) + byte[None, :], (m < M)[:, None] & (byte < (C + 7) // 8)[None, :]
    else:
        byte = first // 8 + tl.arange(0, BM // 8)
        return c * ((M + 7) // 8) + byte, byte < (M + 7) // 8


@triton.jit
def unpack(byte, BM: tl.constexpr, BC: tl.constexpr, LAST: tl.constexpr):
    """One byte into eight flags."""
    # Loading the byte once a flag would need no exchange between threads, but Triton 3.6 then lays all tiles out anew.
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
