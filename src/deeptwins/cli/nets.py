"""The commands about nets and study files: `show`, one of them in the terminal; `schema`; `new`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptwins.cli.console import ABLATIONS, TRAINING, beginning, print_layers, read_shape, say, tell, wrap
from deeptwins.cli.options import AsJson, complete_shown, complete_study, image_option, settings_option
from deeptwins.errors import InputError, choices, naming, noting, shown
from deeptwins.system.invocation import here
from deeptwins.system.spoken import heard

if TYPE_CHECKING:
    from deeptwins.nets.inspection import Layer
    from deeptwins.study.specs import Net

CLASSES, WIDTH = 1_000_000, 4096  # more is a slip
SCHEMA = "study.schema.json"
SMALLEST = "smoke"
"""The study that a new one is a copy of, unless it is told otherwise: it takes seconds."""

Tabulated = list[dict[str, Any]]

Shown = Annotated[
    list[str],
    typer.Argument(
        metavar="NETWORK|STUDY",
        help="resnet-18, plain-34, cifar-plain-56 or the like; or a study.",
        autocompletion=complete_shown,
    ),
]
Image = Annotated[str | None, image_option("The image, e.g. 1x28x28.")]
Classes = Annotated[int | None, typer.Option(min=1, max=CLASSES, metavar="N", help="Outputs.")]
Width = Annotated[int | None, typer.Option(min=1, max=WIDTH, metavar="N", help="Channels of the first stage.")]
NetSettings = Annotated[
    list[str] | None,
    settings_option("KEY=VALUE", "Change one field of the network, or with recipe.KEY a study's. Can be given again."),
]
ByLayer = Annotated[bool, typer.Option("--layers", help="Layer by layer, not stage by stage.")]
Diagram = Annotated[
    Path | None, typer.Option("--diagram", metavar="FILE", help="Draw the networks' blocks, too: an SVG file.")
]

# Of `schema`.
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print a page with all keys, for people.")]
AsColumns = Annotated[bool, typer.Option("--columns", help="Print a page with all columns of exported tables.")]

# Of `new`.
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")]
CopyOf = Annotated[
    str,
    typer.Option(
        "--from", metavar="STUDY", help="A name from `deeptwins list`, or a .toml file.", autocompletion=complete_study
    ),
]


def show(  # noqa: PLR0913  every option is a parameter
    names: Shown,
    *,
    image: Image = None,
    classes: Classes = None,
    width: Width = None,
    settings: NetSettings = None,
    layers: ByLayer = False,
    diagram: Diagram = None,
    as_json: AsJson = False,  # noqa: ARG001  see `tell`
) -> None:
    """Show networks stage by stage: shapes, parameters, FLOPs. Or print a study with all that it extends.

    The networks: resnet-N and plain-N, N from 18, 34, 50, 101, 152; cifar-resnet-N and cifar-plain-N, N = 6n+2, two
    layers per block; cifar-bottleneck-resnet-N and cifar-bottleneck-plain-N, N = 9n+2, like the literature's
    ResNet-164. Any other network is one of these with --set, whose keys are those of a study file.

    FLOPs are of one image, forward; a multiply-add counts as two.

    \b
    Examples:
      deeptwins show resnet-18 --input 1x224x224 --classes 10
      deeptwins show cifar-plain-56 cifar-resnet-56 --diagram nets.svg
      deeptwins show cifar-resnet-110 --set shortcut=shortcut-gate --set gate_bias=-6 --layers
      deeptwins show depth-cifar10
    """  # noqa: D301
    from deeptwins import study

    files = study.known(ABLATIONS)
    studies = [name for name in names if name in files or Path(name).suffix == ".toml"]
    if studies:
        _check_alone(names, studies[0], given=(image, classes, width, diagram, layers or None))
        _print_study(study.find(studies[0], ABLATIONS), settings or [])
        return
    beginning("loading PyTorch")
    _show_networks(names, image, classes, width, settings or [], diagram, layers=layers)


def _check_alone(names: Sequence[str], name: str, *, given: Sequence[object]) -> None:
    """Refuse what makes no sense with a study."""
    if len(names) > 1:
        raise InputError(f"{shown(name)} is a study, which is printed alone: give one name")
    if any(option is not None for option in given):
        raise InputError(f"{shown(name)} is a study: only --set recipe.KEY=VALUE and --json go with one")


def _print_study(path: Path, settings: Sequence[str]) -> None:
    """Print a study as one TOML file."""
    from deeptwins import study
    from deeptwins.study import toml

    text = study.written(path, settings)
    for text_line in text.splitlines():
        say(text_line, longest=len(text))  # a line that is cut would be another study
    tell(lambda: {"name": path.stem, "path": path, "content": toml.parse(text)})


def _show_networks(  # noqa: PLR0913, PLR0917
    networks: Sequence[str],
    image: str | None,
    classes: int | None,
    width: int | None,
    settings: Sequence[str],
    diagram: Path | None,
    *,
    layers: bool,
) -> None:
    """Print the stages or layers of networks, and draw them."""
    from deeptwins import study
    from deeptwins.nets import inspection
    from deeptwins.study.networks import EXAMPLES, NAME, OWN, named

    if width is not None:
        settings = [*settings, f"width={width}"]
    rows, drawn = {}, {}
    for network in networks:
        if NAME.fullmatch(network) is None and OWN.fullmatch(network) is None:
            known = [*study.known(ABLATIONS), *EXAMPLES]
            raise InputError(f"no network and no study {shown(network)}: {choices(known, network)}")
        net, usual, outputs = named(network, settings)
        shape, outputs = usual if image is None else read_shape(image), outputs if classes is None else classes
        with heard(partial(say, err=True)):
            inspection.check_named(network, net)
            with noting(f"net {network}"):
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


def _draw(nets: Mapping[str, tuple[Net, Tabulated, Tabulated]], path: Path) -> None:
    """Write a diagram of nets, with their stages or what they consist of, to an SVG file."""
    from deeptwins.pages.study import diagram

    drawn = [diagram.Drawn(name, *described) for name, described in nets.items()]
    svg = diagram.draw(drawn).svg
    with naming(path):
        path.write_text(svg, encoding="utf-8")


def schema(*, markdown: AsMarkdown = False, columns: AsColumns = False) -> None:
    """Print the JSON schema of studies, their keys, or all columns.

    An editor completes and checks the keys of a study whose first line is `#:schema ./study.schema.json`.

    \b
    Examples:
      deeptwins schema > ablations/study.schema.json
      deeptwins schema --markdown > docs/keys.md
      deeptwins schema --columns > docs/columns.md
    """  # noqa: D301
    from deeptwins import __version__
    from deeptwins.study import places, reference

    if columns:
        from deeptwins.export.columns import markdown as page

        for text_line in page().splitlines():
            say(text_line)
        return
    from deeptwins.study import schema as schemas

    beginning("loading PyTorch, for the names of parts")
    try:
        from deeptwins.nets.building import NAMES
        from deeptwins.train.optimization import OPTIMIZERS, SCHEDULES
    except ModuleNotFoundError as error:
        if error.name not in TRAINING:
            raise
        say(f"without PyTorch, which has the names of parts: as shipped with deeptwins {__version__}", err=True)
        content = json.loads(places.SHIPPED.joinpath(SCHEMA).read_text(encoding="utf-8"))
    else:
        content = schemas.schema({**NAMES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES})
    text = reference.markdown(content) if markdown else json.dumps(content, indent=2)
    for text_line in text.splitlines():
        say(text_line)


def new(name: NewName, *, source: CopyOf = SMALLEST) -> None:
    """Begin a study of your own as a copy of another.

    It is ablations/NAME.toml. Change what it asks, its nets, its recipe and its claims. A copy stands alone: of a study
    that extends another, it has what both say.

    \b
    Examples:
      deeptwins new my-study
      deeptwins new my-study --from depth
    """  # noqa: D301
    from deeptwins import study
    from deeptwins.study import places
    from deeptwins.system import disk

    try:
        places.check_name(name)
    except InputError as error:
        raise InputError(f"{shown(name)}: {error}") from None
    original = study.find(source, ABLATIONS)
    path, schema_file = ABLATIONS / f"{name}.toml", ABLATIONS / SCHEMA
    text = study.copied(original)
    ABLATIONS.mkdir(exist_ok=True)
    if path.exists() or path.is_symlink():
        raise InputError(f"{path}: there is such a file, which stays as it is; give another name")
    disk.replace(path, text.encode())
    if not schema_file.exists():  # the one that the first line names, for editors
        disk.replace(schema_file, places.SHIPPED.joinpath(SCHEMA).read_bytes())
    say(f"{path}: a copy of {original}")
    if study.hides(path):
        wrap(f"From now on `deeptwins run {name}` means this one, and not the study of this name that ships.")
    say("Change what it asks, its nets, its recipe and its claims. Then:")
    say(f"  {here(f'deeptwins run {name} --report')}")
