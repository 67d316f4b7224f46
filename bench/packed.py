"""Nets of equal shapes packed into one, channel beside channel: plain and residual twins, of any seeds.

An experiment, which `docs/packing.md` reports and `bench_packing.py` times. S nets share every call: the convolutions
have S groups, batch normalization of S * C channels is that of each net, and a join is relu(bn(conv) + alpha * skip)
with alpha = 0 for the channels of a plain net and 1 for those of a residual one. Whatever the packed net computes, each
of its nets would have computed alone, up to rounding: no number of one net enters another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptwins.kernels import BNReLUAdd
from deeptwins.nets import ResNet
from deeptwins.nets.blocks import Block, Fork
from deeptwins.nets.norms import BatchNorm
from deeptwins.nets.shortcuts import NoShortcut, ZeroPad

State = dict[str, Tensor]


class Convolution(nn.Module):
    """One convolution per group; their weights are concatenated: (groups * C_out, C_in, 3, 3)."""

    channels = 1
    """The dimension of activations that has the channels."""

    def __init__(self, conv: nn.Conv2d, nets: int, *, groups: int) -> None:
        super().__init__()
        self.groups, self.stride, self.padding = groups, conv.stride[0], conv.padding[0]
        self.weight = nn.Parameter(torch.empty(nets * conv.out_channels, *conv.weight.shape[1:]))


class Grouped(Convolution):
    """PyTorch's own grouped convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, groups * C_in, H, W) -> (N, groups * C_out, H / stride, W / stride)."""
        return F.conv2d(x, self.weight, None, self.stride, self.padding, groups=self.groups)


class Gemm(Convolution):
    """A batched matrix product: per group, weights (C_out, 9 C_in) times columns of its input (9 C_in, N * H * W).

    Activations are (C, N, H, W), so that the products are the next layer's input as they are. Columns are copies.
    """

    channels = 0

    def forward(self, x: Tensor) -> Tensor:
        """(groups * C_in, N, H, W) -> (groups * C_out, N, H / stride, W / stride)."""
        size = self.weight.shape[-1]
        windows = F.pad(x, (self.padding,) * 4).unfold(2, size, self.stride).unfold(3, size, self.stride)
        columns = windows.permute(0, 4, 5, 1, 2, 3).reshape(self.groups, self.weight[0].numel(), -1)
        y = torch.bmm(self.weight.view(self.groups, -1, columns.shape[1]), columns)
        return y.view(len(self.weight), *windows.shape[1:4])


CONVOLUTIONS = {"grouped": Grouped, "gemm": Gemm}


class Norm(BNReLUAdd):
    """`BNReLUAdd` of (N, C, H, W), or with `dimension` = 0 of (C, N, H, W): to it a batch of one tall image."""

    def __init__(self, channels: int, dimension: int) -> None:
        super().__init__(channels)
        self.tall = dimension == 0

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Fork:  # type: ignore[override]  # always for two
        """Normalize, add, rectify, for two uses."""
        if not self.tall:
            return cast("Fork", super().forward(x, residual, fork=True))
        tall = [None if tensor is None else tensor.flatten(1, 2)[None] for tensor in (x, residual)]
        y, again = super().forward(*tall, fork=True)
        return y.view_as(x), again.view_as(x)


class Skip(nn.Module):
    """What is added to the branches: alpha * identity, subsampled and padded with zero channels net by net.

    alpha selects and does not multiply: 0 * inf would be NaN, and a plain net adds nothing.
    """

    def __init__(self, block: Block, residual: Sequence[bool], dimension: int) -> None:
        super().__init__()
        first = cast("nn.Conv2d", block.conv1)
        self.dimension, self.stride = dimension, first.stride[0]
        self.missing = first.out_channels - first.in_channels
        self.nets, self.needed = len(residual), any(residual)
        alpha = torch.tensor(residual).repeat_interleave(first.out_channels)
        alpha = alpha.view(-1, *[1] * (3 - dimension))
        self.register_buffer("alpha", None if all(residual) else alpha, persistent=False)

    def forward(self, x: Tensor) -> Tensor | None:
        """Give the block's input, of the output's shape, to those nets that add it, and zero to the others."""
        if not self.needed:
            return None
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.missing:
            layout = x.stride(1) == 1 and self.dimension == 1
            apart = x.unflatten(self.dimension, (self.nets, -1))
            padded = F.pad(apart, (0, 0) * (3 - self.dimension) + (0, self.missing))
            x = padded.flatten(self.dimension, self.dimension + 1)
            x = x.contiguous(memory_format=torch.channels_last if layout else torch.contiguous_format)
        return x if self.alpha is None else torch.where(self.alpha, x, 0.0)


class PackedBlock(nn.Module):
    """Blocks of two layers side by side."""

    def __init__(self, block: Block, residual: Sequence[bool], convolution: type[Convolution]) -> None:
        super().__init__()
        nets, dimension = len(residual), convolution.channels
        for i, (conv, norm) in enumerate(block.layers, 1):
            self.add_module(f"conv{i}", convolution(conv, nets, groups=nets))
            self.add_module(f"bn{i}", Norm(nets * norm.num_features, dimension))
        self.skip = Skip(block, residual, dimension)

    def forward(self, fork: Fork) -> Fork:
        """As `Block.forward`, for all nets."""
        x, again = fork
        x, _ = self.bn1(self.conv1(x))
        return self.bn2(self.conv2(x), self.skip(again))


class Heads(nn.Module):
    """The linear maps of all nets, as one batched matrix product."""

    def __init__(self, linear: nn.Linear, nets: int) -> None:
        super().__init__()
        self.nets = nets
        self.weight = nn.Parameter(torch.empty(nets * linear.out_features, linear.in_features))
        self.bias = nn.Parameter(torch.empty(nets * linear.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """(N, S * C) -> logits (S, N, classes)."""
        x = x.unflatten(1, (self.nets, -1)).transpose(0, 1)
        weight, bias = self.weight.unflatten(0, (self.nets, -1)), self.bias.view(self.nets, 1, -1)
        return torch.baddbmm(bias, x, weight.transpose(1, 2))


class Packed(nn.Module):
    """S nets in one. Its parameters have the names of theirs, each a concatenation in the order of the nets."""

    def __init__(self, nets: Sequence[ResNet], convolution: str = "grouped") -> None:
        """Pack nets, with their weights and running statistics; they stay as they are.

        Args:
            nets: of the family cifar and of equal shapes, with the shortcut `none` or `zero-pad`.
            convolution: a name from `CONVOLUTIONS`.

        Raises:
            ValueError: the nets cannot be packed.
        """
        super().__init__()
        residual, first, kind = [_residual(net) for net in nets], nets[0], CONVOLUTIONS[convolution]
        self.nets, self.dimension = len(nets), kind.channels
        self.conv = kind(first.conv, self.nets, groups=1)  # all nets see the same images
        self.bn = Norm(self.nets * first.bn.num_features, self.dimension)
        self.stages = nn.Sequential(
            *(nn.Sequential(*(PackedBlock(block, residual, kind) for block in stage)) for stage in first.blocks)
        )
        self.linear = Heads(first.linear, self.nets)
        self.to(first.conv.weight)
        if kind is Grouped and first.conv.weight.is_contiguous(memory_format=torch.channels_last):
            self.to(memory_format=torch.channels_last)
        self.load_state_dict(pack([net.state_dict() for net in nets]))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (S, N, classes)."""
        if self.dimension == 0:
            x = x.transpose(0, 1)
        x, _ = self.stages(self.bn(self.conv(x)))
        x = x.mean((2, 3))
        return self.linear(x if self.dimension == 1 else x.transpose(0, 1))

    def unpack(self) -> list[State]:
        """Return the `state_dict` of each net."""
        return unpack(self.state_dict(), self.nets)


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (S, N, classes) -> each net's mean cross entropy (S,); the gradient of their sum is each net's own."""
    by_image = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none")
    return by_image.view(len(logits), -1).mean(1)


def pack(states: Sequence[State]) -> State:
    """Concatenate what has channels or classes; the counts of batches must be the same.

    Raises:
        ValueError: names, shapes or counts differ.
    """
    first = {key: value.shape for key, value in states[0].items()}
    for state in states:
        if {key: value.shape for key, value in state.items()} != first:
            raise ValueError("nets of different shapes cannot be packed")
        if any(not value.dim() and value != states[0][key] for key, value in state.items()):
            raise ValueError("nets that have seen different numbers of batches cannot be packed")
    return {
        key: torch.cat([state[key] for state in states]) if shape else states[0][key] for key, shape in first.items()
    }


def unpack(state: State, nets: int) -> list[State]:
    """Undo `pack`: the states of the single nets, each in its own memory."""
    parts = {key: value.chunk(nets) if value.dim() else (value,) * nets for key, value in state.items()}
    return [{key: part[i].clone() for key, part in parts.items()} for i in range(nets)]


def _residual(net: ResNet) -> bool:
    """Whether a net is residual; ValueError if it cannot be packed."""
    blocks = [block for stage in net.blocks for block in stage]
    kinds = {type(block.shortcut) for block in blocks}
    usual = all(
        block.depth == 2
        and type(block.bn2) is BatchNorm
        and block.bn2.order == "add-relu"
        and block.order.fused is not None
        and block.survival == 1
        and block.join.scale is None
        for block in blocks
    )
    if net.pool is not None or not usual or kinds not in ({NoShortcut}, {ZeroPad}):
        raise ValueError("only nets of the family cifar with the shortcut none or zero-pad can be packed")
    return kinds == {ZeroPad}
