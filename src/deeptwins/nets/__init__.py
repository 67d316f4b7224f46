"""Nets by name: blocks, their shortcuts, orders and norms, families of stacks, initial weights, and a look inside."""

from deeptwins.nets.building import build, check
from deeptwins.nets.families import ResNet

__all__ = ["ResNet", "build", "check"]
