"""For what the kernels are compiled offline: sites, shapes, data types and memory layouts that nets meet."""

from __future__ import annotations

from deeptwins.kernels.bn_relu_add.traffic import Site

Shape = tuple[int, int, int, int]  # (N, C, H, W)

SITES = {
    "join": Site(residual=True, fork=True),  # of a ResNet: y goes through the next block and past it
    "unforked join": Site(residual=True),
    "relu-add join": Site(residual=True, order="relu-add"),
    "no join": Site(residual=False),
    "join in evaluation": Site(residual=True, training=False),
    "no join in evaluation": Site(residual=False, training=False),
}
CIFAR, JOIN, INNER, LAST, ODD = (
    (128, 16, 32, 32),  # first stage of a CIFAR ResNet
    (256, 256, 56, 56),  # ResNet-50: where the first stage's blocks end,
    (256, 64, 56, 56),  # inside of them,
    (256, 2048, 7, 7),  # and where those of the last stage end
    (128, 20, 32, 32),  # C is no power of two, nor a multiple of eight
)
SHAPES: dict[str, tuple[Shape, ...]] = {
    "bf16": (CIFAR, JOIN, INNER, LAST, ODD),
    "fp32": (CIFAR, ODD),
    "fp16": (JOIN,),
}
"""Not every shape in every type, to save minutes: bf16 has them all; CIFAR nets are trained in fp32, and C = 20 makes
rows of whole 16 bytes in fp32 alone; the code for fp16 differs from that for bf16 in conversions only."""
ITEMSIZE = {"bf16": 2, "fp16": 2, "fp32": 4}
LAYOUTS = ("channels_last", "contiguous")
