"""Convolutions: the gradients of all kinds that nets are made of, in the memory format that they are trained in."""

import pytest
import torch
from torch import nn

from deeptwins.nets.convolutions import Conv2d


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels_in", "channels_out"), [(2, 6), (3, 8), (4, 4), (7, 12), (8, 16)])
def test_1x1_convolutions_are_pytorch_s(channels_in, channels_out, stride, bias):
    """Outputs and gradients are those of `nn.Conv2d` in float64, the same each time, whatever memory held before."""
    ours = Conv2d(channels_in, channels_out, 1, stride, bias=bias).to(memory_format=torch.channels_last)
    theirs = nn.Conv2d(channels_in, channels_out, 1, stride, bias=bias).double()
    theirs.load_state_dict({name: tensor.double() for name, tensor in ours.state_dict().items()})
    x = torch.randn(32, channels_in, 8, 8).contiguous(memory_format=torch.channels_last)

    def gradients(net, image):
        image = image.clone(memory_format=torch.preserve_format).requires_grad_()
        y = net(image)
        return y.detach(), *torch.autograd.grad(y.square().sum(), [image, *net.parameters()])

    found = gradients(ours, x)
    for got, expected in zip(found, gradients(theirs, x.double()), strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-3)
    for repetition in range(5):
        torch.full((4096,), 1e3 * repetition)  # then freed
        assert all(map(torch.equal, found, gradients(ours, x)))
