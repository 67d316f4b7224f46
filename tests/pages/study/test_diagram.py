"""Diagrams: what is drawn is what the nets compute."""

import xml.etree.ElementTree as ET

import pandas as pd
import pytest

import made
from deeptwins.pages.page import write
from deeptwins.pages.study import diagram
from deeptwins.pages.study.diagram import Drawn
from deeptwins.pages.study.page import PAGE
from deeptwins.study.specs import Net
from pairwise import cross, label, pairwise
from reading import html

# What is drawn needs no torch; the nets that it is compared with do.
inspection = pytest.importorskip("deeptwins.nets.inspection", reason="nets need torch")
nets_made = pytest.importorskip("nets_made")
build, images, shaken, spec = nets_made.build, nets_made.images, nets_made.shaken, nets_made.spec


def drawn(net, name="twin", image=(3, 32, 32)):
    """What is drawn of a net."""
    return Drawn(name, net, inspection.stages(net, image, 10))


def texts(nets):
    """All words of a drawing, in order."""
    return [text.get_text() for text in diagram.draw(nets).figure.axes[0].texts]


BLOCKS = cross(
    family=("cifar", "cifar-bottleneck"), shortcut=("none", "zero-pad", "frozen-gate"), block_order=diagram.ORDERS
)


@pytest.mark.parametrize("case", pairwise(BLOCKS), ids=label)
def test_a_drawn_block_computes_what_the_block_does(case):
    """Done one by one from left to right, the operations that are drawn inside a block give its output."""
    net = spec(depth=20, **case)
    block = shaken(build(net)).eval().blocks[1][1]
    x = images(2, channels=block.conv1.in_channels)
    sizes, layers, operations = [], iter(block.layers), drawn(net).inside
    convolutions, norms = zip(*layers, strict=True)
    convolutions, norms, y = iter(convolutions), iter(norms), x
    for word in operations:
        if word == "BN":
            y = next(norms)(y, relu=False)
        elif word == "ReLU":
            y = y.relu()
        elif word == "+":
            y = y + float((drawn(net).around or "").split(" ")[0].replace("x", "1")) * x
        elif word.startswith("\N{MULTIPLICATION SIGN}"):
            y = float(word[1:]) * y
        else:
            convolution = next(convolutions)
            sizes.append("x".join(map(str, convolution.kernel_size)))
            y = convolution(y)

    assert ("+" in operations) == (net.shortcut != "none")
    assert sizes == [word for word in operations if word[0].isdigit()]
    assert [*convolutions, *norms] == []
    assert y.allclose(block((x, x))[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("field", "name"), [*nets_made.LINES, *nets_made.EXAMPLES])
def test_everything_can_be_drawn(field, name):
    """Each line of the tables is drawn; what the diagram does not know, parts of one's own, by their attributes."""
    net = drawn(spec(**{field: name}))
    svg = diagram.draw([net]).svg

    ET.fromstring(svg)  # noqa: S314  our own
    if (field, name) in nets_made.EXAMPLES and field != "initialization":
        assert name.partition(":")[2] in svg


def test_plain_and_residual_differ_in_their_shortcuts():
    """Only the residual twin has arcs, one per drawn block and one inside, dashed where the shape changes."""
    arcs = []
    for shortcut in ("none", "zero-pad"):
        figure = diagram.draw([drawn(spec(depth=56, shortcut=shortcut))]).figure
        paths = [patch for patch in figure.axes[0].patches if type(patch).__name__ == "PathPatch"]
        arcs.append([patch.get_linestyle() != "solid" for patch in paths])

    assert arcs == [[], [False, True, False, True, False, False]]


def test_deep_nets_stay_small():
    """However deep, a stage is at most two boxes, the second with how often it comes."""
    shallow, deep = ([drawn(spec(depth=depth))] for depth in (14, 110))

    sizes = [diagram.draw(nets).figure.get_size_inches().tolist() for nets in (shallow, deep)]
    assert sizes[0] == sizes[1]
    assert [text for text in texts(deep) if text.startswith("\N{MULTIPLICATION SIGN}")] == [
        f"\N{MULTIPLICATION SIGN} {n}" for n in (18, 17, 17)
    ]
    assert [text for text in texts(deep) if text.startswith(("4x", "8x", "16x"))] == ["4x32x32", "8x16x16", "16x8x8"]


@pytest.mark.parametrize(("grown_with", "arcs"), [(None, 0), ("zero-pad", 4)])
def test_added_blocks_are_drawn_apart(grown_with, arcs):
    """The blocks that a net is grown by have a box of their own in each stage, and the shortcut that they have."""
    nets = [drawn(spec(depth=20, shortcut="none", grown_from=8, grown_with=grown_with))]
    paths = [patch for patch in diagram.draw(nets).figure.axes[0].patches if type(patch).__name__ == "PathPatch"]

    assert [text for text in texts(nets) if text.startswith(("+ ", diagram.TIMES))] == ["+ 2", "+ 2", "+ 2"]
    assert len(paths) == arcs
    assert (
        "blocks without shortcuts, those added with shortcuts: 3 (of which 2 added) to" in diagram.draw(nets).alt
        or not arcs
    )
    assert ("Inside a block of twin (added)" in diagram.draw(nets).alt) == bool(arcs)


def test_nothing_leaves_the_page():
    """Four stages of bottlenecks, and more names than a line holds, stay within the width of a page."""
    nets = [drawn(spec("imagenet", 152), f"a-rather-long-name-{i}") for i in range(12)]
    figure = diagram.draw(nets).figure
    figure.draw_without_rendering()
    for artist in [*figure.axes[0].texts, *figure.axes[0].patches]:
        box = artist.get_window_extent()
        assert box.x0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y0 >= -1
        assert box.y1 <= figure.bbox.y1 + 1


def test_what_looks_the_same_is_drawn_once():
    """Twins that differ in nothing that is drawn share a drawing, with all their names."""
    nets = [drawn(spec(), "one"), drawn(spec(fused_op="eager"), "two"), drawn(spec(shortcut="scaled"), "three")]

    assert texts(nets).count("one, two, three") == 1
    assert texts(nets).count("cifar, depth 8") == 1
    assert "one, two" in texts(nets)
    assert diagram.draw(nets).alt.count("Inside a block of") == 2


def test_the_deepest_of_each_group_are_drawn():
    """Of a study's runs those of the deepest nets are drawn, once whatever the seeds; without stages, nothing."""
    rows = [
        {
            "group": group,
            "twin": twin,
            "seed": seed,
            **net.model_dump(),
            "stages": inspection.stages(net, (3, 8, 8), 10),
            "children": None,
        }
        for seed in (0, 1)
        for group, net in (("a", spec(depth=8)), ("a", spec(depth=14)), ("b", spec(depth=8)))
        for twin in ("plain", "residual")
    ]
    chosen = diagram.deepest(pd.DataFrame(rows))

    assert [(net.name, net.net.depth) for net in chosen] == [
        ("plain", 14), ("residual", 14), ("plain", 8), ("residual", 8)
    ]  # fmt: skip
    assert diagram.deepest(pd.DataFrame(rows).assign(stages=None)) == []


def test_a_page_has_the_nets_where_records_describe_them(tmp_path):
    """The page of a study draws its nets from the records; from older ones, which lack the stages, it does not."""
    small = made.small(tmp_path, grid=made.ONE_DEPTH)
    for described in (False, True):
        for run in small.runs:
            lines = made.records(run)
            for name, net in run.twins.items():
                stages = {"stages": inspection.stages(net, (1, 8, 8), 10)} if described else {}
                lines[0]["twins"][name] = {
                    **{key: value for key, value in lines[0]["twins"][name].items() if key != "stages"},
                    **stages,
                }
            made.write(tmp_path / "results", run, lines)
        written = write(PAGE, tmp_path / "reports", small, tmp_path / "results")
        page = written.page

        assert ("The nets" in html(written)) == described
        assert "stages" not in (page.parent / "data" / "runs.csv").read_text(encoding="utf-8")
        if described:
            assert "cifar, depth 20" in (page.parent / "nets.svg").read_text(encoding="utf-8")


OWN = [
    {"name": f"part{i}", "kind": "3 <Block>", "output": [16, 8, 8 - i % 2] if i else [], "parameters": 5}
    for i in range(30)
]


def own_net(children=OWN, **fields):
    """What is drawn of a net of one's own."""
    return Drawn("twin", Net(family="nowhere.nets:make", depth=3, **fields), [], children)


def test_a_net_of_ones_own_is_drawn_by_what_it_consists_of():
    """Each part is a box with its name and class, above its output; of many some are drawn, and the rest counted."""
    words = texts([own_net(OWN[:3])])
    assert words[:2] == ["twin", "nowhere.nets:make, depth 3"]
    assert words[2:] == ["part0\n3 <Block>", "no tensor", "part1\n3 <Block>", "16x8x7", "part2\n3 <Block>", "16x8x8"]
    assert diagram.draw([own_net(OWN[:2])]).alt == (
        "twin: nowhere.nets:make, depth 3: part0 (3 <Block>) to no tensor, part1 (3 <Block>) to 16x8x7."
    )
    assert "...\n6 more" in texts([own_net()])
    assert "and 6 more." in diagram.draw([own_net()]).alt


def test_all_boxes_of_a_net_of_ones_own_lie_in_the_picture():
    """However many parts there are, and however long their names, boxes do not overlap and none leaves the picture."""
    longer = [{**child, "name": child["name"] * (1 + i % 5)} for i, child in enumerate(OWN)]
    figure = diagram.draw([own_net(longer)]).figure
    ax = figure.axes[0]
    boxes = [patch.get_bbox() for patch in ax.patches]

    assert len(boxes) == 25
    assert all(ax.get_xlim()[0] <= box.x0 < box.x1 <= ax.get_xlim()[1] for box in boxes)
    assert all(ax.get_ylim()[0] <= box.y0 < box.y1 <= ax.get_ylim()[1] for box in boxes)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_nets_of_ones_own_stand_beside_those_that_ship():
    """A picture may have both; twins that consist of the same are drawn once."""
    words = texts([own_net(OWN[:1]), Drawn("other", own_net().net, [], OWN[:1]), drawn(spec(depth=8), "shipped")])
    assert words[0] == "twin, other"
    assert "shipped" in words
