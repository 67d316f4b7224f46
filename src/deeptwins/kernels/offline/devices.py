"""The GPUs that kernels are compiled for, and how many warps of a kernel one multiprocessor holds."""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32  # threads
REGISTER_UNIT = 256  # registers are given to a warp by so many
SHARED_UNIT = 128  # bytes: shared memory is given to a block by so many
PARTITIONS = 4  # per multiprocessor, each with its own registers
RESERVED_BYTES = 1024  # of shared memory per block, by the system, from compute capability 8.0 on


@dataclass(frozen=True)
class GPU:
    """A GPU: limits of its compute capability, and what its data sheet says.

    Limits: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; units of allocation: NVIDIA's
    occupancy calculator, `cuda_occupancy.h` of the CUDA Toolkit. All three here have 64 Ki registers, 64 warps and 32
    blocks per multiprocessor; they differ in shared memory.
    """

    name: str
    capability: int
    """Times ten: 90 is 9.0."""
    processors: int
    bandwidth: float
    """Bytes per second, at its peak."""
    shared: int
    """Bytes of shared memory per multiprocessor."""
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
    """How many warps of a kernel a multiprocessor holds at most, and what sets this limit."""

    warps: int
    limit: str


def occupancy(gpu: GPU, registers: int, shared: int, warps: int) -> Occupancy:
    """Compute the theoretical occupancy, as `cudaOccupancyMaxActiveBlocksPerMultiprocessor` does.

    Args:
        gpu: the GPU.
        registers: per thread.
        shared: bytes of shared memory per block.
        warps: per block.
    """
    of_warp = _up(max(1, registers) * WARP, REGISTER_UNIT)
    of_block = _up(shared + RESERVED_BYTES, SHARED_UNIT)
    blocks = {
        "registers": gpu.registers // PARTITIONS // of_warp * PARTITIONS // warps,
        "shared memory": gpu.shared // of_block,
        "warps": gpu.warps // warps,
        "blocks": gpu.blocks,
    }
    # Where several set the same limit, `warps` is named: the multiprocessor is then full.
    limit = min(blocks, key=lambda name: (blocks[name], name != "warps"))
    return Occupancy(blocks[limit] * warps, limit)


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
