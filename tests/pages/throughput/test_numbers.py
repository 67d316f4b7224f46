"""Timings of throughput: rates, ratios and projections with known answers; and what is refused."""

import pytest

from deeptwins.errors import InputError
from deeptwins.pages.throughput import numbers
from deeptwins.records import benchmarks as benchmark_files
from throughput_made import case, each, grid, together, written


def loaded(folder, *benchmarks):
    """Timings, read back."""
    return numbers.BENCHES.load(written(folder, *benchmarks))


def rate_of(found, way, precision="tf32"):
    """The row of a way and precision."""
    rows = found.rates[(found.rates["way"] == way) & (found.rates["precision"] == precision)]
    return rows.iloc[0]


def test_a_case_has_its_rates_and_its_share_of_the_floor(tmp_path):
    """100 iterations in a second are 10 ms each; a floor of 2.5 ms is a quarter of that."""
    row = loaded(tmp_path, together(), case(ms=10.0)).cases.iloc[1]

    assert row["ms_per_iteration"] == pytest.approx(10)
    assert row["net_iterations_per_s"] == pytest.approx(100)
    assert row["images_per_s"] == pytest.approx(12_800)
    assert row["floor_ms"] == pytest.approx(2.5)
    assert row["percent_of_floor"] == pytest.approx(25)


def test_nets_together_count_each(tmp_path):
    """Four nets that advance by one in 4 ms are 1,000 net-iterations/s; 4 x 64,000 take 256 s, evaluations 61.5 s."""
    rate = rate_of(loaded(tmp_path, together(4.0)), "together")

    assert rate["net_iterations_per_s"] == pytest.approx(1000)
    assert rate["training_minutes"] == pytest.approx(256 / 60)
    assert rate["minutes"] == pytest.approx((256 + 41 * 1.5) / 60)
    assert rate["fastest_per_s"] == pytest.approx(1250)
    assert rate["slowest_per_s"] == pytest.approx(800)


def test_one_after_another_takes_the_sum_of_the_times(tmp_path):
    """Nets of 10 and 30 ms do 2 iterations in 40 ms: 50 a second, which is no mean of their rates."""
    loops = [case("usual", 10.0, depth=20), case("usual", 30.0, depth=56)]

    rate = rate_of(loaded(tmp_path, together(4.0, nets=2), *loops), "usual")

    assert rate["net_iterations_per_s"] == pytest.approx(50)
    assert rate["percent_of_floor"] == pytest.approx(100 * 5 / 40)


def test_ratios_are_taken_within_a_precision(tmp_path):
    """The usual loop is compared in fp32, the compiled one in bf16: 1,000 / 40 and 2,000 / 500."""
    ratios = loaded(tmp_path, *grid()).ratios

    assert ratios["loop"].tolist() == ["usual", "compiled"]
    assert ratios["ratio"].tolist() == pytest.approx([25, 4])
    assert ratios["target"].tolist() == [20, 5]


def test_a_loop_that_some_nets_lack_has_no_ratio(tmp_path):
    """The nets that were timed say nothing about the others."""
    found = loaded(tmp_path, together(), *each("usual", 25.0, "tf32")[:-1])

    assert found.ratios.empty
    assert found.rates["way"].tolist() == ["together"]
    assert len(found.cases) == 4


def test_other_benches_in_the_file_are_left_out(tmp_path):
    """A file may hold cases of other benches."""
    other = case() | {"fullname": "bench/bench_packing.py::bench_step[...]", "extra_info": {}}

    assert len(loaded(tmp_path, other, together()).cases) == 1


@pytest.mark.parametrize(
    ("changes", "judged"),
    [({}, True), ({"device": "NVIDIA H200"}, True), ({"rehearsal": True}, False), ({"device": "AMD EPYC"}, False)],
)
def test_targets_are_for_some_devices(tmp_path, changes, judged):
    """They are judged on an H100 or H200, and not in a rehearsal."""
    assert loaded(tmp_path, together(**changes)).judged is judged


OTHER = {  # than all other cases have
    "device": "another", "torch": "1.0", "rehearsal": True,
    "batch": 64, "width": 8, "image": "1x8x8", "dataset": "digits", "study_iterations": 10,
}  # fmt: skip


@pytest.mark.parametrize(
    ("benchmarks", "said"),
    [
        ([], "no timing of all nets together"),
        ([case()], "no timing of all nets together"),
        ([together(), together()], "a case stands there twice"),
        ([together(), case(way="frob")], "extra_info.way: input should be 'together'"),
        ([together(iterations=0)], "extra_info.iterations: input should be greater"),
        ([together(ms=-1.0)], "stats.median: input should be greater"),
        ([together(), case(depth=None)], "any other case is one net"),
        ([together(), case(depth=1e999)], "extra_info.depth: input should be a valid integer"),
        ([together(), case(depth=-3)], "extra_info.depth: input should be greater"),
        ([together(nets=7.5)], "extra_info.nets: input should be a valid integer"),
        ([together(rehearsal="false")], "extra_info.rehearsal: input should be a valid boolean"),
        ([together(evaluation_s=None)], "lack the time of an evaluation"),
        ([{"fullname": "bench_throughput.py::x", "stats": {}}], "extra_info: field required"),
        ([{"fullname": ["bench_throughput.py::"]}], "damaged.*fullname = "),
        ([together(), {"fullname": 5}], "damaged.*fullname = 5"),
        *(([together(), case(**{key: other})], f"{key}: not the same in all timings") for key, other in OTHER.items()),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path, benchmarks, said):
    """One line names the file, what is wrong, and how to write it anew."""
    with pytest.raises(InputError, match=said) as error:
        loaded(tmp_path, *benchmarks)

    assert str(tmp_path / "throughput.json") in str(error.value)
    assert "bench/gpu.sh throughput" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"benchmarks": 3}', "\xff"])
def test_a_damaged_file_is_refused(tmp_path, text):
    """What is not pytest-benchmark's is refused in one line."""
    path = tmp_path / "throughput.json"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(InputError, match="damaged, or not pytest-benchmark's"):
        numbers.BENCHES.load(path)


def test_timings_of_several_calls_are_kept_as_one(tmp_path):
    """Cases that were timed in two calls say what they would in one file; those of two devices are refused."""
    later = {"copy_gb_per_s": 1900.0, "commit": "fedcba987654"}
    parts = [each("compiled", 2.0, "bf16"), [together(2.0, "bf16", **later)], [together(device="another")]]
    files = []
    for i, part in enumerate(parts):
        (tmp_path / str(i)).mkdir()
        files.append(written(tmp_path / str(i), *part))

    found = numbers.BENCHES.load(benchmark_files.keep(benchmark_files.read(files[:2]), tmp_path / "new" / "kept.json"))

    assert found.ratios["ratio"].tolist() == [4.0]
    assert found.origin.commits == "0123456789ab; fedcba987654"
    with pytest.raises(InputError, match="device: not the same in all timings"):
        numbers.derive(benchmark_files.read(files))
