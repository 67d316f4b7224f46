"""What the gate takes from files of pytest-benchmark, and what it gives to other tools."""

import copy
import csv
import io
import json
import math
import statistics
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gate_made as made
from deeptwins.errors import InputError
from deeptwins.gate import runs
from deeptwins.gate.formats import pytest_files
from deeptwins.gate.formats.exchange import FORMATS, export
from deeptwins.gate.formats.imports import imported
from deeptwins.gate.judge.conclusion import conclude
from deeptwins.gate.judge.verdict import PAIRS_TO_HALVE
from deeptwins.gate.runs import Environment, Git, TimedBlock
from import_rates import found
from refusals import refused

BASE, HEAD = "a" * 40, "b" * 40
SUM, SORT = "tests/test_speed.py::test_sum[10]", "tests/test_speed.py::test_sort"


def document(cases, minute=0, commit=None, **machine):
    """What pytest-benchmark writes of some cases: seconds of rounds, by name."""
    return {
        "machine_info": {
            "node": "host",
            "machine": "x86_64",
            "system": "Linux",
            "release": "6.1",
            "python_version": "3.11.7",
            "cpu": {"brand_raw": "Some CPU", "count": 2},
        }
        | machine,
        "commit_info": {"id": commit or "unversioned", "dirty": False, "project": "p", "branch": "(unknown)"},
        "benchmarks": [
            {
                "group": None,
                "name": name.rpartition("::")[2],
                "fullname": name,
                "extra_info": {},
                "stats": {"median": statistics.median(data), "rounds": len(data), "iterations": 5, "data": data},
            }
            for name, data in cases.items()
        ],
        "datetime": f"2026-02-03T04:{minute:02}:06.700000+00:00",
        "version": "5.3.1",
    }


@pytest.fixture
def files(tmp_path):
    """Return a function that writes documents, and returns their paths."""

    def written(arm, *documents):
        paths = [tmp_path / f"{arm}-{number}.json" for number in range(len(documents))]
        for path, content in zip(paths, documents, strict=True):
            path.write_text(json.dumps(content), encoding="utf-8")
        return paths

    return written


def one(files, base, head):
    """Import a pair of documents."""
    return imported(files("base", base), files("head", head))


def complaint(files, base, head):
    """Say why a pair of lists of documents is refused."""
    return refused(imported, files("base", *base), files("head", *head))


def test_a_pair_of_files_is_a_pair_of_processes(files):
    """A benchmark's log ratio is that of the medians of its rounds, of each pair; the order is that of the files."""
    base = [document({SUM: [1.0, 2.0, 9.0], SORT: [1.0]}, 0), document({SUM: [3.0], SORT: [1.0]}, 3)]
    head = [document({SUM: [4.0, 3.0, 5.0], SORT: [1.0]}, 1), document({SUM: [3.0], SORT: [2.0]}, 2)]
    run = imported(files("base", *base), files("head", *head))

    assert (run.kind, run.started, run.seconds, run.design.pairs) == ("imported", "2026-02-03T04:00:06Z", 180.0, 2)
    assert [benchmark.id for benchmark in run.benchmarks] == [SUM, SORT]
    log_ratios = [[block.log_ratio for pair in benchmark.pairs for block in pair] for benchmark in run.benchmarks]
    assert log_ratios[0] == pytest.approx([math.log(2), 0])
    assert log_ratios[1] == pytest.approx([0, math.log(2)])
    assert [pair[0].order for pair in run.benchmarks[0].pairs] == ["AB", "BA"]
    assert run.environment.facts["order"] == "ABBA"
    assert {benchmark.status for benchmark in run.benchmarks} == {"ok"}


def test_without_rounds_the_median_is_taken(files):
    """A file that was saved without its data has a median all the same."""
    base = document({SUM: [1.0, 2.0, 9.0]})
    del base["benchmarks"][0]["stats"]["data"]

    assert one(files, base, document({SUM: [4.0]}, 1)).benchmarks[0].pairs[0][0].seconds == (2.0, 4.0)


def test_what_it_was_measured_on(files):
    """Machine and commits come from the files."""
    run = one(files, document({SUM: [1.0]}, 0, BASE), document({SUM: [1.0]}, 1, HEAD))

    assert run.environment.machine == "Some CPU, 2 cores, Python 3.11.7"
    assert run.environment.facts["node"] == "host"
    assert (run.git.base, run.git.head, run.git.dirty) == (BASE, HEAD, False)


def test_pairs_may_come_from_several_machines_of_one_kind(files):
    """Each pair from its own machine: what differs between them leaves the ratio."""
    pairs = [[document({SUM: [1.0]}, 2 * i + j, node=f"host {i}") for i in (0, 1)] for j in (0, 1)]
    run = imported(files("base", *pairs[0]), files("head", *pairs[1]))

    assert len(run.benchmarks[0].pairs) == 2
    assert run.environment.facts["node"] == "host 0; host 1"


def test_two_versions_of_python_are_both_told(files):
    """A suite may be compared between versions of Python."""
    run = one(files, document({SUM: [1.0]}), document({SUM: [1.0]}, 1, python_version="3.12.1"))

    assert run.environment.machine == "Some CPU, 2 cores, Python base 3.11.7, head 3.12.1"


def test_without_a_commit_files_are_named(tmp_path):
    """By as much of their paths as tells them apart, and no more."""
    paths = [tmp_path / arm / "1.json" for arm in ("old", "new")]
    for minute, path in enumerate(paths):
        path.parent.mkdir()
        path.write_text(json.dumps(document({SUM: [1.0]}, minute)), encoding="utf-8")
    run = imported(paths[:1], paths[1:])

    assert (run.git.base, run.git.head) == ("old/1.json", "new/1.json")


def test_a_benchmark_of_one_side_is_kept_with_the_reason(files):
    """Nothing leaves the comparison unsaid: not a benchmark of one arm, nor one that some pairs lack."""
    base = [document({SUM: [1.0], SORT: [1.0]}), document({SORT: [1.0]}, 2)]
    head = [document({SORT: [1.0], "new": [1.0]}, 1), document({"new": [1.0], SUM: [1.0]}, 3)]
    by_id = {one.id: one for one in imported(files("base", *base), files("head", *head)).benchmarks}

    assert (by_id["new"].status, by_id["new"].reason, by_id["new"].pairs) == ("skipped", "not in base", ())
    assert (by_id[SORT].status, by_id[SORT].reason, len(by_id[SORT].pairs)) == ("unfinished", "not in head-1.json", 1)
    assert (by_id[SUM].status, by_id[SUM].reason) == ("skipped", "not in head-0.json, base-1.json")


@pytest.mark.parametrize(
    ("pairs", "times", "code", "says"),
    [
        (10, 10.0, 1, "Slower: tests/test_speed.py::test_sum[10] by 90"),
        (PAIRS_TO_HALVE, 10.0, 1, "Slower: "),
        (
            PAIRS_TO_HALVE - 1,
            10.0,
            3,
            "and no second was taken; 5 pairs of files, where 6 are needed",
        ),
        (1, 10.0, 3, "900.0 % slower (no interval); 1 pair of files, where 6 are needed."),
        (10, 1.0, 0, "No slowdown: 1 benchmark within 3 %"),
        (10, 0.1, 0, "Faster: "),
    ],
)
def test_the_pairs_confirm_themselves(files, pairs, times, code, says):
    """Enough pairs are two batches, the second of which confirms; with fewer, the number that is needed is said."""
    noise = [1 + 0.002 * (7 * i % 10) for i in range(pairs)]
    base = [document({SUM: [share]}, 2 * i) for i, share in enumerate(noise)]
    head = [document({SUM: [times * share]}, 2 * i + 1) for i, share in enumerate(reversed(noise))]
    run = imported(files("base", *base), files("head", *head))
    conclusion = conclude(run)

    assert conclusion.code == code
    assert says in " ".join((conclusion.answer, *conclusion.lines))
    (one,) = run.benchmarks
    assert len(one.pairs) + len(one.confirmation) == pairs
    assert abs(len(one.pairs) - len(one.confirmation)) <= 1 or not one.confirmation


def test_the_rates_of_an_import_are_simulated():
    """No difference is never called slower here, a large one always: the table of the documents is made by these."""
    assert found(0.0, 0.01, 6, 5) == 0
    assert found(0.3, 0.01, 6, 5) == 5


def test_an_imported_run_is_kept_like_any_other(files, tmp_path):
    """It is written, and read again, under a name that its content gives."""
    base, head = document({SUM: [0.1, 0.2]}), document({SUM: [0.3]}, 1)
    run = one(files, base, head)

    assert runs.read(runs.write(tmp_path, run)) == run
    assert one(files, base, head) == run
    assert one(files, base, document({SUM: [0.4]}, 1)).id != run.id


def changed(minute=1, commit=None, name=SUM, **stats):
    """A document whose only case has other statistics."""
    content = document({name: [1.0]}, minute, commit)
    content["benchmarks"][0]["stats"] |= stats
    return content


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (document({SUM: [1.0]}, 1, node="other"), "node host and other: base and head on two machines do not compare"),
        (document({SUM: [1.0]}, 1, cpu={"brand_raw": "Other", "count": 2}), "cpu Some CPU and Other: all must"),
        (document({SUM: [1.0]}, 1, cpu={"brand_raw": "Some CPU", "count": 4}), "cores 2 and 4: all must"),
        (
            document({SUM: [1.0]}, 1, system="Darwin"),
            "os Linux 6.1 and Darwin 6.1: base and head on two systems do not compare",
        ),
        (document({SUM: [1.0]}), "base-0.json and head-0.json: the same content"),
        (document({}), None),
        (changed(data=[0.0]), "its median is 0 s"),
        (changed(data=[-1.0]), "stats.data.0: input should be greater than or equal to 0"),
        (changed(median=0, data=[]), "stats.median: input should be greater than 0"),
        (changed(median="1"), "stats.median: input should be a valid number"),
        (changed(rounds=0), "stats.rounds: input should be greater"),
        (changed(data=[math.nan]), "stats.data.0: input should be a finite number"),
        (changed() | {"benchmarks": 2 * changed()["benchmarks"]}, f"{SUM}: stands there twice"),
        (changed() | {"datetime": "yesterday"}, "datetime: 'yesterday' is none"),
        (changed() | {"datetime": "0001-01-01T00:00:00+23:00"}, "datetime: '0001-01-01"),
        ({"benchmarks": []}, "datetime: field required"),
        ([changed()], "damaged, or not pytest-benchmark's"),
        ({}, "damaged, or not pytest-benchmark's"),
    ],
)
def test_files_that_make_no_sense_are_refused(files, head, says):
    """One line says which file, and what is wrong with it."""
    base = document({SUM: [1.0]})
    if says is None:  # nothing in either
        base, says = document({}, 1), "no benchmark in them; write it with `pytest --benchmark-json=FILE`"

    told = complaint(files, [base], [head])

    assert says in told
    assert "head-0.json" in told


def test_arms_that_make_no_pairs_are_refused(files, tmp_path):
    """Every file has its counterpart, an arm is one commit, and no file stands for two."""
    one, two = document({SUM: [1.0]}, 0, BASE), document({SUM: [1.0]}, 1, HEAD)

    assert "2 files of base and 1 of head: give as many" in complaint(files, [one, two], [one])
    assert "0 files of base and 0 of head" in complaint(files, [], [])
    assert "of two commits" in complaint(files, [one, two], [document({SUM: [1.0]}, m, HEAD) for m in (2, 3)])
    assert "the same content" in complaint(files, [one, one], [two, document({SUM: [1.0]}, 3, HEAD)])
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        imported([tmp_path / "none.json"], files("head", one))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for examples, each of which overwrites the last."""
    return tmp_path_factory.mktemp("damaged")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    *([key] for key in document({})),
    *(["machine_info", key] for key in document({})["machine_info"]),
    *(["machine_info", "cpu", key] for key in ("brand_raw", "count")),
    *(["commit_info", key] for key in ("id", "dirty")),
    ["benchmarks", 0],
    *(["benchmarks", 0, key] for key in ("fullname", "stats")),
    *(["benchmarks", 0, "stats", key] for key in ("median", "rounds", "iterations", "data")),
]


@given(place=st.sampled_from(PLACES), value=JSON)
def test_whatever_is_damaged_is_refused_in_one_line(folder, place, value):
    """Any value at any place of a file gives a run or one line, and no other error."""
    content = document({SUM: [1.0, 2.0]}, 1)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    base, head = folder / "base.json", folder / "head.json"
    base.write_text(json.dumps(document({SUM: [1.0]})), encoding="utf-8")
    head.write_text(json.dumps(content), encoding="utf-8")
    try:
        run = imported([base], [head])
    except InputError as error:
        message = str(error)
    else:
        message = "a run"
        assert runs.Run.model_validate_json(run.model_dump_json(by_alias=True)) == run
    assert "\n" not in message


# To other tools.

STEP, FRAMES = "bench/bench_gate.py::bench_step[plain-56]", "bench/bench_gate.py::bench_frames"
FACTS = {"cpu": "Some CPU", "cores": 2, "os": "Linux 6.1", "python": "3.11.7", "node": "host"}
EXACT = {
    "kernel[fp16, sm_90]": {"registers": (32, 40), "opcodes_sha256": ("aa", "bb"), "vector_share": (1.0, 0.5)},
    "new kernel": {"registers": (None, 16)},
}


@pytest.fixture
def run():
    """A run with a slowdown by e^0.1, a benchmark as fast as before whose first block is rejected, one that failed."""
    return made.run(
        made.benchmark(STEP, 0.1, confirmation=0.1),
        made.benchmark(FRAMES, rejected=1),
        made.benchmark("gone", changes={"status": "failed", "reason": "it raised", "pairs": ()}),
        git=Git(head=HEAD, base=BASE, suite="c" * 64),
        environment=Environment(machine="Some CPU, 2 cores", facts=FACTS),
        exact=EXACT,
    )


def times(run):
    """The medians of each arm of the benchmarks that were measured, by the definition itself."""
    medians = {}
    for benchmark in run.benchmarks:
        blocks = [
            block for pair in (*benchmark.pairs, *benchmark.confirmation) for block in pair if block.rejected is None
        ]
        for letter in "AB":
            taken = [
                s for block in blocks for s, mark in zip(block.seconds, block.order, strict=True) if mark == letter
            ]
            if taken and benchmark.status == "ok":
                medians[benchmark.id, letter] = runs.rounded(statistics.median(taken))
    return medians


@pytest.mark.parametrize("to", FORMATS)
def test_the_same_run_gives_the_same_bytes(run, to):
    """Nothing but the run is in a file: no clock, and no order of a set."""
    assert export(run, to) == export(copy.deepcopy(run), to)
    assert all(text.endswith("\n") for text in export(run, to).values())


def test_an_export_is_imported_again(run, tmp_path):
    """Files of pytest-benchmark bring back the same benchmarks, times, commits and machine."""
    for name, text in export(run, "pytest-benchmark").items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    again = imported([tmp_path / "base.json"], [tmp_path / "head.json"])

    assert times(again) == times(run)
    assert {key[0] for key in times(again)} == {STEP, FRAMES}
    assert (again.git.base, again.git.head) == (BASE, HEAD)
    assert again.environment.machine == "Some CPU, 2 cores, Python 3.11.7"


def test_what_is_rejected_counts_nowhere(run):
    """A rejected block is in no median: one that is a thousand times as slow changes none."""
    slow = run.benchmarks[1].pairs
    first = TimedBlock(order=slow[0][0].order, seconds=(50.0,) * 4, rejected="steal time")
    changed = run.benchmarks[1].model_copy(update={"pairs": ((first, *slow[0][1:]), *slow[1:])})
    other = run.model_copy(update={"benchmarks": (run.benchmarks[0], changed, run.benchmarks[2])})

    for to in ("pytest-benchmark", "asv", "github-action-benchmark"):
        assert export(other, to) == export(run, to)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30))
def test_statistics_are_those_of_pytest_benchmark(data):
    """Every field that it writes has the value that it computes."""
    theirs = pytest.importorskip("pytest_benchmark.stats").Stats()
    for seconds in data:
        theirs.update(seconds)

    ours = pytest_files.stats(data)
    assert ours.pop("data") == data
    assert ours.pop("outliers") == theirs.outliers
    assert ours == pytest.approx({field: getattr(theirs, field) for field in ours}, rel=1e-9, abs=1e-12)
    assert {*ours, "outliers"} == {*theirs.fields}


def test_pytest_benchmark_compares_the_files(run, tmp_path, monkeypatch, capsys):
    """Its own command reads them, and shows both arms of each benchmark."""
    cli = pytest.importorskip("pytest_benchmark.cli")
    for name, text in export(run, "pytest-benchmark").items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest-benchmark", "compare", "base.json", "head.json", "--csv=out.csv"])
    cli.main()
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert "Failed to load" not in capsys.readouterr().err
    assert sorted(row["name"] for row in rows) == sorted(2 * [STEP, FRAMES])
    assert sorted(runs.rounded(float(row["median"])) for row in rows) == sorted(times(run).values())


def table(text):
    """Rows of CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_all(run):
    """A row a benchmark, with what became of it; a row a segment; a row a number."""
    files = export(run, "csv")
    rows = {row["id"]: row for row in table(files["benchmarks.csv"])}
    segments = table(files["segments.csv"])

    assert list(rows) == [STEP, FRAMES, "gone"]
    assert float(rows[STEP]["ratio"]) == pytest.approx(math.exp(0.1), abs=0.02)
    assert float(rows[STEP]["low"]) < float(rows[STEP]["ratio"]) < float(rows[STEP]["high"])
    assert (rows[STEP]["verdict"], rows[FRAMES]["rejected"]) == ("regressed", "1")
    assert (rows["gone"]["status"], rows["gone"]["status_reason"], rows["gone"]["head_s"]) == (
        "failed",
        "it raised",
        "",
    )
    assert len(segments) == (2 + 1) * 5 * 4 * 4
    assert [row["rejected"] for row in segments if row["id"] == FRAMES].count("steal time") == 4
    assert {row["batch"] for row in segments if row["id"] == STEP} == {"first", "confirmation"}
    assert table(files["exact.csv"])[0] == {
        "subject": "kernel[fp16, sm_90]", "metric": "registers", "base": "32", "head": "40"
    }  # fmt: skip


def test_asv_gets_each_arm_at_its_commit(run):
    """Results, machine and benchmarks are in asv's formats, times under `time_`, numbers under `track_`."""
    files = {name: json.loads(text) for name, text in export(run, "asv").items()}
    folder, environment = "results/Some-CPU-2-cores", "deeptwins-py3.11.7"
    benchmarks = files["results/benchmarks.json"]

    assert set(files) == {
        "results/benchmarks.json",
        f"{folder}/machine.json",
        *(f"{folder}/{commit[:8]}-{environment}.json" for commit in (BASE, HEAD)),
    }
    assert files[f"{folder}/machine.json"]["machine"] == "Some-CPU-2-cores"
    assert benchmarks.pop("version") == 2
    assert {name: described["type"] for name, described in benchmarks.items()} == {
        "bench/bench_gate.time_bench_step[plain-56]": "time",
        "bench/bench_gate.time_bench_frames": "time",
        "kernel[fp16, sm_90].track_registers": "track",  # not the share of wide loads: the larger, the better
        "new kernel.track_registers": "track",
    }
    for commit, letter, registers in ((BASE, "A", 32), (HEAD, "B", 40)):
        content = files[f"{folder}/{commit[:8]}-{environment}.json"]
        rows = {
            name: dict(zip(content["result_columns"], row, strict=True)) for name, row in content["results"].items()
        }
        step = rows["bench/bench_gate.time_bench_step[plain-56]"]
        assert (content["version"], content["commit_hash"], content["params"]["machine"]) == (2, commit, folder[8:])
        assert runs.rounded(step["result"][0]) == times(run)[STEP, letter]
        ends = [step[f"stats_{key}"][0] for key in ("ci_99_a", "ci_99_b", "q_25", "q_75")]
        assert ends[0] < step["result"][0] < ends[1]
        assert ends[2] < step["result"][0] < ends[3]
        assert len(step["samples"][0]) == step["stats_repeat"][0] == 80
        assert rows["kernel[fp16, sm_90].track_registers"]["result"] == [registers]
        assert ("new kernel.track_registers" in rows) == (commit == HEAD)
        assert {name: row["version"] for name, row in rows.items()}.items() <= {
            name: described["version"] for name, described in benchmarks.items()
        }.items()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"git": Git(head="new.json", base=BASE)}, "its head is of no commit, new.json; asv files results by commit"),
        ({"git": Git(head=HEAD, base="old.json")}, "its base is of no commit, old.json"),
        ({"git": Git(head=HEAD, base=BASE, dirty=True)}, "its head has changes that are not committed"),
        ({"kind": "slower", "added": {"a": 0.1}}, "its head was made worse on purpose"),
    ],
)
def test_asv_gets_nothing_under_a_commit_that_it_is_not_of(run, changes, says):
    """Times of files without a commit, of a changed checkout or of a self-test would stand there for a commit's."""
    with pytest.raises(InputError, match=says):
        export(run.model_copy(update=changes), "asv")


def test_a_commit_against_itself_is_one_file_of_asv(run):
    """Both arms would have its name."""
    names = export(run.model_copy(update={"git": Git(head=HEAD, base=HEAD)}), "asv")

    assert sum(HEAD[:8] in name for name in names) == 1


def test_github_action_benchmark_gets_times_and_numbers(run):
    """Each has a value that is better when smaller; times also how sure they are, and the ratio to base."""
    entries = {
        entry["name"]: entry
        for entry in json.loads(export(run, "github-action-benchmark")["github-action-benchmark.json"])
    }

    assert set(entries) == {STEP, FRAMES, "kernel[fp16, sm_90] registers", "new kernel registers"}
    assert entries[STEP]["unit"] == "ms"
    assert entries[STEP]["value"] == pytest.approx(1e3 * times(run)[STEP, "B"], rel=1e-5)
    assert entries[STEP]["range"].startswith("± ")
    assert "times base, 95 % interval" in entries[STEP]["extra"]
    assert "regressed" in entries[STEP]["extra"]
    assert entries["kernel[fp16, sm_90] registers"]["value"] == 40
    assert entries["kernel[fp16, sm_90] registers"]["extra"] == "base 32"


def test_a_single_pair_has_no_range(run):
    """One pair tells no interval, so that none is given."""
    alone = made.run(made.benchmark(STEP, pairs=1), git=run.git)
    (entry,) = json.loads(export(alone, "github-action-benchmark")["github-action-benchmark.json"])
    (row,) = table(export(alone, "csv")["benchmarks.csv"])

    assert "range" not in entry
    assert (row["low"], row["high"]) == ("", "")
    assert row["ratio"]


def test_a_run_without_a_measurement_is_not_exported(run):
    """But to CSV, which says what became of it."""
    nothing = run.model_copy(update={"benchmarks": run.benchmarks[2:], "exact": {}})

    for to in set(FORMATS) - {"csv"}:
        with pytest.raises(InputError, match="no benchmark in it was measured to the end"):
            export(nothing, to)
    assert len(table(export(nothing, "csv")["benchmarks.csv"])) == 1
