"""Nets: blocks with their shortcuts, orders and norms, families of stacks, initial weights, growth, a look inside."""

from deeptwins.nets.building import build, check, check_names
from deeptwins.nets.families import ResNet

__all__ = ["ResNet", "build", "check", "check_names"]
