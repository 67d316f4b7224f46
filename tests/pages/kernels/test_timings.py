"""Timings of the fused operation: what is read, what became of the targets, and that anything can be drawn."""

from xml.etree import ElementTree as ET

import pytest

from deeptwins.pages.kernels import figures, timings
from kernel_timings_made import COPY, H100, three, timing, written


def loaded(folder, *benchmarks):
    """Timings, read back."""
    return timings.BENCHES.load(written(folder, *benchmarks))


def results(frame):
    """The column of results of the targets, and that of the least values."""
    table = timings.tables(frame)[0]
    return [row[1] for row in table.rows], [row[3] for row in table.rows]


def test_speed_ups_are_ratios_of_medians_within_a_setting(tmp_path):
    """Times of eager and compiled are divided by a row's own, never across shapes, directions, types or layouts."""
    others = [timing("eager", 1.0, direction="forward"), timing("eager", 2.0, dtype="fp32"), timing("eager", 3.0)]
    frame = loaded(tmp_path, *others[:2], *three(), timing("triton", 0.5, direction="forward"))

    assert frame["over_eager"].tolist() == pytest.approx([1.0, 1.0, 1.0, 1.5, 1.8, 2.0])
    assert frame["over_compiled"].isna().tolist() == [True, True, False, False, False, True]
    assert frame["over_compiled"].tolist()[2:5] == pytest.approx([1.2 / 1.8, 1.0, 1.2])


def test_bandwidth_is_effective(tmp_path):
    """Every implementation's bandwidth counts the bytes that the fused operation moves."""
    frame = loaded(tmp_path, *three())

    assert frame["gb_per_s"].tolist() == pytest.approx([0.95 * COPY / 1.8, 0.95 * COPY / 1.2, 0.95 * COPY])
    assert frame["percent_of_copy"].tolist() == pytest.approx([95 / 1.8, 95 / 1.2, 95])


def test_targets_are_met(tmp_path):
    """A target is met where every setting that it is about meets it."""
    frame = loaded(tmp_path, *three(), *three(join=False))

    assert results(frame) == (["✓ met"] * 6, ["95.00", "1.20", "1.80", "1.20", "1.80", "1.80"])


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"seconds": 1.06e-3}, [0, 1]),
        ({"seconds": 1.15e-3}, [0, 1, 2]),
        ({"seconds": 1.15e-3, "join": False}, [0, 3]),
        ({"seconds": 1.3e-3, "join": False}, [0, 3, 4]),
        ({"seconds": 1.9e-3, "dtype": "fp16"}, [0, 5]),
        ({"seconds": 1.9e-3, "direction": "forward"}, [0, 5]),
        ({"seconds": 1.9e-3, "nets": ["cifar-resnet-20"], "tensor_bytes": 4_194_304}, [5]),
    ],
)
def test_one_setting_is_enough_to_miss_a_target(tmp_path, changes, missed):
    """The worst setting decides: of bandwidth beyond the cache, of speed-ups in a step of ResNet-50 in bf16."""
    elsewhere = {key: value for key, value in changes.items() if key != "seconds"}
    odd = [timing("eager", **elsewhere), timing("compiled", **elsewhere), timing(**changes)]
    met = [*three(nets=["resnet-50", "resnet-18"]), *three(nets=["resnet-50", "resnet-18"], join=False)]
    frame = loaded(tmp_path, *met, *odd)

    assert [i for i, result in enumerate(results(frame)[0]) if result == "✗ missed"] == missed


@pytest.mark.parametrize(
    "benchmarks",
    [
        three(device="AMD EPYC", l2_bytes=None),
        three(device="NVIDIA A100-SXM4-80GB, 80 GiB"),
        [timing("eager"), timing("compiled")],
    ],
)
def test_targets_that_cannot_be_checked_are_not_printed(tmp_path, benchmarks):
    """On other machines, and without the Triton kernels, no target is met or missed, and there is no table of them."""
    captions = [table.caption for table in timings.tables(loaded(tmp_path, *benchmarks))]

    assert len(captions) == 3
    assert not any("Targets" in caption for caption in captions)


def test_targets_without_a_measurement_are_no_rows(tmp_path):
    """Of the targets those are printed that a timing is about."""
    table = timings.tables(loaded(tmp_path, *three(dtype="fp16")))[0]

    assert [row[0] for row in table.rows] == [
        "at least 90 % of a copy's bandwidth, tensors that exceed the L2 cache", "never slower than eager",
    ]  # fmt: skip


def test_tables_have_a_row_a_setting(tmp_path):
    """Implementations stand side by side, medians with quartiles; what all settings share stands in the caption."""
    targets, speedups, times, machine = timings.tables(loaded(tmp_path, *three(), timing("eager", dtype="fp32")))

    assert times.columns == ("dtype", "eager (µs)", "compiled (µs)", "triton (µs)")
    assert times.caption.endswith("All rows: resnet-50, join, 128x256x56x56, channels_last, forward+backward")
    assert [row[1:] for row in times.rows] == [
        ["1,800.0 (1,782.0 to 1,836.0)", "1,200.0 (1,188.0 to 1,224.0)", "1,000.0 (990.0 to 1,020.0)"],
        ["1,800.0 (1,782.0 to 1,836.0)", "-", "-"],
    ]
    assert [row[1:] for row in speedups.rows] == [
        ["1.50", "1.80", "1.20", "53", "79", "95"],
        ["-", "-", "-", "53", "-", "-"],
    ]
    for table in (targets, speedups, times, machine):
        assert {len(row) for row in table.rows} == {len(table.columns)}


@pytest.mark.parametrize(
    "benchmarks", [[timing("eager")], [timing("triton")], [timing("compiled"), timing("triton", dtype="fp16")]]
)
def test_what_was_not_measured_has_no_row_and_no_column(tmp_path, benchmarks):
    """No table has a row or a column of dashes alone."""
    for table in timings.tables(loaded(tmp_path, *benchmarks)):
        numbers = [row[table.words :] for row in table.rows]
        assert not any(row and {*row} == {"-"} for row in numbers), table.caption
        assert not any({*column} == {"-"} for column in zip(*numbers, strict=True)), table.caption


def test_another_library_stands_beside_ours_where_it_was_timed(tmp_path):
    """Ours is compared with apex in the settings that both were timed in; without apex nothing speaks of it."""
    apart = loaded(tmp_path, *three(dtype="fp16"), timing("apex", 0.8e-3, dtype="fp16"), *three())
    speedups = timings.tables(apart)[1]

    place = speedups.columns.index("triton, times as fast as apex")
    assert [row[place] for row in speedups.rows] == ["0.80", "-"]
    assert "apex, times as fast as eager" in speedups.columns
    assert "over_apex" not in loaded(tmp_path, *three())


GRID = [
    row
    for dtype in ("bf16", "fp32")
    for direction in timings.DIRECTIONS
    for join in (True, False)
    for size in range(7, 28)
    for row in three(dtype=dtype, direction=direction, join=join, shape=[128, 64, size, size], bytes=1e6 * size)
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "benchmarks",
    [
        GRID,
        [timing("eager"), timing("compiled"), timing("eager", join=False), timing("compiled", join=False)],
        [timing("eager")],
        [timing("triton")],
        [timing("eager"), timing("triton", 1e-6, dtype="fp32"), timing("eager", 1.0, dtype="fp32", join=False)],
    ],
)
def test_any_timings_can_be_drawn(tmp_path, benchmarks):
    """A grid of hundreds or one row, with eager or without: both figures are well-formed SVG."""
    frame = loaded(tmp_path, *benchmarks)

    for picture in (figures.roofline(frame), figures.speedups(frame)):
        assert ET.fromstring(picture.svg).tag.endswith("svg")  # noqa: S314 - our own


def test_the_figures_show_the_roof_and_the_line_at_one(tmp_path):
    """The device is the heading, the roof a copy's bandwidth; in a panel per kind of site eager is the line at 1."""
    frame = loaded(tmp_path, *three(), *three(join=False))

    pictures = figures.roofline(frame), figures.speedups(frame)
    assert [picture.figure.legends[0].get_title().get_text() for picture in pictures] == [f"Measured on {H100}"] * 2
    (roof,) = pictures[0].figure.axes
    assert roof.lines[0].get_ydata() == [COPY, COPY]
    panels = pictures[1].figure.axes
    assert [ax.get_title("left") for ax in panels] == ["join, bf16, channels_last", "no join, bf16, channels_last"]
    for ax in panels:
        assert ax.lines[0].get_xdata() == [1, 1]
        assert sorted(x for dots in ax.collections for x, _ in dots.get_offsets()) == pytest.approx([1.5, 1.8])
