"""Networks by name, such as `resnet-18` or `cifar-plain-56`, and how `KEY=VALUE` texts change them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deeptwins.errors import InputError, line, shown
from deeptwins.study.files import changed
from deeptwins.study.specs import DEEPEST, Net
from deeptwins.system.importing import is_own

EXAMPLES = ("resnet-18", "plain-34", "cifar-resnet-20", "cifar-plain-56", "cifar-bottleneck-resnet-164")
NAMES = (
    *(f"{kind}-{depth}" for kind in ("plain", "resnet") for depth in (18, 34, 50, 101, 152)),
    *(f"cifar-{kind}-{depth}" for kind in ("plain", "resnet") for depth in (20, 32, 44, 56, 110)),
    *(f"cifar-bottleneck-{kind}-{depth}" for kind in ("plain", "resnet") for depth in (29, 47, 164, 1001)),
)
"""Those of the papers, and small ones; a name may have any other depth of its family."""
NAME = re.compile(r"(cifar-bottleneck-|cifar-|)(plain|resnet)-(\d{1,4})")
OWN = re.compile(r"([\w.]+:[\w.]+)-(\d{1,5})")
OWN_INPUT, OWN_CLASSES = (3, 32, 32), 10


def named(name: str, settings: Sequence[str] = ()) -> tuple[Net, tuple[int, int, int], int]:
    """The net that a name means, with its usual input (C, H, W) and classes; whether it can be built is not checked.

    A name says family and depth, and, as in the papers and torchvision, width, stem and shortcut. The prefix `cifar-`
    always means 6n+2 layers; the bottlenecks of 9n+2 have a prefix of their own, since 164 is of both kinds. A net of
    one's own is `package.module:function-DEPTH`.

    Args:
        name: of the net.
        settings: `KEY=VALUE` texts that override fields of the net.

    Raises:
        InputError: the name has another form, or a setting is wrong.
    """
    own, match = OWN.fullmatch(name), NAME.fullmatch(name)
    if own is not None and is_own(own[1]) and 1 <= int(own[2]) <= DEEPEST:
        return changed(Net(family=own[1], depth=int(own[2])), settings), OWN_INPUT, OWN_CLASSES
    if match is None:
        hint = f"{line(name)}-DEPTH" if is_own(name) else f"{', '.join(EXAMPLES)} or the like"
        raise InputError(f"no network {shown(name)}: write {hint}")
    family, plain, depth = match[1].rstrip("-") or "imagenet", match[2] == "plain", int(match[3])
    small = family != "imagenet"
    usual = Net(
        family=family,
        depth=depth,
        width=16 if small else 64,
        stem="cifar" if small else "imagenet",
        shortcut="none" if plain else "zero-pad" if small else "projection",
    )
    return changed(usual, settings), (3, 32, 32) if small else (3, 224, 224), 10 if small else 1000
