"""The page of the compiled kernels: from two files, the same bytes, readable to all."""

import json

import pytest

from deeptwins.errors import InputError
from deeptwins.pages.kernels import tables as metrics
from deeptwins.pages.kernels import timings
from deeptwins.pages.kernels.page import PAGE, keep_timings
from deeptwins.pages.page import write
from deeptwins.records import kernels as kernel_records
from deeptwins.records import tables
from kernel_timings_made import three, timing, written
from kernels_made import compiled, kernel
from places import ROOT
from reading import html, markdown, titles


@pytest.fixture
def results(tmp_path):
    """A folder of results with metrics."""
    folder = tmp_path / "results"
    tables.write(kernel_records.path_of(folder), compiled())
    return folder


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The page of metrics alone."""
    folder = tmp_path_factory.mktemp("usual")
    tables.write(kernel_records.path_of(folder), compiled())
    return write(PAGE, folder / "reports", folder)


def test_the_answer_is_what_it_saves(usual):
    """It has the bytes, and the time by the model, which is called one; evidence has all sites, GPUs and kernels."""
    answer, moved, model, kernels = usual.lines

    assert answer == (
        "At a join it moves 26 % fewer bytes than eager."
        " Not yet timed on a GPU: by a model it takes 1.50 ms on H100, eager 2.03."
    )
    assert "at a join 22.25, 26 % fewer than eager (30.125); without a residual 22.25" in moved
    assert "256x256x56x56, the largest shape: 1.50 ms on A100 (eager 2.03) and 1.50 ms on H100 (eager 2.03)" in model
    assert kernels.startswith("Of 8 kernels compiled for sm_80 and sm_90 none spills a register; they take 40 to 96 ")
    assert "all bytes of activations move by full accesses" in kernels
    assert "- fused (triton): **22.25 B**, per element at a join; 22.25 B without a residual" in markdown(usual)


@pytest.mark.parametrize(
    ("benchmarks", "answer"),
    [
        (
            [*three(), *three(dtype="fp16"), *three(direction="forward", seconds=1e-3)],
            "GiB it is 1.80 times as fast as eager and 1.20 times as fast as torch.compile (forward+backward, median",
        ),
        (
            [
                *three(direction="forward"),
                *three(direction="forward", dtype="fp16"),
                timing("apex", direction="forward"),
            ],
            "as torch.compile and 0.90 times as fast as apex in 1 of them (forward, median of 2 settings).",
        ),
        ([timing("triton")], "it is timed, but nothing beside it (forward+backward, median of 1 setting)."),
        ([timing("eager"), timing("compiled")], "Not yet timed on a GPU: by a model it takes 1.50 ms"),
    ],
)
def test_a_measured_time_takes_the_place_of_the_model(tmp_path, results, benchmarks, answer):
    """The answer says on what device, in how many settings, and against what; it takes times of the kernels alone."""
    keep_timings(written(tmp_path, *benchmarks), results)

    assert answer in write(PAGE, tmp_path / "reports", results).lines[0]


def test_faults_are_told(tmp_path):
    """A kernel that spills, or moves bytes by narrow accesses without need, is counted, and named."""
    folder = tmp_path / "results"
    wrong = kernel(vector_share=0.5), kernel(spill_instructions=4, stack_bytes=16)
    tables.write(kernel_records.path_of(folder), compiled(*wrong))

    kernels, *faults = write(PAGE, tmp_path / "reports", folder).lines[3:]

    assert kernels.startswith("Of 10 kernels compiled for sm_80 and sm_90 1 spills")
    assert "in 9 of them" in kernels
    assert len(faults) == 2
    assert faults[0].startswith("apply, join, bf16, channels_last, 128x16x32x32, sm_90: only 50%")
    assert faults[1].endswith("4 spill instructions, 16 bytes of stack")


def test_what_cannot_be_wide_is_no_fault(tmp_path):
    """Where rows are not multiples of 128 bits, narrow accesses are shown in a table of their own."""
    folder = tmp_path / "results"
    odd = kernel(shape="128x20x32x32", vectors_possible=False, vector_share=0.0, narrowest_access_bits=64)
    tables.write(kernel_records.path_of(folder), compiled(odd))

    written = write(PAGE, tmp_path / "reports", folder)

    assert not written.facts.kernels["faults"].any()
    assert len(written.lines) == 4
    assert "| 128x20x32x32 | bf16 | channels last | 64 |" in markdown(written)


def test_pictures_say_in_words_what_they_show(usual):
    """Their titles have the numbers; what comes from a model is called one."""
    traffic, floors, registers = titles(html(usual))

    assert "apply, channels last: 72 on sm_80 and 88 on sm_90" in registers
    assert "join, eager: 16 forward, 14.125 backward" in traffic
    assert "join, 256x256x56x56: 1,500.0 on A100 and 1,500.0 on H100" in floors
    assert "Model, no measurement" in html(usual)


def test_timings_are_shown(tmp_path, results, usual):
    """Timings that are given are kept beside the metrics, and drawn on the page; else it has none."""
    measured = written(tmp_path, *three(), *three(direction="forward"))

    keep_timings(measured, results)
    page = write(PAGE, tmp_path / "reports", results)

    assert timings.BENCHES.path_of(results).read_bytes() == measured.read_bytes()
    assert "Measured on" not in html(usual)
    assert ">Measured on NVIDIA H100 80GB HBM3, 79 GiB</h2>" in html(page)
    assert html(page).count("<svg") == 5
    assert (page.page.parent / "data" / "timings.csv").is_file()


def test_the_document_has_the_numbers_of_the_page():
    """docs/kernels.md says of bytes what the answer of the reference page says, and has the rows of its figure."""
    facts = PAGE.load(ROOT / "results" / "reference")
    text = " ".join((ROOT / "docs" / "kernels.md").read_text(encoding="utf-8").split())

    assert PAGE.answer(facts).split(". ")[0] in text
    for row in metrics.compared(facts.sites).to_dict("records"):
        ways = (f"{row[f'bytes_per_element_{way}']:g}" for way in ("forward", "backward"))
        assert f"| {' | '.join([row['site'], row['implementation'], *ways])} |" in text


def test_other_timings_are_refused(tmp_path, results):
    """What is no timing of the fused operation is not kept."""
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"benchmarks": []}), encoding="utf-8")

    with pytest.raises(InputError, match=r"other\.json: "):
        keep_timings(other, results)

    assert not timings.BENCHES.path_of(results).exists()


def test_damaged_timings_are_one_line(tmp_path, results):
    """A file of timings that was damaged later is named."""
    timings.BENCHES.path_of(results).write_text("{", encoding="utf-8")

    with pytest.raises(InputError, match=r"timings\.json: "):
        write(PAGE, tmp_path / "reports", results)
