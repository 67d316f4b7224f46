"""From a profile to its page, `reports/profile-<name>/`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from deeptwins.pages import page as pages
from deeptwins.pages.page import Page, Section, Written, illustrate
from deeptwins.pages.profile import figures, frames
from deeptwins.pages.profile import tables as profile_tables
from deeptwins.pages.wording import count
from deeptwins.records import profiles
from deeptwins.records.profiles import LEAST_BYTES, Profile

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


def write(path: Path, reports: Path) -> Written[None]:
    """Write the page of the profile in a file. Same file, same bytes.

    Raises:
        InputError: the file is not there or damaged, or the folder cannot be written.
    """
    profile = profiles.read(path)
    ops, kernels = frames.ops(profile), frames.kernels(profile)
    steps = frames.steps(profile, ops)
    kinds, layers = frames.kinds(ops), frames.layers(ops)
    nets = frames.detailed(steps)
    verdict = profile_tables.verdict(profile, steps, kinds)
    page = Page(
        name=f"profile-{profile.name}",
        question=_question(profile),
        source="",
        verdict=verdict,
        remarks=profile_tables.remarks(profile, steps),
        sections=[
            _by_kind(steps, kinds, nets),
            _by_layer(layers, nets),
            Section("Kernel by kernel", tables=tuple(profile_tables.kernel_table(net, kernels) for net in nets)),
            _provenance(profile),
            _reproduce(profile),
        ],
        runs=f"{count(len(steps), 'net')}, {count(profile.steps, 'step')} each",
        data={"steps": steps, "kinds": kinds, "layers": layers.drop(columns="part"), "ops": ops, "kernels": kernels},
        answer=verdict[0],
        date=profile.date,
    )
    folder = pages.save(page, reports)
    shown = profile_tables.console(steps, kinds, layers)
    return Written(None, tuple(shown), tuple(verdict), folder / "index.html")


def _question(profile: Profile) -> str:
    nets = [step.net for step in profile.nets]
    between = "; " if any(", " in net for net in nets) else ", "
    what = between.join(nets) if len(nets) <= KNOWN else f"The {len(nets)} nets of {profile.name}"
    return f"Where does the time of a training step go? {what}"


def _by_kind(steps: pd.DataFrame, kinds: pd.DataFrame, nets: list[str]) -> Section:
    caption = (
        "The number is the whole step by the clock; in colour its ops, by the profiler, and light what none of them"
        " takes. Ops that the profiler slows until they sum up to more than the step share it in proportion."
        " Milliseconds."
    )
    picture = illustrate("kinds", caption, profile_tables.alt_kinds(steps, kinds), figures.kinds(steps, kinds))
    tables = [profile_tables.step_table(steps), profile_tables.work_table(steps)]
    tables += [profile_tables.kind_table(net, kinds) for net in nets]
    return Section("Where the time goes", (picture,), tuple(tables))


def _by_layer(layers: pd.DataFrame, nets: list[str]) -> Section:
    shown = layers[layers["net"].isin(nets)]
    caption = "Layers in order, from the stem to the linear map; the nets whose steps take longest."
    picture = illustrate("layers", caption, profile_tables.alt_layers(shown), figures.layers(shown))
    return Section("Layer by layer", (picture,), tuple(profile_tables.layer_table(net, layers) for net in nets))


def _provenance(profile: Profile) -> Section:
    on = ON["cuda" if profile.machine.get("device") == "cuda" else "cpu"]
    table = profile_tables.provenance(profile)
    return Section("Provenance", tables=(table,), paragraphs=(MEASURED, on, COUNTED, PLACES, LEAST_BYTES))


def _reproduce(profile: Profile) -> Section:
    told = "With deeptwins installed, in a clone of the repository; the times are those of this machine alone:"
    return Section("How to reproduce", paragraphs=(told,), commands=(profile.command,))
