"""Images in files, and the layout of datasets that CONTRIBUTING adds as a worked example."""

import io
import re

from PIL import Image

from deeptwins.data import layouts
from places import ROOT


def encoded(pixels, kind="PNG"):
    """Encode one image without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, lossless=True)
    return file.getvalue()


def example():
    """Read CONTRIBUTING's worked example: the line that it adds to the table, as (name, layout)."""
    text = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
    pattern = r"data/layouts\.py`:\n\n```python\n(.*?)```\n\nand, in `LAYOUTS`:\n\n```python\n(.*?)```"
    ((code, line),) = re.findall(pattern, text, re.DOTALL)
    names = {**vars(layouts)}  # no more: what is pasted into the module has no more
    exec(code, names)  # noqa: S102  our own text
    ((name, layout),) = eval("{" + line + "}", names).items()  # noqa: S307
    return name, layout
