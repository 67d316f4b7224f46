"""The command `deeptwins schema`: what a study file may hold."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from deeptwins.cli.console import LEFT_OUT, say

AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print a page with all keys, for people.")]


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
