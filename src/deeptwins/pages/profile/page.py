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

WHERE = "With deeptwins installed, in a clone of the repository; times hold for this machine alone:"
KNOWN = 3  # nets that the question names
MEASURED = """
A step is the trainer's own: batch, forward, loss, backward, optimizer, running sums. Steps were in turn timed by the
clock without a profiler, and run under PyTorch's profiler. Numbers of operations are sums over a step, and medians over
the steps.
"""
COUNTED = """
Bytes are those of the tensors that an operation reads and writes, each counted once; views move nothing. FLOPs are
those of convolutions and matrix products; a multiply-add counts as two. The roofline assumes that data comes from main
memory. An operation whose data lies in a cache can be faster: its share is then given as > 100 %, without a number.
"""
ON = {
    "cpu": """
On a CPU, the time of an operation is its own time in the profiler, and its launches are the calls that move data.
""",
    "cuda": """
On a GPU, the timed step is the trainer's: several steps in one captured CUDA graph, divided by their number. A profiler
cannot look into a graph. Operations and kernels were profiled in the same step launched kernel by kernel, whose time
has a column of its own. The time of an operation is that of the kernels it launches, copies and fills included.
""",
}
PLACES = """
A layer is a convolution with the normalization, ReLU and addition behind it; the shortcut of a block counts towards its
last layer. In the backward pass, an operation counts towards the layer whose forward operation it differentiates, and
the sum of two gradients towards the layer that computes the second.
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


def _sections(facts: ProfileFacts) -> list[Section]:
    shown = facts.layers[facts.layers["net"].isin(facts.slowest)]
    kinds = [tables.kind_table(net, facts.kinds) for net in facts.slowest]
    layers = [tables.layer_table(net, facts.layers) for net in facts.slowest]
    kernels = [tables.kernel_table(net, facts.kernels) for net in facts.slowest]
    return [
        Section(
            "By kind of work",
            (figures.kinds(facts.steps, facts.kinds),),
            (tables.step_table(facts.steps), *kinds),
        ),
        Section("By layer", (figures.layers(shown),)),
        Section("Layers in numbers", tables=tuple(layers), folded=True),
        Section("Kernels and bytes in numbers", tables=(tables.work_table(facts.steps), *kernels), folded=True),
    ]


def _method(facts: ProfileFacts) -> tuple[str, ...]:
    device = "cuda" if facts.profile.machine.get("device") == "cuda" else "cpu"
    return MEASURED, ON[device], COUNTED, PLACES, LEAST_BYTES


PAGE = PageSpec(
    load=load,
    name=lambda facts: f"profile-{facts.profile.name}",
    question=_question,
    answer=lambda facts: tables.answer(facts.steps, facts.kinds),
    numbers=lambda facts: tables.numbers(facts.steps),
    verdict=lambda facts: tables.verdict(facts.profile, facts.steps),
    cautions=lambda facts: tables.cautions(facts.profile),
    lines=lambda facts: [
        *tables.cautions(facts.profile),
        tables.answer(facts.steps, facts.kinds),
        *tables.verdict(facts.profile, facts.steps),
    ],
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
