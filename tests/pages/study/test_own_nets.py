"""Pages of nets of one's own: made from records alone, and silent on what is unknown."""

import pytest

import made
from deeptwins.findings import frames
from deeptwins.pages.page import write
from deeptwins.pages.study.page import PAGE
from reading import html

TWINS = 'plain = { options = { skip = false } }\nresidual = { options = { name = "<b>" } }'
GRID = '[[vary]]\nfamily = "nowhere.nets:make"\ndepth = [2, 4]\nseed = [0, 1, 2]\n'
CHILDREN = [{"name": "body", "kind": "2 <i>Block", "output": [8, 4, 4], "parameters": 10}]


def recorded(folder, twins=TWINS, grid=GRID, *, layers=True):
    """Make the records of a study of nets whose package is not there."""
    asked = made.small(folder, twins, grid)
    for run in asked.runs:
        first, *lines = made.records(run, lambda run, twin: 5.0 + run.seed + len(twin))
        for twin, net in run.twins.items():
            if net.is_own:
                first["twins"][twin] |= {"children": CHILDREN, "redrawn": ["a", "b"]}
        inside = made.inside(run) if layers else []
        *lines, end = [line for line in lines if line["kind"] != "layer"]
        made.write(folder / "results", run, [first, *lines, *inside, end])
    return asked, folder / "results"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of such a study."""
    folder = tmp_path_factory.mktemp("own")
    return write(PAGE, folder / "reports", *recorded(folder))


def test_a_page_needs_no_code_of_the_nets(written):
    """The package of the nets is nowhere: the page has their errors, layers, parts and options all the same."""
    text = html(written)

    assert "nowhere.nets:make" in text
    assert 'plain: skip = false; residual: name = "&lt;b&gt;"' in text.replace("&quot;", '"').replace("&#34;", '"')
    assert "2 parameters and buffers" in text
    assert "each convolution and linear map, after the norm that takes its output" in text
    assert "body" in text
    assert "<i>Block" not in text


def test_a_page_says_nothing_of_what_is_unknown(written):
    """Which shortcuts a net of one's own has is not known: no table and no sentence names any, nor a stem."""
    text = html(written)

    for word in ("shortcut", "block_order", "norm_batch", "survival", "fused_op", "stem"):
        assert f"<td>{word}</td>" not in text
    assert "with shortcuts" not in text
    assert "without shortcuts" not in text


def test_nets_without_layers_have_a_page(tmp_path):
    """Where the records have no layers, gradients or statistics, these sections are left out, and all else is there."""
    grid = GRID.replace("[2, 4]", "2").replace("[0, 1, 2]", "[0, 1]")
    text = html(write(PAGE, tmp_path / "reports", *recorded(tmp_path, grid=grid, layers=False)))

    assert "Layer responses" not in text
    assert "Gradients" not in text
    assert "Learning curves" in text


def test_options_tell_groups_apart(tmp_path):
    """A study that varies options has a group of figures for each table of them."""
    grid = (
        '[[vary]]\nfamily = "nowhere.nets:make"\ndepth = 2\nseed = [0, 1]\noptions = [{ heads = 2 }, { heads = 4 }]\n'
    )
    runs = frames.load(*recorded(tmp_path, "one = { width = 8 }\ntwo = { width = 9 }", grid)).runs

    assert [*dict.fromkeys(runs["group"])] == [
        "nowhere.nets:make, heads = 2",
        "nowhere.nets:make, heads = 4",
    ]
    assert [*dict.fromkeys(runs["options"])] == ['{"heads": 2}', '{"heads": 4}']
