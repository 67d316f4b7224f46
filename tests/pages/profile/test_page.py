"""The page of a profile: it says what the record says, in the same bytes each time, readable to all."""

import re

import pandas as pd
import pytest

from deeptwins.pages.page import write
from deeptwins.pages.profile import figures, frames, tables
from deeptwins.pages.profile.page import PAGE
from deeptwins.records import profiles
from deeptwins.records import tables as record_tables
from profiles_made import NETS, made, op, ops, step
from reading import html, markdown, rows, titles


def written(folder, profile):
    """Write a record and its page."""
    path = profiles.path_of(folder / "results", profile.name)
    record_tables.write(path, profile)
    return write(PAGE, folder / "reports", path)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The page of two nets on a CPU."""
    return written(tmp_path_factory.mktemp("usual"), made())


def test_the_verdict(usual):
    """Which work takes most of the slowest net's time; then the time, the device and the roofline; each net's time."""
    answer, evidence = usual.lines

    assert answer == (
        "Mostly into convolution: 75 % of the operations' time in cifar-resnet-8, then normalization with 15 %."
    )
    assert evidence == (
        "A step of cifar-resnet-8 (16 images of 3x32x32, fp32) takes 125 ms on Some CPU (1 thread). Its roofline is"
        " 20.0 ms: it reaches 16 % of the roofline."
    )
    text = markdown(usual)
    assert "- cifar-resnet-8: **125 ms**, per step, 16 % of the roofline\n- cifar-plain-8: **100 ms**" in text


def test_the_code_of_parts_of_ones_own_is_named(tmp_path):
    """The table of provenance says which code a part of one's own was, with what is known of it."""
    part = {"package": "mypkg", "version": "1.2", "sha256": "1" * 64, "commit": None}

    text = markdown(written(tmp_path, made(parts={"mypkg.a:one": part})))

    assert "code of mypkg.a:one|version 1.2, source 111111111111" in rows(text)


@pytest.mark.parametrize(
    ("load", "cores", "told"), [(1.01, 2, True), (1.0, 2, False), (5.0, 64, False), (None, 2, False)]
)
def test_a_busy_machine_is_told(tmp_path, load, cores, told):
    """Where more than half of the cores had other work, the first line says that times may be too long."""
    done = written(tmp_path, made(machine=made().machine | {"load": load, "cores": cores}))

    assert done.lines[0].startswith("This machine was busy (load ") is told
    assert ("times may be too long" in markdown(done)) is told


def test_a_step_that_beats_its_roofline_has_none(tmp_path):
    """A roofline measured on a busy machine is told as that: no share, column, line or value of it is on the page."""
    fast = written(tmp_path, made(nets=(step(step_us=19_000.0), step(NETS[1]))))
    text = markdown(fast)

    assert fast.lines[0].startswith(
        "The roofline is left out: a step of cifar-plain-8 took 19.0 ms, less than its roofline of 20.0 ms, which no"
        " step can. The machine was busy while the roofline was measured"
    )
    assert not re.search(r"\d % of the roofline", text)
    assert not [row for row in rows(text) if row.startswith("net|") and "roofline" in row]
    assert not any("roofline" in title for title in titles(html(fast)))
    for file in ("steps", "kinds", "layers", "ops"):
        assert pd.read_csv(fast.page.parent / "data" / f"{file}.csv")["roofline_us"].isna().all()


def test_work_that_beats_its_roofline_gets_no_number(tmp_path):
    """Data in a cache is faster than memory: that is said, and no share of more than 100 % is printed."""
    cached = [*ops(), op("bn", "forward", "ReLU", "relu", 1000.0, roofline_us=3880.0)]
    done = written(tmp_path, made(nets=(step(),), ops=tuple(cached), kernels=()))
    text = markdown(done)

    assert next(row for row in rows(text) if row.startswith("ReLU|")).endswith(r"|\> 100 %")
    assert r"cifar-plain-8, by kind of work; \> 100 %: data in a cache, or a roofline measured too low" in text
    assert not re.search(r"[2-9]\d\d %", text)


def test_many_nets_are_told_by_their_ends(tmp_path):
    """Of more nets than stand beside the answer, the fastest and the slowest are named."""
    names = [f"net-{i}" for i in range(5)]
    nets = tuple(step(name, step_us=1000.0 * (i + 100)) for i, name in enumerate(names))
    done = written(
        tmp_path, made(name="five", nets=nets, ops=tuple(row for name in names for row in ops(name)), kernels=())
    )

    assert done.lines[-1] == "The steps of 5 nets take 100 ms (net-0) to 104 ms (net-4)."


def test_the_tables_say_what_the_record_says(usual):
    """Whole steps, kinds of work, layers and kernels, with time, share, bytes, FLOPs and roofline."""
    text = markdown(usual)
    found = rows(text)

    assert "cifar-plain-8|100|90.0 to 120|150|80.0|20.0|20 %" in found
    assert "cifar-plain-8|15|150|40.0|4.00|12.0" in found
    assert "convolution|60.0|75 %|6|60.0|12.0|15.0|25 %" in found
    assert "normalization|12.0|15 %|2|20.0|0|3.00|25 %" in found
    assert "stem|6.00|18.0|24.0|30 %|4|40.0|4.00|6.00|25 %" in found
    assert "stage 1, block 1, layer 2|11.0|20.0|31.0|39 %|4|40.0|4.00|7.75|25 %" in found
    assert "optimizer|-|-|3.00|4 %|1|10.0|0|0.75|25 %" in found
    assert r"convolution\_backward|convolution|3|40.0|67 %" in found
    assert "deeptwins profile cifar-plain-8 cifar-resnet-8 --batch 16" in text
    for told in (
        "Some CPU",
        "0123456789ab",
        "10.0 GB/s",
        "60.0 GFLOP/s in fp32",
        "2026-01-02",
        "80 %",
        "random images",
    ):
        assert told in text


def test_layers_stand_in_the_order_of_the_net(usual):
    """From the stem to the linear map, whatever runs first, then the parts that are no layer."""
    table = pd.read_csv(usual.page.parent / "data" / "layers.csv")

    assert list(table.loc[table["net"] == NETS[0], "place"]) == [
        "stem", "stage 1, block 1, layer 1", "stage 1, block 1, layer 2", "linear map",
        "batch", "loss and sums", "optimizer",
    ]  # fmt: skip
    assert table["time_us"].sum() == pytest.approx(160_000)


def test_a_block_is_no_other_nets():
    """What is in a block but in none of its layers counts at its last one, which is the third in a bottleneck."""
    more = [op(f"stages.0.0.conv{i}", "forward", "convolution", "convolution", 10.0, net=NETS[1]) for i in (1, 3)]
    join = op("stages.0.0.join", "forward", "addition", "add", 700.0, net=NETS[1])
    table = frames.ops(made(ops=(*ops(), *more, join)))

    assert list(table["place"])[6] == "stage 1, block 1, layer 2"
    assert list(table["place"])[-1] == "stage 1, block 1, layer 3"


def test_pictures_say_in_words_what_they_show(usual):
    """Their titles have the numbers; each net has its tables."""
    kinds, layers = titles(html(usual))

    assert "cifar-plain-8: convolution 60.0 ms, normalization 12.0 ms" in kinds
    assert "step 100 ms, roofline 20.0 ms" in kinds
    assert "cifar-resnet-8: forward 24.0 ms and backward 51.0 ms, the longest stage 1, block 1, layer 2" in layers
    assert html(usual).count("<table") == 9


@pytest.mark.parametrize("step_ms", [50, 100])
def test_a_bar_is_as_long_as_its_step(step_ms):
    """Ops of 80 ms leave 20 of a step of 100, and share one of 50, of which convolutions take three quarters."""
    profile = made(nets=(step(step_us=1000.0 * step_ms),), ops=tuple(ops()), kernels=())
    table = frames.ops(profile)

    picture = figures.kinds(frames.steps(profile, table), frames.kinds(table))

    (ax,) = picture.figure.axes
    widths = [bar.get_width() for bar in ax.patches]
    assert max(bar.get_x() + bar.get_width() for bar in ax.patches) == pytest.approx(step_ms)
    assert widths[0] == pytest.approx(min(60, 0.75 * step_ms))
    assert widths[-1] == pytest.approx(max(0, step_ms - 80))
    assert [text.get_text() for text in ax.texts] == [f"{step_ms:.{step_ms < 100:d}f}"]


def test_many_nets(tmp_path):
    """Of many nets all have a bar and a row; layers and kernels are those of the two slowest."""
    names = [f"cifar-{depth} plain" for depth in (8, 14, 20, 26)]
    nets = [step(name, step_us=1000.0 * (i + 100)) for i, name in enumerate(names)]
    profile = made(name="depths", nets=tuple(nets), ops=tuple(row for name in names for row in ops(name)), kernels=())

    text = html(written(tmp_path, profile))

    assert "Where does the time of a training step go? The 4 nets of depths" in text
    captions = re.findall(r"<caption><span>([^<]*), by layer", text)
    assert captions == names[2:]
    assert all(name in titles(text)[0] for name in names)


def test_on_a_gpu(tmp_path):
    """The GPU is named, and which step is replayed and which is profiled; C++ names of kernels are cut short."""
    gpu = made().machine | {"device": "cuda", "gpu": "Some GPU, 80 GiB"}
    name = "void at::native::vectorized_elementwise_kernel<4, at::native::Add<float>>(int, float)"
    kernels = tuple(kernel.model_copy(update={"kernel": name}) for kernel in made().kernels)

    nets = tuple(net.model_copy(update={"issued_us": 2 * net.step_us}) for net in made().nets)

    done = written(tmp_path, made(machine=gpu, kernels=kernels, nets=nets))

    assert "takes 125 ms on Some GPU, 80 GiB." in done.lines[1]
    text = html(done)
    assert "add up to 64" in text
    assert "the same step launched kernel by kernel" in text
    steps = pd.read_csv(done.page.parent / "data" / "steps.csv")
    assert steps["issued_us"].tolist() == [200_000, 250_000]
    assert "cifar-plain-8|100|90.0 to 120|200|150|80.0|20.0|20 %" in rows(markdown(done))
    assert ">at::native::vectorized_elementwise_kernel<" in text.replace("<wbr>", "")


def test_a_terminal_gets_the_same_tables(usual):
    """Steps, what they move, then by net kinds of work and layers."""
    shown = usual.tables

    assert [table.caption for table in shown[2:]] == [
        f"{net}, by {what}" for net in NETS for what in ("kind of work", "layer, in order")
    ]
    assert shown[0].rows[0] == ["cifar-plain-8", "100", "80.0", "20.0", "20 %"]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.0001, "<0.001"), (0.25, "0.25"), (1.5, "1.50"), (12.34, "12.3"), (4321, "4,321")]
)
def test_amounts_have_three_digits(value, text):
    """Numbers are as long as they are certain."""
    assert tables.amount(value) == text
