"""A net of fused operations, and its training in one of several processes, which import it by this name."""

import torch
from torch import nn

import fused
from deeptwins.kernels import BNReLUAdd


class Net(nn.Module):
    """A tiny residual net: a stem, a plain layer, a join; all but the plain layer's results are used twice.

    The plain layer's running statistics are those of all batches, the others' those of the latest.
    """

    def __init__(self, implementation):
        super().__init__()
        torch.manual_seed(0)
        self.convolutions = nn.ModuleList(nn.Conv2d(size, 8, 3, padding=1, bias=False) for size in (3, 8, 8))
        self.tails = nn.ModuleList(BNReLUAdd(8, 1e-5, m, implementation=implementation) for m in (0.1, None, 0.1))

    def forward(self, x):
        """Give two numbers an image."""
        x, shortcut = self.tails[0](self.convolutions[0](x), fork=True)
        x = self.tails[1](self.convolutions[1](x))
        y, twin = self.tails[2](self.convolutions[2](x), shortcut, fork=True)
        return torch.stack([y.mean((1, 2, 3)), twin.square().mean((1, 2, 3))])


def trained(net, call, x):
    """Call, go backward, and give all that came of it."""
    y = call(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad for p in net.parameters()), *net.buffers()]


def batch_of(rank):
    """Give a process's batch."""
    return torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(rank))


def process(rank, folder):
    """Train one of two processes a step, and save the gradients."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2)
    try:
        net = Net("triton")
        with fused.interpreted():
            trained(net, nn.parallel.DistributedDataParallel(net), batch_of(rank))
        torch.save([p.grad for p in net.parameters()], f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()
