"""Timings of packing and of choices: what they come to, and what is refused."""

import math

import pytest

from choices_made import all_of_them, chosen, packed, packings, written
from deeptwins.errors import InputError
from deeptwins.pages.choices import numbers
from deeptwins.records import benchmarks as benchmark_files


def loaded(folder, *benchmarks):
    """Timings, read back."""
    return numbers.BENCHES.load(written(folder, *benchmarks))


def test_what_a_case_of_packing_comes_to(tmp_path):
    """128 images in 4 ms are 32,000 a second for each net; ratio and quartiles are the bench's."""
    row = loaded(tmp_path, packed(2.0)).packing.iloc[0]

    assert row["images_per_s_per_net"] == pytest.approx(32_000)
    assert row["ms"] == pytest.approx(4)
    assert (row["ratio"], row["ratio_q1"], row["ratio_q3"]) == pytest.approx((2.0, 1.8, 2.2))


def test_what_a_case_of_a_choice_comes_to(tmp_path):
    """200 iterations in 600 ms are 3 ms each, 3/4 of the trainer's 4 ms, which is told by its value."""
    found = loaded(tmp_path, chosen(8, 4.0), chosen(4, 3.0)).choices.set_index("value")

    assert found.loc[4, "ms"] == pytest.approx(3)
    assert found.loc[4, "fastest_ms"] == pytest.approx(2.7)
    assert found.loc[4, "slowest_ms"] == pytest.approx(3.6)
    assert found["over_trainers"].to_dict() == pytest.approx({8: 1.0, 4: 0.75})
    assert found["the_trainers"].to_dict() == {8: True, 4: False}


def test_without_the_trainers_value_nothing_is_set_against_it(tmp_path):
    """What was not timed is not known."""
    assert math.isnan(loaded(tmp_path, chosen(4, 3.0)).choices.loc[0, "over_trainers"])


def test_settings_that_decide(tmp_path):
    """Two nets, grouped, in the trainer's layout: no other row decides whether packing would pay."""
    others = packed(9.0, "gemm"), packed(9.0, layout="contiguous"), packed(9.0, nets=8), packed(9.0, "separate")

    assert loaded(tmp_path, packed(1.2), *others).decisive["ratio"].tolist() == [1.2]
    assert loaded(tmp_path, chosen()).decisive.empty


@pytest.mark.parametrize(
    ("benchmarks", "said"),
    [
        ([], "no timing by bench_packing or bench_choices"),
        ([packed(), packed()], "a case stands there twice"),
        ([chosen(), chosen()], "a case stands there twice"),
        ([packed(ratio=-1.0)], "extra_info.ratio: input should be greater"),
        ([packed(variant="frob")], "extra_info.variant: input should be 'separate'"),
        ([chosen(value=0)], "extra_info.value: input should be greater"),
        ([chosen(ms=0.0)], "stats.median: input should be greater"),
        ([packed(), chosen(device="another")], "device: not the same in all timings"),
        ([packed(), packed(depth=56, torch="1.0")], "torch: not the same in all timings"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path, benchmarks, said):
    """One line names the file, what is wrong, and how to write it anew."""
    with pytest.raises(InputError, match=said) as error:
        loaded(tmp_path, *benchmarks)

    assert str(tmp_path / "choices.json") in str(error.value)
    assert "bench/gpu.sh throughput packing choices" in str(error.value)
    assert "\n" not in str(error.value)


def test_timings_of_several_calls_are_kept_as_one(tmp_path):
    """Cases that were timed in two calls are put together; those of two devices are refused."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    parts = [packings(), [chosen()], [chosen(4, device="another")]]
    files = [written(folder, *part) for folder, part in zip(folders, parts, strict=True)]

    found = numbers.BENCHES.load(benchmark_files.keep(benchmark_files.read(files[:2]), tmp_path / "new" / "kept.json"))

    assert (len(found.packing), len(found.choices)) == (8, 1)
    with pytest.raises(InputError, match="device: not the same in all timings"):
        numbers.derive(benchmark_files.read(files))


def test_other_benches_in_the_file_are_left_out(tmp_path):
    """A file may hold cases of other benches."""
    other = {"fullname": "bench/bench_throughput.py::bench_alone[...]", "extra_info": {}}

    assert len(loaded(tmp_path, other, *all_of_them()).packing) == 8
