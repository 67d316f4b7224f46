"""The fused BN-ReLU-add in Triton: two kernels forward, two backward, one in evaluation, at any size.

Each pair is a reduction and an elementwise pass. The reduction leaves one partial result per split and channel; every
program of the pass merges those of its channels in the same order, so that results repeat to the last bit, without
atomics and without a third launch. The pass goes backwards through what the reduction has just read, because the end
of it still lies in the L2 cache.
"""

from __future__ import annotations

import triton
import triton.language as tl

from deeptwins.kernels.tiles import across, along, inside, offsets, pack, packed, share, slots, unpack

# Counts among the arguments. They align no address, so that compiling a kernel for each value would gain nothing.
COUNTS = ["N", "tiles", "splits"]


@triton.jit
def _passes(z, storage: tl.constexpr):
    """Tell whether ReLU lets z pass, after rounding as it is stored. As in PyTorch NaN passes, and zero does not."""
    return ~(z.to(storage).to(z.dtype) <= 0)


@triton.jit
def _statistics(stats, c, C: tl.constexpr):
    """Read the mean, what it lost in rounding, and 1 / standard deviation of channels c."""
    return tl.load(stats + c, c < C, 0), tl.load(stats + C + c, c < C, 0), tl.load(stats + 2 * C + c, c < C, 0)


@triton.jit
def _affine(low, rstd, weight, bias, c, C: tl.constexpr):
    """Return scale and shift in z = (x - mean) * scale + shift: the same both ways, so that ReLU decides alike."""
    scale, shift = rstd, tl.full(rstd.shape, 0, rstd.dtype)
    if weight is not None:
        scale = rstd * tl.load(weight + c, c < C, 0).to(rstd.dtype)
    if bias is not None:
        shift = tl.load(bias + c, c < C, 0).to(rstd.dtype)
    return scale, shift - low * scale


@triton.jit
def _average(running, new, rate, c, C: tl.constexpr):
    """Move a running statistic towards that of the batch."""
    old = tl.load(running + c, c < C, 0).to(new.dtype)
    tl.store(running + c, rate * new + (1 - rate) * old, c < C)


@triton.jit
def _divided(a, b, ACC: tl.constexpr):
    """Divide, with correct rounding."""
    if ACC == tl.float32:
        return tl.div_rn(a, b)
    else:
        return a / b


@triton.jit
def _reciprocal_root(v, ACC: tl.constexpr):
    """Compute 1 / sqrt(v), with correct rounding of the root and of the quotient."""
    if ACC == tl.float32:
        return tl.div_rn(1.0, tl.sqrt_rn(v))
    else:
        return 1 / tl.sqrt(v)


@triton.jit
def _first(x, c, C: tl.constexpr, HW: tl.constexpr, LAST: tl.constexpr, ACC: tl.constexpr):
    """Return what a channel's deviations are measured from: its first value, near the mean, or else 0."""
    v = tl.load(x + c * (1 if LAST else HW), c < C, 0).to(ACC)
    return tl.where(tl.abs(v) < float("inf"), v, 0)


@triton.jit(do_not_specialize=COUNTS)
def bn_relu_add_statistics(
    x,  # (N, C, H, W)
    partial,  # (2, splits, C): mean minus the channel's first value, sum of squared deviations from that mean
    tracked,  # () int64 or None: num_batches_tracked
    N,  # images where channels come first, positions where they are last
    tiles,  # per split
    C: tl.constexpr,
    HW: tl.constexpr,  # positions per image; 1 where channels are last
    LAST: tl.constexpr,
    WIDE: tl.constexpr,  # offsets need 64 bits
    ACC: tl.constexpr,
    BM: tl.constexpr,
    BC: tl.constexpr,
):
    """Compute mean and squared deviations of a split.

    Each lane of a tile sums its differences from its own first value, so that little cancels.
    """
    # One program counts the batch.
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        if tracked is not None:
            tl.store(tracked, tl.load(tracked) + 1)
    M, c, split = share(N, HW, LAST, WIDE, BC)
    begin = split * tiles * BM
    end = tl.minimum(begin + tiles * BM, M)
    lane = tl.arange(0, BM)

    # The first tile has the values that others are measured from.
    m = begin + lane
    valid = inside(m, c, M, C, BC, LAST)
    v = tl.load(x + offsets(m, c, C, HW, LAST), valid, 0).to(ACC)
    origin = tl.where(tl.abs(v) < float("inf"), v, 0)  # an infinity would make every difference infinite or NaN
    total = v - origin
    squares = total * total
    # The other tiles are summed.
    for first in tl.range(begin + BM, end, BM, loop_unroll_factor=2):
        m = first + lane
        valid = inside(m, c, M, C, BC, LAST)
        d = tl.load(x + offsets(m, c, C, HW, LAST), valid, 0).to(ACC) - origin
        d = tl.where(valid, d, 0)
        total += d
        squares = tl.fma(d, d, squares)

    # The lanes, each with the values of n positions, are merged.
    n = along(tl.maximum((end - begin - lane + BM - 1) // BM, 0).to(ACC), LAST)
    base = across(_first(x, c, C, HW, LAST, ACC), LAST)
    own = _divided(total, tl.maximum(n, 1), ACC)
    mean = tl.where(n > 0, origin - base + own, 0)
    spread = squares - total * own
    count = (end - begin).to(ACC)
    centre = _divided(tl.sum(n * mean, 0), count, ACC)
    off = mean - across(centre, LAST)
    deviations = tl.sum(tl.where(n > 0, tl.where(spread < 0, 0, spread) + n * off * off, 0), 0)
    at = partial + split * C + c
    tl.store(at, centre, c < C)
    tl.store(at + tl.num_programs(1) * C, deviations, c < C)


@triton.jit
def _merged_statistics(
    x, partial, c, M, tiles, splits, C: tl.constexpr, HW: tl.constexpr, LAST: tl.constexpr, ACC: tl.constexpr,
    SLOTS: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """Merge the splits of channels c: the mean as a sum of two numbers, and the biased variance."""
    i = tl.arange(0, SLOTS).to(M.dtype)
    n = along(tl.where(i < splits, tl.minimum(M - i * tiles * BM, tiles * BM), 0).to(ACC), LAST)
    mean = slots(partial, c, splits, C, SLOTS, LAST)
    deviations = slots(partial + splits * C, c, splits, C, SLOTS, LAST)
    count = M.to(ACC)
    centre = _divided(tl.sum(n * mean, 0), count, ACC)
    off = mean - across(centre, LAST)
    variance = _divided(tl.sum(deviations + n * off * off, 0), count, ACC)
    base = _first(x, c, C, HW, LAST, ACC)
    high = base + centre
    # Knuth's two-sum: `low` is what `high` lost in rounding. With it values far from zero are normalized as exactly as
    # others.
    back = high - base
    low = (base - (high - back)) + (centre - back)
    return high, tl.where(tl.abs(high) < float("inf"), low, 0), variance


@triton.jit(do_not_specialize=COUNTS)
def bn_relu_add_apply(  # noqa: C901, PLR0912  every branch but one is decided at compile time
    x,  # (N, C, H, W)
    residual,  # like x, or None
    y,  # like x
    twin,  # (1,), set to 0, or None
    mask,  # bytes of packed flags, or None: not wanted
    partial,  # (2, splits, C) from `bn_relu_add_statistics`; None in evaluation
    stats,  # (3, C): mean, what it lost in rounding, 1 / standard deviation; None: not wanted
    weight,  # (C,) or None
    bias,  # (C,) or None
    running_mean,  # (C,) or None
    running_var,  # (C,) or None
    tracked,  # () int64 where the running statistics are averages over all batches, else None
    N,
    tiles,
    splits,
    momentum: tl.float64,  # as Python has it: 0.1 in 32 bits is another number
    eps: tl.float64,
    C: tl.constexpr,
    HW: tl.constexpr,
    LAST: tl.constexpr,
    WIDE: tl.constexpr,
    ACC: tl.constexpr,
    RELU_FIRST: tl.constexpr,
    SLOTS: tl.constexpr,
    BM: tl.constexpr,
    BC: tl.constexpr,
):
    """Normalize, add, rectify; in training the first split also writes statistics and updates the running ones."""
    # `twin` receives a gradient later; forward, its one element has to be set.
    if twin is not None:
        if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
            tl.store(twin, 0.0)
    M, c, split = share(N, HW, LAST, WIDE, BC)
    real = c < C

    # Statistics: the running ones, or those of the batch, which also move the running ones.
    if partial is None:
        mean = tl.load(running_mean + c, real, 0).to(ACC)
        low = tl.full(mean.shape, 0, ACC)
        variance = tl.load(running_var + c, real, 1).to(ACC)
    else:
        mean, low, variance = _merged_statistics(x, partial, c, M, tiles, splits, C, HW, LAST, ACC, SLOTS, BM)
        if running_mean is not None:
            if split == 0:
                rate = tl.full((), momentum, tl.float64).to(ACC)
                if tracked is not None:
                    rate = 1 / tl.load(tracked).to(ACC)
                count = M.to(ACC)
                _average(running_mean, mean, rate, c, C)
                _average(running_var, variance * (count / (count - 1)), rate, c, C)
    rstd = _reciprocal_root(variance + tl.full((), eps, tl.float64).to(ACC), ACC)
    if stats is not None:
        if split == 0:
            tl.store(stats + c, mean, real)
            tl.store(stats + C + c, low, real)
            tl.store(stats + 2 * C + c, rstd, real)
    scale, shift = _affine(low, rstd, weight, bias, c, C)
    mean, scale, shift = across(mean, LAST), across(scale, LAST), across(shift, LAST)

    # The pass over the split, from its last tile to its first.
    first_tile = split * tiles
    last_tile = tl.minimum(first_tile + tiles, tl.cdiv(M, BM)) - 1
    for i in tl.range(last_tile - first_tile + 1, loop_unroll_factor=2):
        first = (last_tile - i) * BM
        m = first + tl.arange(0, BM)
        valid = inside(m, c, M, C, BC, LAST)
        at = offsets(m, c, C, HW, LAST)
        z = tl.fma(tl.load(x + at, valid, 0, eviction_policy="evict_first").to(ACC) - mean, scale, shift)
        if residual is not None:
            r = tl.load(residual + at, valid, 0, eviction_policy="evict_first").to(ACC)
            if not RELU_FIRST:
                z += r
        keep = _passes(z, y.dtype.element_ty)
        z = tl.where(keep, z, 0)
        if RELU_FIRST:
            z += r
        tl.store(y + at, z, valid, eviction_policy="evict_first")
        if mask is not None:
            bytes_at, bytes_valid = packed(first, c, M, C, BM, BC, LAST)
            tl.store(mask + bytes_at, pack(keep, BM, BC, LAST), bytes_valid)


@triton.jit(do_not_specialize=COUNTS)
def bn_relu_add_reduce(
    dy,  # (N, C, H, W)
    other,  # like dy: the gradient of a second use of y, or None
    x,  # (N, C, H, W)
    mask,  # bytes of packed flags: what ReLU let pass; None: that is computed again from x
    stats,  # (3, C)
    weight,  # (C,) or None
    bias,  # (C,) or None
    g,  # like x: the residual's gradient, or None: not wanted
    partial,  # (2, splits, C): sum of p and sum of p * (x - mean), where p is the gradient that passes ReLU
    N,
    tiles,
    C: tl.constexpr,
    HW: tl.constexpr,
    LAST: tl.constexpr,
    WIDE: tl.constexpr,
    ACC: tl.constexpr,
    RELU_FIRST: tl.constexpr,
    BM: tl.constexpr,
    BC: tl.constexpr,
):
    """Sum the two gradients, mask the sum by ReLU, and reduce it by channel."""
    M, c, split = share(N, HW, LAST, WIDE, BC)
    mean, low, rstd = _statistics(stats, c, C)
    scale, shift = _affine(low, rstd, weight, bias, c, C)
    mean, scale, shift = across(mean, LAST), across(scale, LAST), across(shift, LAST)
    total = tl.zeros((BM, BC) if LAST else (BM,), ACC)
    moment = tl.zeros((BM, BC) if LAST else (BM,), ACC)
    # The pass over the split.
    begin = split * tiles * BM
    for first in tl.range(begin, tl.minimum(begin + tiles * BM, M), BM):
        m = first + tl.arange(0, BM)
        valid = inside(m, c, M, C, BC, LAST)
        at = offsets(m, c, C, HW, LAST)
        d = tl.load(dy + at, valid, 0)
        if other is not None:
            d = (d.to(ACC) + tl.load(other + at, valid, 0).to(ACC)).to(dy.dtype.element_ty)
        away = tl.load(x + at, valid, 0).to(ACC) - mean
        if mask is None:
            keep = _passes(tl.fma(away, scale, shift), x.dtype.element_ty)
        else:
            bytes_at, bytes_valid = packed(first, c, M, C, BM, BC, LAST)
            keep = unpack(tl.load(mask + bytes_at, bytes_valid, 0), BM, BC, LAST)
        passed = tl.where(keep, d, 0)
        if g is not None:
            tl.store(g + at, d if RELU_FIRST else passed, valid)
        passed = passed.to(ACC)
        total += passed
        moment = tl.fma(passed, tl.where(valid, away, 0), moment)
    # The lanes are merged.
    at = partial + split * C + c
    # In the other order Triton 3.8 crashes where it compiles for sm_90, in LLVM's SLP vectorizer.
    moment, total = tl.sum(moment, 0), tl.sum(total, 0)
    tl.store(at, total, c < C)
    tl.store(at + tl.num_programs(1) * C, moment - low * total, c < C)


@triton.jit(do_not_specialize=COUNTS)
def bn_relu_add_gradient(
    g,  # like x: from `bn_relu_add_reduce`, or dy where nothing had to be written
    x,  # (N, C, H, W)
    stats,  # (3, C)
    weight,  # (C,) or None
    bias,  # (C,) or None
    partial,  # (2, splits, C) from `bn_relu_add_reduce`
    dx,  # like x
    dweight,  # (C,) or None
    dbias,  # (C,) or None
    N,
    tiles,
    splits,
    C: tl.constexpr,
    HW: tl.constexpr,
    LAST: tl.constexpr,
    WIDE: tl.constexpr,
    ACC: tl.constexpr,
    PASSED: tl.constexpr,  # g has been through ReLU
    TRAINING: tl.constexpr,
    SLOTS: tl.constexpr,
    BM: tl.constexpr,
    BC: tl.constexpr,
):
    """Compute the gradient of x; the first split also writes those of weight and bias.

    dx = w / sigma * (g - mean(g) - xhat * mean(g * xhat)): Ioffe and Szegedy 2015, section 3; in evaluation the
    statistics are constants, and dx = w / sigma * g.
    """
    M, c, split = share(N, HW, LAST, WIDE, BC)
    mean, low, rstd = _statistics(stats, c, C)
    scale, shift = _affine(low, rstd, weight, bias, c, C)
    # The splits are merged.
    total = tl.sum(slots(partial, c, splits, C, SLOTS, LAST), 0)
    moment = tl.sum(slots(partial + splits * C, c, splits, C, SLOTS, LAST), 0)
    if dweight is not None:
        if split == 0:
            tl.store(dweight + c, moment * rstd, c < C)
    if dbias is not None:
        if split == 0:
            tl.store(dbias + c, total, c < C)
    # d - level - (x - mean) * slope is the bracket of the formula.
    count = M.to(ACC)
    slope = _divided(moment * rstd * rstd, count, ACC)
    level = _divided(total, count, ACC) - low * slope
    mean, scale, shift = across(mean, LAST), across(scale, LAST), across(shift, LAST)
    slope, level = across(slope, LAST), across(level, LAST)

    # The pass over the split, from its last tile to its first. Unrolled, it spills registers on sm_100.
    first_tile = split * tiles
    last_tile = tl.minimum(first_tile + tiles, tl.cdiv(M, BM)) - 1
    for i in tl.range(last_tile - first_tile + 1):
        m = (last_tile - i) * BM + tl.arange(0, BM)
        valid = inside(m, c, M, C, BC, LAST)
        at = offsets(m, c, C, HW, LAST)
        d = tl.load(g + at, valid, 0, eviction_policy="evict_first")
        if TRAINING or not PASSED:
            away = tl.load(x + at, valid, 0, eviction_policy="evict_first").to(ACC) - mean
        if not PASSED:
            keep = _passes(tl.fma(away, scale, shift), x.dtype.element_ty)
            d = tl.where(keep, d, 0)
        d = d.to(ACC)
        if TRAINING:
            d = d - level - away * slope
        tl.store(dx + at, scale * d, valid)
