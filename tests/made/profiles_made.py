"""A profile by hand, of two small nets: round numbers, so that a page can be checked against them."""

from deeptwins.records.profiles import KernelTime, Op, Profile, Rate, Step

NETS = ("cifar-plain-8", "cifar-resnet-8")


def step(net=NETS[0], **changed):
    """Make a net's whole step: 100 ms."""
    usual = {
        "net": net, "family": "cifar", "depth": 8, "shortcut": "none", "parameters": 78_042,
        "dataset": "random images", "image": "3x32x32", "batch_size": 16, "precision": "fp32", "optimizer": "sgd",
        "step_us": 100_000.0, "fastest_us": 90_000.0, "slowest_us": 120_000.0, "profiled_us": 150_000.0,
        "least_bytes": 40_000_000,
    }  # fmt: skip
    return Step(**{**usual, **changed})


def op(layer, direction, kind, name, time_us, **changed):
    """Make a row of ops."""
    usual = {
        "net": NETS[0], "calls": 1, "launches": 1, "bytes": 10_000_000, "flops": 0, "roofline_us": time_us / 4,
    }  # fmt: skip
    return Op(layer=layer, direction=direction, kind=kind, op=name, time_us=time_us, **{**usual, **changed})


def ops(net=NETS[0]):
    """Make the ops of a net: 80 ms, of which convolutions take 60; their rooflines are a quarter of that."""
    rows = [
        ("batch", "forward", "batch", "index", 1000.0),
        ("conv", "forward", "convolution", "convolution", 4000.0),
        ("bn", "forward", "normalization", "native_batch_norm", 2000.0),
        ("stages.0.0.shortcut", "forward", "shortcut", "constant_pad_nd", 500.0),
        ("stages.0.0.conv1", "forward", "convolution", "convolution", 6000.0),
        ("stages.0.0.conv2", "forward", "convolution", "convolution", 10_000.0),
        ("stages.0.0", "forward", "ReLU", "relu", 500.0),
        ("linear", "forward", "pooling and linear map", "addmm", 1000.0),
        ("loss and sums", "forward", "loss and sums", "nll_loss_forward", 1000.0),
        ("linear", "backward", "pooling and linear map", "mm", 1000.0),
        ("stages.0.0.conv2", "backward", "convolution", "convolution_backward", 20_000.0),
        ("stages.0.0.conv1", "backward", "convolution", "convolution_backward", 12_000.0),
        ("conv", "backward", "convolution", "convolution_backward", 8000.0),
        ("bn", "backward", "normalization", "native_batch_norm_backward", 10_000.0),
        ("optimizer", "optimizer", "optimizer", "_fused_sgd_", 3000.0),
    ]
    return [op(*row, net=net, flops=2_000_000_000 if row[2] == "convolution" else 0) for row in rows]


def made(**changed):
    """Make the file's content."""
    kernels = [
        KernelTime(net=net, kind="convolution", kernel=name, calls=3, time_us=us)
        for net in NETS
        for name, us in (("mkldnn_convolution", 20_000.0), ("convolution_backward", 40_000.0))
    ]
    usual = {
        "name": "-".join(NETS), "command": f"deeptwins profile {' '.join(NETS)} --batch 16", "date": "2026-01-02",
        "commit": "0123456789ab",
        "machine": {"device": "cpu", "cpu": "Some CPU", "cores": 2, "gpu": None, "torch": "2.14.1", "os": "Linux"},
        "threads": 1, "steps": 5,
        "rates": (Rate(precision="fp32", copy_bytes_per_s=10e9, flops_per_s=60e9),),
        "nets": (step(), step(NETS[1], shortcut="zero-pad", step_us=125_000.0)),
        "ops": (*ops(), *ops(NETS[1])), "kernels": tuple(kernels),
    }  # fmt: skip
    return Profile(**{**usual, **changed})
