"""The commands `show`, nets in the terminal, and `schema`, what a study file may say of them and of all else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptwins.cli.console import LEFT_OUT, print_layers, read_shape, say, tell
from deeptwins.cli.options import AsJson, complete_network, image_option, settings_option
from deeptwins.errors import naming, noting

if TYPE_CHECKING:
    from deeptwins.nets.inspection import Layer
    from deeptwins.study.specs import Net

CLASSES, WIDTH = 1_000_000, 4096  # more is a slip
Described = list[dict[str, Any]]

Networks = Annotated[
    list[str],
    typer.Argument(
        metavar="NETWORK", help="resnet-18, plain-34, cifar-plain-56 or the like.", autocompletion=complete_network
    ),
]
Image = Annotated[str | None, image_option("The image, e.g. 1x28x28.")]
Classes = Annotated[int | None, typer.Option(min=1, max=CLASSES, metavar="N", help="Outputs.")]
Width = Annotated[int | None, typer.Option(min=1, max=WIDTH, metavar="N", help="Channels of the first stage.")]
NetSettings = Annotated[
    list[str] | None, settings_option("KEY=VALUE", "Change one field of the network. Can be given again.")
]
ByLayer = Annotated[bool, typer.Option("--layers", help="Layer by layer, not stage by stage.")]
Diagram = Annotated[
    Path | None, typer.Option("--diagram", metavar="FILE", help="Draw the networks' blocks, too: an SVG file.")
]

# Of `schema`.
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print a page with all keys, for people.")]


def show(  # noqa: PLR0913  every option is a parameter
    networks: Networks,
    *,
    image: Image = None,
    classes: Classes = None,
    width: Width = None,
    settings: NetSettings = None,
    layers: ByLayer = False,
    diagram: Diagram = None,
    as_json: AsJson = False,  # noqa: ARG001  see `tell`
) -> None:
    """Show networks stage by stage: shapes, parameters, FLOPs.

    The names: resnet-N and plain-N, N from 18, 34, 50, 101, 152; cifar-resnet-N and cifar-plain-N, N = 6n+2, two
    layers a block; cifar-bottleneck-resnet-N and cifar-bottleneck-plain-N, N = 9n+2, like the literature's ResNet-164.
    Any other network is one of these with --set, whose keys are those of a study file.

    FLOPs are those of one image forward, two a multiply-add.

    \b
    Examples:
      deeptwins show resnet-18 --input 1x224x224 --classes 10
      deeptwins show cifar-plain-56 cifar-resnet-56 --diagram nets.svg
      deeptwins show cifar-resnet-110 --set shortcut=shortcut-gate --set gate_bias=-6 --layers
    """  # noqa: D301
    from deeptwins.nets import inspection
    from deeptwins.study.networks import named

    if width is not None:
        settings = [*(settings or []), f"width={width}"]
    rows, drawn = {}, {}
    for network in networks:
        net, usual, outputs = named(network, settings or [])
        shape, outputs = usual if image is None else read_shape(image), outputs if classes is None else classes
        with noting(f"net {network}"):
            inspection.check_named(network, net)
            rows[network] = (inspection.trace if layers else inspection.parts)(net, shape, outputs)
            drawn[network] = net, inspection.stages(net, shape, outputs), inspection.children(net, shape, outputs)
    if diagram is not None:
        _draw(drawn, diagram)
    for i, network in enumerate(rows):
        if len(rows) > 1:
            if i:
                say()
            say(network)
        print_layers("LAYER" if layers else "STAGE", rows[network])
    tell(lambda: {"networks": [_described(network, rows[network]) for network in rows]})


def _described(name: str, rows: Sequence[Layer]) -> dict[str, Any]:
    """Tell what `show` prints of a network; a row is a stage, or a layer."""
    parameters, flops = sum(row.parameters for row in rows), sum(row.flops for row in rows)
    return {"name": name, "parameters": parameters, "flops": flops, "rows": [vars(row) for row in rows]}


def _draw(nets: Mapping[str, tuple[Net, Described, Described]], path: Path) -> None:
    """Write a diagram of nets, with their stages or what they consist of, to an SVG file."""
    from deeptwins.pages.study import diagram

    drawn = [diagram.Drawn(name, *described) for name, described in nets.items()]
    svg = diagram.draw(drawn).svg
    with naming(path):
        path.write_text(svg, encoding="utf-8")


def schema(*, markdown: AsMarkdown = False) -> None:
    """Print the JSON schema of study files, or a page of all their keys.

    An editor completes and checks the keys of a study whose first line is `#:schema ./study.schema.json`.

    \b
    Examples:
      deeptwins schema > ablations/study.schema.json
      deeptwins schema --markdown > docs/keys.md
    """  # noqa: D301
    from deeptwins.study import reference
    from deeptwins.study import schema as schemas

    try:
        from deeptwins.nets.building import NAMES
        from deeptwins.train.optimization import OPTIMIZERS
    except ModuleNotFoundError as error:
        if error.name not in LEFT_OUT:
            raise
        say("without PyTorch the names of shortcuts, block orders and the like are unknown: any is allowed", err=True)
        content = schemas.schema({})
    else:
        content = schemas.schema({**NAMES, "optimizer": OPTIMIZERS})
    text = reference.markdown(content) if markdown else json.dumps(content, indent=2)
    for text_line in text.splitlines():
        say(text_line)
