"""Fused operations: the eager definition of each, and what computes the same faster."""

from deeptwins.kernels.bn_relu_add.definition import IMPLEMENTATIONS, BNReLUAdd, bn_relu_add, unavailable

__all__ = ["IMPLEMENTATIONS", "BNReLUAdd", "bn_relu_add", "unavailable"]
