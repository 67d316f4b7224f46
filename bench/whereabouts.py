"""Where a case is timed, as pages tell it (`deeptwins.records.benchmarks.Where`)."""

from deeptwins.train import device as devices


def of(device):
    """What every result says of the machine; `device` is cpu or cuda."""
    described = devices.describe(device)
    return {
        "device": described["gpu"] or described["cpu"],
        "torch": described["torch"],
        "machine": described,
        "commit": devices.commit(),
    }
