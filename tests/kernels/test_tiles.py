"""How tensors are cut into tiles, and that the kernels cover what they are cut into: many splits, large offsets."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import fused
from deeptwins.kernels.bn_relu_add.inputs import Inputs
from fused import Case
from pairwise import cross, pairwise

tiles = pytest.importorskip("deeptwins.kernels.tiles", reason="Triton exists for Linux")
launches = pytest.importorskip("deeptwins.kernels.bn_relu_add.launches")

HUGE = 2**31 + 2**21  # elements, more than 32 bits can count


def power_of_two(number):
    """Tell whether a number is one."""
    return number & (number - 1) == 0


@given(
    shape=st.tuples(*[st.integers(1, 2**15) | st.integers(1, 300)] * 4),
    itemsize=st.sampled_from([2, 4, 8]),
    last=st.booleans(),
    processors=st.integers(1, 200),
)
def test_a_layout_covers_everything_once(*, shape, itemsize, last, processors):
    """Every position and channel lies in one tile of one program, none is idle, and every limit is kept."""
    cut = tiles.tile(shape, itemsize, last, processors)
    images, channels, height, width = shape
    positions = images * height * width
    slabs, splits = cut.grid

    assert positions == cut.N * cut.HW
    assert (cut.HW == 1) if last else (height * width == cut.HW and cut.BC == 1)
    assert slabs * cut.BC >= channels > (slabs - 1) * cut.BC
    assert splits * cut.tiles * cut.BM >= positions > (splits - 1) * cut.tiles * cut.BM
    assert splits == cut.splits <= cut.slots < 2 * splits
    assert power_of_two(cut.slots)
    assert power_of_two(cut.BM)
    assert power_of_two(cut.BC)
    assert cut.BM % 8 == 0  # a byte of the mask holds eight positions,
    assert cut.BC % 8 == 0 or not last  # or eight channels
    assert tiles.TILE[itemsize] >= cut.BM * cut.BC
    assert cut.BC * itemsize <= 128
    assert splits == 1 or splits * cut.BC <= tiles.MERGED
    assert splits == 1 or splits * slabs <= tiles.PROGRAMS * processors
    assert splits < 2**16  # as many as a grid's second axis takes
    assert cut.wide or positions * channels * 2 <= 2**31


@pytest.mark.parametrize("last", [True, False])
def test_offsets_are_wide_where_they_must_be(last):
    """From 2^30 elements on offsets have 64 bits: a split's end may lie as far again behind the last position."""
    assert not tiles.tile((2**14, 16, 2**6, 2**6 - 1), 2, last, 132).wide
    assert tiles.tile((2**14, 16, 2**6, 2**6), 2, last, 132).wide


# --- small tensors, cut small -----------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """Cut into tiles of eight positions and a few splits, whatever the device."""

    def cut(channels, splits):
        for itemsize in tiles.TILE:
            monkeypatch.setitem(tiles.TILE, itemsize, 8 * channels)
            monkeypatch.setitem(tiles.CHANNELS, itemsize, channels)
        monkeypatch.setattr(tiles, "NARROW", 0)
        monkeypatch.setattr(tiles, "MERGED", splits * channels)
        monkeypatch.setattr(tiles, "PROGRAMS", 1000)
        monkeypatch.setattr(tiles, "TILES", 1)
        tiles.tile.cache_clear()

    yield cut
    tiles.tile.cache_clear()


def cut_of(case):
    """Give the layout that a case's tensors have, on a device of two multiprocessors."""
    return tiles.tile(case.shape, case.dtype.itemsize, case.last, 2)


RAGGED = [
    # shape, splits asked for; splits, tiles of each, positions in the last tile, tiles of the last split
    ((7, 11, 5, 3), 5, 5, 3, 1, 2),
    ((5, 3, 5, 5), 6, 6, 3, 5, 1),
    ((2, 12, 8, 5), 4, 4, 3, 8, 1),
    ((3, 8, 3, 3), 4, 4, 1, 3, 1),
    ((31, 9, 2, 2), 1, 1, 16, 4, 16),
]


@pytest.mark.parametrize(
    ("ragged", "last", "training"),
    [tuple(case.values()) for case in pairwise(cross(ragged=RAGGED, last=(True, False), training=(True, False)))],
    ids=str,
)
@pytest.mark.usefixtures("triton")
def test_splits_are_merged(ragged, last, training, small, device):
    """With several splits of several tiles, of which the last is ragged, errors are as small as ever."""
    shape, asked, splits, of_each, rest, of_last = ragged
    small(8 if last else 1, asked)
    fork = splits % 2 == 1
    shape = shape if last else (shape[0], 2, *shape[2:])
    case = Case(shape, last=last, training=training, fork=fork, residual=splits != 6)
    cut = cut_of(case)
    positions = shape[0] * shape[2] * shape[3]
    assert (cut.splits, cut.tiles) == (splits, of_each)
    assert positions - (positions - 1) // 8 * 8 == rest
    assert -(-positions // 8) - (splits - 1) * of_each == of_last

    fused.assert_as_exact_as_eager(case, device)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.usefixtures("triton")
def test_splits_that_differ_are_merged(last, dtype, small, device):
    """Splits whose means lie far apart are merged by their sizes: Chan's formula."""
    small(8 if last else 1, 5)
    case = Case((6, 3 if last else 2, 5, 5), dtype, last=last)
    x, *rest = case.tensors(device)
    x += torch.arange(6, device=device).view(-1, 1, 1, 1) ** 2 * 10
    module, eager = case.module("triton", device), case.module("eager", device)
    assert cut_of(case).splits == 5
    expected = fused.reference(eager, x, *rest)
    found, other = fused.run(module, x, *rest), fused.run(eager, x, *rest)

    for name, (value, measure) in expected.items():
        least = max(fused.floor(found[name].dtype), fused.error(other[name], value, measure))
        assert fused.error(found[name], value, measure) <= least, name


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("last", [True, False])
def test_splits_far_from_zero_are_merged_as_exactly(last, small, device):
    """Lanes and splits of many values 3000 standard deviations from zero are merged within the floor."""
    small(8 if last else 1, 3)
    case = Case((5, 3 if last else 2, 6, 6), last=last, offset=3e3, scale=1.0)
    assert (cut_of(case).splits, cut_of(case).tiles) == (3, 8)

    for name, (error, floor) in fused.errors(case, "triton", device).items():
        assert error <= floor, name


# --- large offsets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.usefixtures("triton")
def test_wide_offsets_change_nothing(last, training, small, device, monkeypatch):
    """Kernels whose offsets have 64 bits give the bits of those with 32."""
    small(8 if last else 1, 3)
    for residual in (True, False):
        case = Case((5, 3 if last else 2, 3, 3), last=last, training=training, residual=residual)
        narrow = fused.run(case.module("triton", device), *case.tensors(device))
        with monkeypatch.context() as patch:
            patch.setattr(launches, "tile", lambda *a: dataclasses.replace(tiles.tile(*a), wide=True))
            wide = fused.run(case.module("triton", device), *case.tensors(device))

        assert all(torch.equal(value, narrow[name]) for name, value in wide.items())


@pytest.fixture
def last_program(device, monkeypatch):
    """Run of every grid the last program alone, and cut finely, so that it has little to do."""
    if device == "cuda":
        pytest.skip("there whole tensors are tested")
    from triton.runtime.interpreter import InterpreterBuilder  # noqa: PLC0415  once it is known how Triton is to run

    monkeypatch.setattr(tiles, "PROGRAMS", 2**20)
    tiles.tile.cache_clear()

    def of(shape, last):
        whole = (*tiles.tile(shape, 2, last, 2).grid, 1)
        end = tuple(size - 1 for size in whole)
        monkeypatch.setattr(InterpreterBuilder, "set_grid_dim", lambda self, *_: setattr(self, "grid_dim", whole))
        monkeypatch.setattr(InterpreterBuilder, "set_grid_idx", lambda self, *_: setattr(self, "grid_idx", end))
        monkeypatch.setattr(tiles.Tiling, "grid", (1, 1))

    yield of
    tiles.tile.cache_clear()


def zeros(shape, dtype=np.float16, *, last=False):
    """Make a tensor of zeros, of which only what is touched takes memory."""
    if not last:
        return torch.from_numpy(np.zeros(shape, dtype))
    images, channels, height, width = shape
    return torch.from_numpy(np.zeros((images, height, width, channels), dtype)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("shape", [(2**17 + 2**7, 8, 64, 32), (2**9, 2**13 + 2**3, 16, 32)], ids=str)
@pytest.mark.usefixtures("triton")
def test_the_last_program_of_a_huge_tensor_reaches_its_end(shape, last, last_program):
    """In a tensor of more than 2^31 elements the last program reads, writes and masks the last ones."""
    assert torch.Size(shape).numel() == HUGE
    last_program(shape, last)
    channels, width = shape[1], shape[3]
    x, residual, dy = (zeros(shape, last=last) for _ in range(3))
    end = (slice(-1, None), slice(-8 if last else -1, None), slice(-1, None))  # a row of channels of the last program
    generator = torch.Generator().manual_seed(0)
    for tensor in (x, residual, dy):
        tensor[end] = torch.randn(tensor[end].shape, generator=generator).half()
    weight, bias, mean, variance = (torch.rand(channels, generator=generator) + 0.5 for _ in range(4))
    y, g, dx = (zeros(shape, last=last) for _ in range(3))
    mask, stats = zeros(HUGE // 8, np.uint8), torch.zeros(3, channels)

    inputs = Inputs(
        x, residual, weight, bias, mean, variance, None, training=False, momentum=0.1, eps=1e-5, relu_first=False,
        fork=False,
    )  # fmt: skip
    for launch in launches.forward((y, zeros(0), stats, mask), 2, inputs):
        launch()
    stats[0], stats[2] = mean, (variance + 1e-5).rsqrt()  # which another program writes
    gradients = dx, g, torch.zeros(channels), torch.zeros(channels)
    for launch in launches.backward(
        gradients, 2, dy, None, x, weight, bias, stats, mask, training=False, relu_first=False
    ):
        launch()

    last_x, last_r, last_dy = (t[end].double().requires_grad_() for t in (x, residual, dy))
    of = [t.double()[end[1]] for t in (mean, variance, weight, bias)]
    expected = F.relu(F.batch_norm(last_x, *of, training=False) + last_r)
    expected.backward(last_dy)
    for found, wanted in ((y, expected.detach()), (dx, last_x.grad), (g, last_r.grad)):
        assert wanted.count_nonzero() > 10
        torch.testing.assert_close(found[end].double(), wanted, rtol=2e-3, atol=1e-7)
    flags = mask.view(-1, channels // 8)[-width:, -1] if last else mask[-width // 8 :]
    positive = (y[end] > 0).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(np.unpackbits(flags.numpy(), bitorder="little"), positive.flatten())


@pytest.mark.usefixtures("triton")
def test_more_than_2_31_values_a_channel_are_merged(last_program):
    """With more than 2^31 values a channel the splits are merged by their sizes as ever."""
    shape = (1, 1, HUGE // 2**10, 2**10)
    last_program(shape, last=False)
    y, x = zeros(shape), zeros(shape)
    made = y, zeros(0), zeros((0, 1)), zeros(0, np.uint8)
    inputs = Inputs(x, *[None] * 6, training=True, momentum=0.1, eps=1.0, relu_first=False, fork=False)
    _, apply = launches.forward(made, 2, inputs)
    (partial,) = (t for t in apply.arguments if isinstance(t, torch.Tensor) and t.dtype == torch.float32)
    cut = tiles.tile(shape, 2, last=False, processors=2)
    rest = HUGE - (cut.splits - 1) * cut.tiles * cut.BM  # in the last split: of its mean alone is the variance made
    assert 0 < rest < 0.9 * cut.tiles * cut.BM
    partial[:] = 0
    partial[0, -1] = -HUGE / rest

    apply()

    assert y[0, 0, -1, -1].item() == pytest.approx((HUGE / rest) ** -0.5, rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_a_huge_tensor(last, training):
    """Of a tensor of more than 2^31 elements the ends are normalized, and back, as they are alone by its statistics."""
    needed = 9 * 2 * HUGE
    if torch.cuda.mem_get_info()[0] < needed:
        pytest.skip(f"needs {needed / 2**30:.0f} GiB of the device's memory")
    case = Case((HUGE // 2**16, 16, 64, 64), torch.float16, last=last, training=training, momentum=1.0)
    x, residual, dy = (
        torch.empty(case.shape, dtype=case.dtype, device="cuda", memory_format=fused.FORMATS[last]).normal_()
        for _ in range(3)
    )
    module = case.module("triton", "cuda")
    y = module(x.requires_grad_(), residual.requires_grad_())
    dx, dr = torch.autograd.grad(y, (x, residual), dy)

    # The batch's statistics are now the running ones. Of so many values no gradient of theirs is left in 16 bits.
    for end in (slice(2), slice(-2, None)):
        tensors = [t.detach()[end].contiguous(memory_format=fused.FORMATS[last]) for t in (x, residual, dy)]
        alone = fused.run(module.eval(), *tensors)
        for found, expected in ((y, alone["y"]), (dx, alone["dx"]), (dr, alone["dr"])):
            torch.testing.assert_close(found[end], expected, rtol=2e-3, atol=2e-3)
    if training:
        assert module.running_mean.abs().max() < 1e-3
        assert (module.running_var - 1).abs().max() < 1e-3
