"""What the kernels are compiled offline for: the sites of nets, and the shapes of activations by data type."""

from __future__ import annotations

from deeptwins.kernels.bn_relu_add.traffic import Site

Shape = tuple[int, int, int, int]  # (N, C, H, W)

SITES = {
    "join": Site(residual=True, fork=True),  # as in ResNets: y goes into the next block and to its shortcut
    "unforked join": Site(residual=True),
    "relu-add join": Site(residual=True, order="relu-add"),
    "no join": Site(residual=False),
    "join in evaluation": Site(residual=True, training=False),
    "no join in evaluation": Site(residual=False, training=False),
}
CIFAR: Shape = (128, 16, 32, 32)  # the first stage of a CIFAR ResNet
JOIN: Shape = (256, 256, 56, 56)  # ResNet-50: the ends of the first stage's blocks
INNER: Shape = (256, 64, 56, 56)  # ResNet-50: inside the first stage's blocks
LAST: Shape = (256, 2048, 7, 7)  # ResNet-50: the ends of the last stage's blocks
ODD: Shape = (128, 20, 32, 32)  # of no net: C is neither a power of two nor a multiple of eight
SHAPES: dict[str, tuple[Shape, ...]] = {
    "bf16": (CIFAR, JOIN, INNER, LAST, ODD),
    "fp32": (CIFAR, ODD),
    "fp16": (JOIN,),
}
"""Not every shape in every type, to save minutes: bf16 has them all. In fp32 CIFAR nets are trained, and in fp32 alone
rows of C = 20 are multiples of 16 bytes. The code for fp16 differs from that for bf16 in conversions only."""
