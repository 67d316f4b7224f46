"""The metrics of compiled kernels by hand: a few of them, with round numbers."""

from deeptwins.records.kernels import Compiled, Device, Floor, Kernel, SiteTraffic

SHAPES = ("128x16x32x32", "256x256x56x56")


def kernel(**changed):
    """Make a row of the table of kernels."""
    usual = {
        "kernel": "apply", "sites": "join", "dtype": "bf16", "layout": "channels_last", "shape": SHAPES[0],
        "arch": "sm_90", "programs": 256, "registers": 64, "stack_bytes": 0, "spill_instructions": 0,
        "shared_bytes": 512, "instructions": 1989, "barriers": 23, "tensors_read": 2, "tensors_written": 1,
        "vector_share": 1.0, "narrowest_access_bits": 128, "vectors_possible": True, "resident_warps": 32,
        "occupancy_share": 0.5, "occupancy_limit": "registers", "opcodes_sha256": "ab12" * 16,
    }  # fmt: skip
    return Kernel(**{**usual, **changed})


def compiled(*more):
    """Make the file's content: two kernels, two architectures, two layouts, two sites."""
    kernels = [
        kernel(kernel=name, arch=arch, layout=layout, registers=40 + 8 * i)
        for i, (name, arch, layout) in enumerate(
            (name, arch, layout)
            for name in ("statistics", "apply")
            for arch in ("sm_80", "sm_90")
            for layout in ("channels_last", "contiguous")
        )
    ]
    sites = [
        SiteTraffic(
            site=site, implementation=name, dtype="bf16", launches_forward=launches, launches_backward=launches,
            bytes_per_element_forward=forward, bytes_per_element_backward=14.125, source=f"counted in {name}",
        )
        for site in ("join", "no join")
        for name, launches, forward in (("triton", 2, 8.125), ("eager", None, 16.0))
    ]  # fmt: skip
    floors = [
        Floor(site=site, dtype="bf16", shape=shape, device=device, forward_us=us, backward_us=2 * us)
        for site in ("join", "no join")
        for shape, us in zip(SHAPES, (5.0, 500.0), strict=True)
        for device in ("A100", "H100")
    ]
    devices = [
        Device(device=name, arch=arch, processors=108, warps_per_processor=64, bandwidth_bytes_per_s=2.039e12)
        for name, arch in (("A100", "sm_80"), ("H100", "sm_90"))
    ]
    return Compiled(
        made_with={"triton": "3.8.0", "ptxas": "12.9"},
        devices=tuple(devices),
        sites=tuple(sites),
        floors=tuple(floors),
        kernels=(*kernels, *more),
    )
