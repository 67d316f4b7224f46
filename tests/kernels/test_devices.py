"""Occupancy: by hand, from the tables of the CUDA C++ Programming Guide."""

import pytest

from deeptwins.kernels.offline.devices import GPUS, Occupancy, occupancy

A100, H100, B200 = GPUS


@pytest.mark.parametrize(
    ("gpu", "block", "held", "limit"),
    [
        # 64 registers x 32 threads = 2048 a warp; a quarter of 65536 holds 8 such warps: 32 a multiprocessor.
        (A100, (64, 0, 8), 32, "registers"),
        # 65 x 32 = 2080, given in units of 256: 2304; 7 a quarter, 28 in all, which is 3 blocks of 8.
        (A100, (65, 0, 8), 24, "registers"),
        (H100, (255, 0, 8), 8, "registers"),
        (B200, (168, 0, 8), 8, "registers"),
        (H100, (32, 512, 8), 64, "warps"),
        # 40 KiB and the system's 1 KiB a block: 4 in 164 KiB, 5 in 228 KiB.
        (A100, (32, 40960, 8), 32, "shared memory"),
        (H100, (32, 40960, 8), 40, "shared memory"),
        (A100, (16, 0, 1), 32, "blocks"),
    ],
)
def test_occupancy(gpu, block, held, limit):
    """Of registers per thread, bytes of shared memory and warps a block, the scarcest says how many warps are held."""
    assert occupancy(gpu, *block) == Occupancy(held, limit)


def test_architectures():
    """There is a GPU for each architecture, the compute capabilities 8.0, 9.0 and 10.0."""
    assert [gpu.arch for gpu in GPUS] == ["sm_80", "sm_90", "sm_100"]
