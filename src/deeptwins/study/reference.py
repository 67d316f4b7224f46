"""The reference of all keys of a study file, in Markdown: what the JSON schema says, for people."""

from __future__ import annotations

from deeptwins.study.claims import STATEMENTS
from deeptwins.study.schema import OWN, JsonSchema
from deeptwins.study.specs import UNSET, Net, Recipe

INTRODUCTION = """\
# All keys of a study file

A study is one TOML file in `ablations/`; [Studies](studies.md) shows how to write one. This page lists every key. It is
made from the code that checks the files: `deeptwins schema --markdown`. For editors that complete and check keys,
`deeptwins schema` prints the same as a JSON schema, `ablations/study.schema.json`.
"""
TOP = """\
At the top of the file. In a study with `extends` nothing is required, since it has the rest of the study
that it extends."""
NET = """\
These stand in `[twins]`, where twins differ in them; in `[recipe]`, where all twins share them; or in `[[vary]]`, where
runs differ in them: there a list gives every value a run. `family` and `depth` must be given in one of the three."""
RECIPE = """\
These stand in `[recipe]`, or in `[[vary]]`, where a list gives every value a run. `seed` stands in `[[vary]]` alone,
and is required: an integer from 0, or a list of them. Initial weights and batches are drawn from it."""
EXPECT = """\
Each `[[expect]]` is one claim: a twin, exactly one of {statements}, and what the claim is about.
[Studies](studies.md#claims) has an example of each."""


def markdown(schema: JsonSchema) -> str:
    """Write the reference.

    Args:
        schema: of a study file, as `deeptwins.study.schema` makes it.
    """
    tables, top = schema["$defs"], schema["properties"]
    fields = tables["Fields"]["properties"]
    statements = ", ".join(f"`{key}`" for key in STATEMENTS)
    required = [key for table in (Net, Recipe) for key, field in table.model_fields.items() if field.is_required()]
    whole, answer = schema["then"], tables["Answer"]
    sections = [
        ("The study", TOP, top, whole["required"]),
        ("`[answer]`", answer["description"], answer["properties"], whole["properties"]["answer"]["required"]),
        ("Fields of a net", NET, {key: fields[key] for key in Net.model_fields}, required),
        ("Fields of the recipe", RECIPE, {key: fields[key] for key in Recipe.model_fields}, required),
        *(
            (f"`[[{key.lower()}]]`", text, tables[key]["properties"], tables[key]["required"])
            for key, text in (
                ("Expect", EXPECT.format(statements=statements)),
                ("Paper", tables["Paper"]["description"]),
            )
        ),
    ]
    blocks = [INTRODUCTION]
    for title, text, properties, needed in sections:
        rows = [_row(key, field, required=key in needed) for key, field in properties.items()]
        header = "| key | value | default | meaning |\n|---|---|---|---|\n"
        blocks.append(f"## {title}\n\n{text}\n\n{header}{''.join(rows)}")
    return "\n".join(blocks)


def _row(key: str, field: JsonSchema, *, required: bool) -> str:
    """Write a key's line of a table."""
    default = "required" if required else UNSET.get(key, "")
    if field.get("default") not in (None, "", []):
        default = f"`{_toml(field['default'])}`"
    cells = (f"`{key}`", _value(field), default, field.get("description", ""))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _value(field: JsonSchema) -> str:
    """Say what a key may be: its type, range and unit, or its possible values."""
    if "anyOf" in field:
        return ", or ".join(map(_value, field["anyOf"]))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{_toml(value)}`" for value in field.get("enum", [field.get("const")]))
    if field.get("pattern") == OWN:
        return "`package.module:attribute`"
    kind = field.get("type", "object")
    if kind == "array":
        return f"list of: {_value(field['items'])}" if "$ref" not in field["items"] else "tables"
    if kind in {"integer", "number"}:
        unit = f" {field['unit']}" if "unit" in field else ""
        return f"{kind}{_range(field)}{unit}"
    return {"object": "table", "string": "text", "boolean": "`true`, `false`"}[kind]


def _range(field: JsonSchema) -> str:
    """Say the bounds of a number."""
    lower = f"from {field['minimum']:,}" if "minimum" in field else ""
    if "exclusiveMinimum" in field:
        lower = f"above {field['exclusiveMinimum']:,}"
    upper = f"to {field['maximum']:,}" if "maximum" in field else ""
    if "exclusiveMaximum" in field:
        upper = f"to below {field['exclusiveMaximum']:,}"
    return "".join(f" {bound}" for bound in (lower, upper) if bound)


def _toml(value: object) -> str:
    """Spell a value as TOML does."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
