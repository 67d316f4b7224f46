"""Files of pytest-benchmark, as each page that is made of some reads them."""

import pytest

import choices_made
import kernel_timings_made
import throughput_made
from choices_made import chosen, packed
from deeptwins.pages.choices import numbers as choices
from deeptwins.pages.kernels import timings as kernels
from deeptwins.pages.throughput import numbers as throughput
from deeptwins.records import benchmarks
from kernel_timings_made import timing
from refusals import refused
from throughput_made import case, together

AGAIN = "write it with `bench/gpu.sh throughput packing choices`"
KINDS = {  # benches of a page, what writes a file of them, some cases, how many are found in it, how to write it anew
    "choices": (choices.BENCHES, choices_made, choices_made.packings(), lambda found: len(found.packing), AGAIN),
    "kernels": (kernels.BENCHES, kernel_timings_made, kernel_timings_made.three(), len, "write it with `tox -e bench"),
    "throughput": (throughput.BENCHES, throughput_made, throughput_made.grid(), lambda found: len(found.cases), AGAIN),
}
OTHER = {"fullname": "bench/bench_training_step.py::bench_step[cifar-20]", "stats": {}, "extra_info": {}}
DIFFERENT = {  # than all other cases have
    "device": "another", "torch": "1.0", "rehearsal": True,
    "batch": 64, "width": 8, "image": "1x8x8", "dataset": "digits", "study_iterations": 10,
}  # fmt: skip


def complaint(kind, path):
    """Return what is said of a file: its name, what is wrong, and how to write it anew."""
    benches, *_, again = KINDS[kind]
    said = refused(benches.load, path)
    assert said.startswith(f"{path}: ")
    assert again in said
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_other_benches_are_left_out(tmp_path, kind):
    """A file of all benches gives the timings of some alone; a file without any of these is refused."""
    benches, made, cases, found, _ = KINDS[kind]

    assert found(benches.load(made.written(tmp_path, OTHER, *cases))) == len(cases)
    assert "no timing " in complaint(kind, made.written(tmp_path, OTHER))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "null", '{"benchmarks": 3}', '{"benchmarks": [3]}', '{"benchmarks": [{}]}', "\xff"]
)
def test_a_damaged_file_is_refused(tmp_path, kind, text):
    """What is not pytest-benchmark's is called damaged, and a file that is not there is named."""
    path = tmp_path / "timed.json"
    assert "No such file or directory" in complaint(kind, path)
    path.write_bytes(text.encode("latin-1"))

    assert "damaged, or not pytest-benchmark's" in complaint(kind, path)


@pytest.mark.parametrize(
    ("kind", "cases", "said"),
    [
        ("choices", [], "no timing by bench_packing or bench_choices"),
        ("choices", [packed(), packed()], "a case stands there twice"),
        ("choices", [chosen(), chosen()], "a case stands there twice"),
        ("choices", [packed(ratio=-1.0)], "extra_info.ratio: input should be greater"),
        ("choices", [packed(variant="frob")], "extra_info.variant: input should be 'separate'"),
        ("choices", [chosen(value=0)], "extra_info.value: input should be greater"),
        ("choices", [chosen(ms=0.0)], "stats.median: input should be greater"),
        ("choices", [packed(), chosen(device="another")], "device: not the same in all timings"),
        ("choices", [packed(), packed(depth=56, torch="1.0")], "torch: not the same in all timings"),
        ("kernels", [timing() | {"extra_info": None}], "damaged"),
        ("kernels", [timing() | {"stats": {}}], "damaged"),
        *(("kernels", [timing(seconds=seconds)], "damaged") for seconds in (0, float("inf"), float("nan"))),
        *(("kernels", [timing(**info)], "damaged") for info in ({"bytes": "many"}, {"shape": ["a"]})),
        ("kernels", [timing(direction="sideways")], "damaged"),
        ("throughput", [], "no timing of all nets together"),
        ("throughput", [case()], "no timing of all nets together"),
        ("throughput", [together(), together()], "a case stands there twice"),
        ("throughput", [together(), case(way="frob")], "extra_info.way: input should be 'together'"),
        ("throughput", [together(iterations=0)], "extra_info.iterations: input should be greater"),
        ("throughput", [together(ms=-1.0)], "stats.median: input should be greater"),
        ("throughput", [together(), case(depth=None)], "any other case is one net"),
        ("throughput", [together(), case(depth=1e999)], "extra_info.depth: input should be a valid integer"),
        ("throughput", [together(), case(depth=-3)], "extra_info.depth: input should be greater"),
        ("throughput", [together(nets=7.5)], "extra_info.nets: input should be a valid integer"),
        ("throughput", [together(rehearsal="false")], "extra_info.rehearsal: input should be a valid boolean"),
        ("throughput", [together(evaluation_s=None)], "lack the time of an evaluation"),
        ("throughput", [{"fullname": "bench_throughput.py::x", "stats": {}}], "extra_info: field required"),
        ("throughput", [{"fullname": ["bench_throughput.py::"]}], "fullname = ['bench_throughput.py::']"),
        ("throughput", [together(), {"fullname": 5}], "fullname = 5"),
        *(
            ("throughput", [together(), case(**{key: other})], f"{key}: not the same in all timings")
            for key, other in DIFFERENT.items()
        ),
    ],
)
def test_cases_that_make_no_sense_are_refused(tmp_path, kind, cases, said):
    """What is wrong is told."""
    assert said in complaint(kind, KINDS[kind][1].written(tmp_path, *cases))


def test_timings_of_several_calls_are_kept_as_one(tmp_path):
    """Cases that were timed in two calls say what they would in one file; those of two devices are refused."""
    later = {"copy_gb_per_s": 1900.0, "commit": "fedcba987654"}
    parts = [
        throughput_made.each("compiled", 2.0, "bf16"),
        [together(2.0, "bf16", **later)],
        [together(device="another")],
    ]
    files = []
    for i, part in enumerate(parts):
        (tmp_path / str(i)).mkdir()
        files.append(throughput_made.written(tmp_path / str(i), *part))

    found = throughput.BENCHES.load(benchmarks.keep(benchmarks.read(files[:2]), tmp_path / "new" / "kept.json"))

    assert found.ratios["ratio"].tolist() == [4.0]
    assert found.origin.commits == "0123456789ab; fedcba987654"
    assert "device: not the same in all timings" in refused(throughput.derive, benchmarks.read(files))
