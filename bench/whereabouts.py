"""Where a case is timed, in the fields that pages read (`deeptwins.records.benchmarks`)."""

from deeptwins.train import device as devices


def of(device):
    """What every result says about the machine; `device` is cpu or cuda."""
    described = devices.describe(device)
    return {
        "device": described["gpu"] or described["cpu"],
        "torch": described["torch"],
        "machine": described,
        "commit": devices.commit(),
    }
