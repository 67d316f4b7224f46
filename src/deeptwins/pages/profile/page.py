"""From a profile to its page, `reports/profile-<name>/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deeptwins.pages.page import Commands, PageSpec, Section
from deeptwins.pages.profile import figures, frames, tables
from deeptwins.pages.wording import count
from deeptwins.records import profiles
from deeptwins.records.profiles import LEAST_BYTES, Profile

WHERE = "With deeptwins installed, in a clone of the repository; the times are those of this machine alone:"
KNOWN = 3  # nets that the question names
MEASURED = """
A step is the trainer's own: batch, forward, loss, backward, optimizer, running sums. By turns one was timed by the
clock without a profiler, waiting for the device, and one under PyTorch's profiler, with each op in a range of its own.
Numbers of ops are sums over a step, and medians over the steps.
"""
COUNTED = """
Bytes are those of the tensors that an op reads and writes, each once; views move nothing, and an op that passes over a
tensor twice, or a cache that saves a pass, is seen in the % of its floor alone, which may exceed 100. FLOPs are two a
multiply-add, of convolutions and matrix products.
"""
ON = {
    "cpu": "On a CPU the time of an op is its own by the profiler, and its launches are the calls that move something.",
    "cuda": """
On a GPU the step by the clock is the one that the trainer takes: captured, and several in a replay, of whose time each
has an equal share. A profiler cannot look into a replay. What it says of ops and kernels is of the same step issued
kernel by kernel, whose time by the clock has a column of its own. The time of an op is that of the kernels launched by
it, copies and fills included.
""",
}
PLACES = """
A layer is a convolution with the normalization, ReLU and addition that follow it; a block's shortcut counts at its last
layer. Backward, an op belongs to the layer whose forward op it is the gradient of; the sum of two gradients to the
layer that brings the second.
"""


@dataclass(frozen=True)
class ProfileFacts:
    """A profile as tables, and the nets whose layers and kernels are on the page: those that take longest."""

    profile: Profile
    ops: pd.DataFrame
    kernels: pd.DataFrame
    steps: pd.DataFrame
    kinds: pd.DataFrame
    layers: pd.DataFrame
    slowest: list[str]


def load(path: Path) -> ProfileFacts:
    """Load the profile in a file.

    Raises:
        InputError: the file is not there, or damaged.
    """
    profile = profiles.read(path)
    ops = frames.ops(profile)
    steps = frames.steps(profile, ops)
    kernels, kinds, layers = frames.kernels(profile), frames.kinds(ops), frames.layers(ops)
    return ProfileFacts(profile, ops, kernels, steps, kinds, layers, frames.slowest(steps))


def find(results: Path) -> list[tuple[Path]]:
    """List the profiles in a folder of results."""
    return [(path,) for path in sorted(results.glob("profile/*.json"))]


def _question(facts: ProfileFacts) -> str:
    nets = list(facts.steps["net"])
    between = "; " if any(", " in net for net in nets) else ", "
    what = between.join(nets) if len(nets) <= KNOWN else f"The {len(nets)} nets of {facts.profile.name}"
    return f"Where does the time of a training step go? {what}"


def _verdict(facts: ProfileFacts) -> list[str]:
    return tables.verdict(facts.profile, facts.steps, facts.kinds)


def _sections(facts: ProfileFacts) -> list[Section]:
    shown = facts.layers[facts.layers["net"].isin(facts.slowest)]
    kinds = [tables.kind_table(net, facts.kinds) for net in facts.slowest]
    layers = [tables.layer_table(net, facts.layers) for net in facts.slowest]
    kernels = [tables.kernel_table(net, facts.kernels) for net in facts.slowest]
    return [
        Section(
            "Where the time goes",
            (figures.kinds(facts.steps, facts.kinds),),
            (tables.step_table(facts.steps), tables.work_table(facts.steps), *kinds),
        ),
        Section("Layer by layer", (figures.layers(shown),), tuple(layers)),
        Section("Kernel by kernel", tables=tuple(kernels)),
    ]


def _method(facts: ProfileFacts) -> tuple[str, ...]:
    device = "cuda" if facts.profile.machine.get("device") == "cuda" else "cpu"
    return MEASURED, ON[device], COUNTED, PLACES, LEAST_BYTES


PAGE = PageSpec(
    load=load,
    name=lambda facts: f"profile-{facts.profile.name}",
    question=_question,
    answer=lambda facts: _verdict(facts)[0],
    verdict=lambda facts: _verdict(facts)[1:],
    group=lambda _: "Speed",
    remarks=lambda facts: tables.remarks(facts.profile, facts.steps),
    sections=_sections,
    origin=lambda facts: (tables.provenance(facts.profile),),
    method=_method,
    commands=lambda facts: Commands(WHERE, (facts.profile.command,)),
    data=lambda facts: {
        "steps": facts.steps,
        "kinds": facts.kinds,
        "layers": facts.layers.drop(columns="part"),
        "ops": facts.ops,
        "kernels": facts.kernels,
    },
    size=lambda facts: f"{count(len(facts.steps), 'net')}, {count(facts.profile.steps, 'step')} each",
    date=lambda facts: facts.profile.date,
    summary=lambda facts: tables.console(facts.steps, facts.kinds, facts.layers, facts.slowest),
    find=find,
)
