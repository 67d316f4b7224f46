"""What the fused BN-ReLU-add moves: its launches, and the activations that each of them reads and writes.

T, the bytes of one activation tensor, is the unit. Statistics, parameters and partial results, a few values a channel
and split, are left out. `tests/test_traffic.py` holds these numbers against what the kernels do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """A place in a net where batch normalization ends a layer."""

    residual: bool
    """Whether a residual is added: a join."""
    fork: bool = False
    """Whether the result is used twice, so that two gradients come back."""
    order: str = "add-relu"
    training: bool = True

    @property
    def masked(self) -> bool:
        """Whether the forward pass leaves a bit an element; else ReLU's decision is computed again from x."""
        return self.residual and self.order == "add-relu"

    @property
    def forward(self) -> tuple[Launch, ...]:
        """The launches of the forward pass, in training those that keep what the backward pass needs."""
        apply = Launch("apply", 1 + self.residual, 1, self.masked and self.training)
        return (Launch("statistics", 1, 0), apply) if self.training else (apply,)

    @property
    def backward(self) -> tuple[Launch, ...]:
        """The launches of the backward pass.

        The reduction writes the gradient that the second launch reads again, where it had to sum or to mask one. In
        evaluation statistics are constants, and x matters only where what ReLU let pass is not known yet.
        """
        write = self.fork or self.masked
        passed = write and (self.masked or not self.residual)
        needs_x = self.training or not passed
        return Launch("reduce", 2 + self.fork, int(write), self.masked), Launch("gradient", 1 + needs_x, 1)


@dataclass(frozen=True)
class Launch:
    """A launch of the kernel `bn_relu_add_<kernel>`."""

    kernel: str
    reads: int
    """Activation tensors read."""
    writes: int
    """Activation tensors written."""
    mask: bool = False
    """Whether it reads or writes the mask, a bit an element."""

    def bytes(self, elements: int, itemsize: int) -> float:
        """Bytes moved for an activation of so many elements, of so many bytes each."""
        return elements * ((self.reads + self.writes) * itemsize + self.mask / 8)
