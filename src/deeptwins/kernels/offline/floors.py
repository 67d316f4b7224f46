"""What follows from a site's launches alone: bytes per element, and a model of the time that moving them takes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from deeptwins.kernels.bn_relu_add.traffic import Site
from deeptwins.kernels.formats import DTYPES
from deeptwins.kernels.offline.cases import SHAPES, SITES, Shape
from deeptwins.kernels.offline.devices import GPU, GPUS
from deeptwins.records.kernels import Floor, SiteTraffic

OURS = "counted in the kernels' source, and the tensors in the compiled code"
# Where the passes of other implementations were counted, and the activation tensors that they move to sum the two
# gradients of a fork. In bf16 PyTorch's batch norm is its native one, whatever the layout; torch.compile writes the
# same passes for every type and layout.
COUNTED = {
    "eager": ("counted in the source of PyTorch 2.14: native batch norm, add_, relu_, threshold_backward", 3),
    "compiled": ("counted in the Triton code that torch.compile of PyTorch 2.14 writes for a net", 1),
}
COMPARED = ("join", "no join")
# The activation tensors that they move forward and backward, with a residual and without.
TENSORS = {"eager": {True: (8, 8), False: (5, 8)}, "compiled": {True: (4, 8), False: (3, 7)}}


def sites() -> tuple[SiteTraffic, ...]:
    """Tabulate launches and bytes per element: ours by `traffic`, those of others at the sites of ResNets."""
    rows = []
    for name, site in SITES.items():
        rows += [_ours(name, site, dtype) for dtype in DTYPES]
        if name in COMPARED:
            rows += [_others(name, site, implementation) for implementation in COUNTED]
    return tuple(rows)


def _ours(name: str, site: Site, dtype: str) -> SiteTraffic:
    backward = site.backward if site.training else ()
    return SiteTraffic(
        site=name,
        implementation="triton",
        dtype=dtype,
        launches_forward=len(site.forward),
        launches_backward=len(backward),
        bytes_per_element_forward=sum(launch.bytes(1, DTYPES[dtype].itemsize) for launch in site.forward),
        bytes_per_element_backward=sum(launch.bytes(1, DTYPES[dtype].itemsize) for launch in backward),
        source=OURS,
    )


def _others(name: str, site: Site, implementation: str) -> SiteTraffic:
    source, sum_of_two = COUNTED[implementation]
    forward, backward = TENSORS[implementation][site.residual]
    return SiteTraffic(
        site=name,
        implementation=implementation,
        dtype="bf16",
        launches_forward=None,
        launches_backward=None,
        bytes_per_element_forward=float(forward * DTYPES["bf16"].itemsize),
        bytes_per_element_backward=float((backward + (sum_of_two if site.fork else 0)) * DTYPES["bf16"].itemsize),
        source=source,
    )


def floors(rows: Iterable[SiteTraffic]) -> tuple[Floor, ...]:
    """Model the time of our own kernels at every site: their bytes at the peak bandwidth of a GPU's memory."""
    return tuple(
        Floor(
            site=row.site,
            dtype=row.dtype,
            shape="x".join(map(str, shape)),
            device=gpu.name,
            forward_us=_us(row.bytes_per_element_forward, shape, gpu),
            backward_us=_us(row.bytes_per_element_backward, shape, gpu),
        )
        for row in rows
        if row.implementation == "triton"
        for shape in SHAPES[row.dtype]
        for gpu in GPUS
    )


def _us(bytes_per_element: float, shape: Shape, gpu: GPU) -> float:
    return round(bytes_per_element * math.prod(shape) / gpu.bandwidth * 1e6, 3)
