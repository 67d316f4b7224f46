"""The blocks that nets are stacked from: plain and residual ones are one class, and only the shortcut differs."""

from __future__ import annotations

from torch import Tensor, nn

from deeptwins.kernels import BNReLUAdd
from deeptwins.nets.shortcuts import SHORTCUTS

Fork = tuple[Tensor, Tensor]
"""One tensor for two uses: the next layer's, and the next shortcut's. Their gradients come back apart."""


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """Make a 3x3 convolution that keeps the image size at stride 1; the bias is the following BN's."""
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 layers and a shortcut around them: `relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`.

    He et al. 2015, equation 1 and figure 5 (left). With the shortcut `none` nothing is added: the plain block.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, shortcut: str, fused_op: str) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, channels_out, stride)
        self.bn1 = BNReLUAdd(channels_out, implementation=fused_op)
        self.conv2 = conv3x3(channels_out, channels_out)
        self.bn2 = BNReLUAdd(channels_out, implementation=fused_op)
        self.shortcut = SHORTCUTS[shortcut](channels_in, channels_out, stride)

    def forward(self, fork: Fork) -> Fork:
        """(N, C_in, H, W), twice -> (N, C_out, H / stride, W / stride), twice."""
        x, again = fork
        y: Fork = self.bn2(self.conv2(self.bn1(self.conv1(x))), self.shortcut(again), fork=True)
        return y
