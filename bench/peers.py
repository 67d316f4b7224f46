"""Other libraries' fused batch normalization, addition and ReLU, timed beside ours where they are installed.

PyTorch has none: its `cudnn_batch_norm` takes neither a residual nor an activation, and cuDNN's fused one
(CUDNN_BATCHNORM_OPS_BN_ADD_ACTIVATION) is out of its reach. In fp32 and fp16 that operator is what `eager` runs on a
GPU.
"""

from torch import nn


class Apex(nn.Module):
    """`BatchNorm2d_NHWC` of apex's groupbn, called like `BNReLUAdd` with activations of (N, C, H, W)."""

    def __init__(self, channels, device):
        from apex.contrib.groupbn import BatchNorm2d_NHWC  # noqa: PLC0415  where it is installed

        super().__init__()
        self.bn = BatchNorm2d_NHWC(channels, fuse_relu=True).to(device)

    def forward(self, x, residual=None, *, fork=False):
        """Normalize, add, rectify. apex takes (N, H, W, C), contiguous: of channels last that is a view."""
        y = self.bn(*(None if tensor is None else tensor.permute(0, 2, 3, 1) for tensor in (x, residual)))
        y = y.permute(0, 3, 1, 2)
        return (y, y) if fork else y


def without_apex(setting, device):
    """Say why apex is not timed in a setting on a device, `cpu` or `cuda`; None if it is."""
    if device != "cuda":
        return "apex: it needs a CUDA device"
    try:
        from apex.contrib.groupbn import BatchNorm2d_NHWC  # noqa: F401, PLC0415
    except ImportError:
        return "apex: its groupbn is not installed"
    if (setting.dtype, setting.layout) != ("fp16", "channels_last"):
        return "apex: it has fp16 in channels last alone"
    channels = setting.site.shape[1]
    if channels % 4 or channels < 32:
        return "apex: it needs a multiple of 4 channels, and with fewer than 32 it writes beyond the end of its mask"
    return None


PEERS = {"apex": (Apex, without_apex)}
"""By name: what makes the module of so many channels on a device, and what says why it is not timed."""
