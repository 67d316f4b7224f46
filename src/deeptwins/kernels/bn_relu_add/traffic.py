"""What the fused BN-ReLU-add moves: its launches, and the activations that each of them reads and writes.

The unit is T, the bytes of one activation tensor. Statistics, parameters and partial results, a few values per channel
and split, are left out. `tests/kernels/test_traffic.py` compares these numbers with what the kernels do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KernelTraffic:
    """What a launch of the kernel `bn_relu_add_<kernel>` moves."""

    kernel: str
    reads: int
    """Activation tensors read."""
    writes: int
    """Activation tensors written."""
    mask: bool = False
    """Whether it reads or writes the mask, one bit per element."""

    def bytes(self, elements: int, itemsize: int) -> float:
        """The bytes moved for activations of so many elements, each of `itemsize` bytes."""
        return elements * ((self.reads + self.writes) * itemsize + self.mask / 8)


@dataclass(frozen=True)
class Site:
    """A place in a net where batch normalization ends a layer."""

    residual: bool
    """Whether a residual is added. The site is then a join."""
    fork: bool = False
    """Whether the result is used twice, so that two gradients come back."""
    order: str = "add-relu"
    training: bool = True

    @property
    def masked(self) -> bool:
        """Whether the forward pass keeps what ReLU let pass, one bit per element; else it is computed again from x."""
        return self.residual and self.order == "add-relu"

    @property
    def forward(self) -> tuple[KernelTraffic, ...]:
        """The launches of the forward pass; in training they also keep what the backward pass needs."""
        apply = KernelTraffic("apply", 1 + self.residual, 1, self.masked and self.training)
        return (KernelTraffic("statistics", 1, 0), apply) if self.training else (apply,)

    @property
    def backward(self) -> tuple[KernelTraffic, ...]:
        """The launches of the backward pass.

        The first reduces. If it has to sum two gradients or to mask one, it also writes the result, which the second
        launch reads in place of the gradient. In evaluation statistics are constants: the second launch then reads x
        only if it must find out what ReLU let pass.
        """
        write = self.fork or self.masked
        passed = write and (self.masked or not self.residual)
        needs_x = self.training or not passed
        return KernelTraffic("reduce", 2 + self.fork, int(write), self.masked), KernelTraffic(
            "gradient", 1 + needs_x, 1
        )
