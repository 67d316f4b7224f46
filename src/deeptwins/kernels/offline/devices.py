"""The GPUs that kernels are compiled for, and how many warps of a kernel one multiprocessor holds."""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32  # threads
REGISTERS_AT_ONCE = 256  # are given to a warp: the unit of allocation
PARTITIONS = 4  # of a multiprocessor, each with its own registers
RESERVED_BYTES = 1024  # of shared memory a block, by the system, from compute capability 8.0 on
SHARED_AT_ONCE = 128  # bytes


@dataclass(frozen=True)
class GPU:
    """A GPU: limits of its compute capability, and what its data sheet says.

    Limits: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; units of allocation: NVIDIA's
    occupancy calculator, `cuda_occupancy.h` of the CUDA Toolkit. All three here have 64 Ki registers, 64 warps and 32
    blocks a multiprocessor; they differ in shared memory.
    """

    name: str
    capability: int
    """Times ten: 90 is 9.0."""
    processors: int
    bandwidth: float
    """Bytes a second, at its peak."""
    shared: int
    """Bytes of shared memory a multiprocessor, at most."""
    warps: int = 64
    blocks: int = 32
    registers: int = 65536

    @property
    def arch(self) -> str:
        """`sm_90` for 9.0."""
        return f"sm_{self.capability}"


GPUS = (
    # Data sheets: A100 80GB SXM 2,039 GB/s, 108 multiprocessors; H100 SXM 3.35 TB/s, 132; HGX B200 8 TB/s, 148.
    GPU("A100 80GB SXM", 80, 108, 2.039e12, 164 * 1024),
    GPU("H100 SXM", 90, 132, 3.35e12, 228 * 1024),
    GPU("B200", 100, 148, 8.0e12, 228 * 1024),
)


@dataclass(frozen=True)
class Occupancy:
    """How many warps of a kernel a multiprocessor holds at most, and what allows no more."""

    warps: int
    limit: str


def occupancy(gpu: GPU, registers: int, shared: int, warps: int) -> Occupancy:
    """Compute the theoretical occupancy, as `cudaOccupancyMaxActiveBlocksPerMultiprocessor` does.

    Args:
        gpu: the GPU.
        registers: a thread.
        shared: bytes a block.
        warps: a block.
    """
    of_warp = _up(max(1, registers) * WARP, REGISTERS_AT_ONCE)
    of_block = _up(shared + RESERVED_BYTES, SHARED_AT_ONCE)
    blocks = {
        "registers": gpu.registers // PARTITIONS // of_warp * PARTITIONS // warps,
        "shared memory": gpu.shared // of_block,
        "warps": gpu.warps // warps,
        "blocks": gpu.blocks,
    }
    limit = min(blocks, key=lambda name: (blocks[name], name != "warps"))  # full is full, whatever else allows no more
    return Occupancy(blocks[limit] * warps, limit)


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
