"""Nets by name: blocks, their shortcuts, families of stacks, initial weights, and a look inside."""

from deeptwins.nets.families import ResNet, build, check

__all__ = ["ResNet", "build", "check"]
