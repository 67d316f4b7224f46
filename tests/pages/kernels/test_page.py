"""The page of the compiled kernels: from two files, the same bytes, readable to all."""

import json
import re

import pytest

from deeptwins.errors import InputError
from deeptwins.pages.kernels import timings
from deeptwins.pages.kernels.page import PAGE, keep_timings
from deeptwins.pages.page import write
from deeptwins.records import kernels as kernel_records
from deeptwins.records import tables
from kernel_timings_made import three, written
from kernels_made import compiled, kernel


@pytest.fixture
def results(tmp_path):
    """A folder of results with metrics."""
    folder = tmp_path / "results"
    tables.write(kernel_records.path_of(folder), compiled())
    return folder


@pytest.fixture
def measured(tmp_path):
    """Timings as pytest-benchmark writes them."""
    return written(tmp_path, *three(), *three(direction="forward"))


def test_the_file_keeps_everything(results):
    """What is written is what is read, a row a line, with the same bytes each time."""
    path = kernel_records.path_of(results)
    text = path.read_text(encoding="utf-8")

    assert kernel_records.read(path) == compiled()
    assert sum('"registers": ' in line for line in text.splitlines()) == 8
    tables.write(path, compiled())
    assert path.read_text(encoding="utf-8") == text


def test_the_verdict(tmp_path, results):
    """It says how many kernels spill, how many have full accesses, and what a site moves."""
    verdict = write(PAGE, tmp_path / "reports", results).lines

    assert verdict[0].startswith(
        "None of 8 kernels compiled for sm_80 and sm_90 spills a register; they take 40 to 96 "
    )
    assert "all bytes of activations move by full accesses" in verdict[1]
    assert verdict[2] == (
        "Forward and backward, with a residual to add (join), bf16: 22.25 bytes per element; 30.125 by eager."
    )


def test_faults_are_told(tmp_path):
    """A kernel that spills, or moves bytes by narrow accesses without need, is counted, and named."""
    folder = tmp_path / "results"
    wrong = kernel(vector_share=0.5), kernel(spill_instructions=4, stack_bytes=16)
    tables.write(kernel_records.path_of(folder), compiled(*wrong))

    written = write(PAGE, tmp_path / "reports", folder)

    verdict, faults = written.lines[:4], written.lines[4:]
    assert verdict[0].startswith("1 of 10 kernels compiled for sm_80 and sm_90 spills")
    assert "in 9 of them" in verdict[1]
    assert len(faults) == 2
    assert faults[0].startswith("apply, join, bf16, channels_last, 128x16x32x32, sm_90: only 50%")
    assert faults[1].endswith("4 spill instructions, 16 bytes of stack")


def test_what_cannot_be_wide_is_no_fault(tmp_path):
    """Where rows are no multiples of 128 bits, narrow accesses are shown in a table of their own."""
    folder = tmp_path / "results"
    odd = kernel(shape="128x20x32x32", vectors_possible=False, vector_share=0.0, narrowest_access_bits=64)
    tables.write(kernel_records.path_of(folder), compiled(odd))

    written = write(PAGE, tmp_path / "reports", folder)

    assert not written.facts.kernels["faults"].any()
    assert len(written.lines) == 4
    markdown = written.page.with_name("report.md").read_text(encoding="utf-8")
    assert "| 128x20x32x32 | bf16 | channels last | 64 |" in markdown


def test_the_page_is_readable_to_all(tmp_path, results):
    """Every figure has a title that says its numbers; tables have captions; the models are called models."""
    page = write(PAGE, tmp_path / "reports", results).page

    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"<title id=[^>]*>([^<]*)</title>", text)
    assert len(titles) == text.count("<svg") == 3
    assert "apply, channels last: 72 on sm_80 and 88 on sm_90" in titles[0]
    assert "join, eager: 16 forward, 14.125 backward" in titles[1]
    assert "join, 256x256x56x56: 1,500.0 on A100 and 1,500.0 on H100" in titles[2]
    assert text.count("<caption>") == text.count("<table") > 5
    assert "Model, no measurement" in text
    assert not re.search(r"<(script|link|img|iframe)\b", text)


def test_timings_are_shown(tmp_path, results, measured):
    """Timings that are given are kept beside the metrics, and drawn on the page; else it has none."""
    without = write(PAGE, tmp_path / "reports", results).page.read_text(encoding="utf-8")

    keep_timings(measured, results)
    page = write(PAGE, tmp_path / "reports", results).page

    assert timings.BENCHES.path_of(results).read_bytes() == measured.read_bytes()
    assert "Measured times" not in without
    text = page.read_text(encoding="utf-8")
    assert "Measured times" in text
    assert text.count("<svg") == 5
    assert (page.parent / "data" / "timings.csv").is_file()


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


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{", "", "damaged, not JSON"),
        ('"schema": 1', '"schema": 2', "schema 2, and this deeptwins reads up to 1"),
        ('"registers": 40', '"registers": -1', "kernels.0.registers: input should be greater than or equal to 0"),
        ('"registers": 40', '"registers": "many"', "kernels.0.registers: "),
        ('"registers": 40', '"regs": 40', "kernels.0.registers: field required"),
        ('"devices"', '"gadgets"', "devices: field required"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, results, old, new, told):
    """What is wrong is told with the file's name and the place in it."""
    path = kernel_records.path_of(results)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")

    with pytest.raises(InputError) as error:
        write(PAGE, tmp_path / "reports", results)

    assert str(error.value).startswith(f"{path}: {told}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[]", "null", '{"schema": "new"}', "[" * 100_000])
def test_other_json_is_one_line_too(tmp_path, results, text):
    """Whatever stands in the file, there is no traceback."""
    path = kernel_records.path_of(results)
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=r"compiled\.json: "):
        write(PAGE, tmp_path / "reports", results)


def test_no_metrics(tmp_path):
    """Without the file one line says what writes it."""
    with pytest.raises(InputError, match=r"compiled\.json: no such file; `deeptwins kernels` writes it"):
        write(PAGE, tmp_path / "reports", tmp_path)
