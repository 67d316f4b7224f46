"""The JSON schema of a study file, made from the models that check it: for editors, and for the reference of all keys.

It says what one place of a file may hold. Contradictions between two places, such as milestones beyond the last
iteration, or a claim about a twin that is not there, are found when the study is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from deeptwins.study import extending
from deeptwins.study.claims import STATEMENTS
from deeptwins.study.files import FROM_OUTSIDE, Study
from deeptwins.study.places import NAME
from deeptwins.study.specs import Net
from deeptwins.system import importing
from deeptwins.system.importing import Parts

JsonSchema = dict[str, Any]
KnownNames = Mapping[str, Collection[str]]
"""The names that fields may have as values, by field: those of shortcuts, families and so on."""

DIALECT = "http://json-schema.org/draft-07/schema#"  # the newest that editors of TOML know
OWN = f"^{importing.NAME.pattern}$"  # `package.module:attribute`
UNVARIED = "milestones"  # its value is a list: a grid has one


def schema(names: KnownNames) -> JsonSchema:
    """Return the JSON schema of a study file.

    Args:
        names: the values that fields of nets and recipes may have, where tables in the code list them, such as
            `{"shortcut": ["none", ...]}`.
    """
    study = _tidy(Study.model_json_schema())
    tables = study["$defs"]
    net, recipe, run = tables["Net"], tables["Recipe"], tables["RunSpec"]
    for table in (net, recipe, tables["Expect"]):  # what was published may be of any other net
        for key, field in table["properties"].items():
            if key in names:
                _name(field, names[key])
    # Tables of any fields of nets and recipes: of all twins, of one, of a grid, and of the runs that a claim is about.
    fields: JsonSchema = {**net["properties"], **recipe["properties"]}
    seed = run["properties"]["seed"] | {"description": "What the initial weights and the batches are drawn from."}
    tables["Fields"] = _table(fields, f"{net['description']} {recipe['description']}")
    tables["Twin"] = _table({key: _field(key) for key in net["properties"]}, net["description"])
    tables["Grid"] = _table(
        {key: _field(key) if key == UNVARIED else _varied(_field(key)) for key in fields} | {"seed": _varied(seed)},
        "A grid: every combination of the values of these lists is a run.",
        required=["seed"],
    )
    for table in (tables["Expect"], tables["Paper"]):
        where = table["properties"]["where"]
        table["properties"]["where"] = {"$ref": "#/$defs/Fields", "description": where["description"]}
    tables["Expect"]["oneOf"] = [{"required": [statement]} for statement in STATEMENTS]
    answer = {"required": tables["Answer"].pop("required")}
    properties = {key: value for key, value in study["properties"].items() if key not in FROM_OUTSIDE} | extending.KEYS
    properties["twins"] |= {
        "additionalProperties": {"$ref": "#/$defs/Twin"},
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
    }
    properties["vary"] |= {"items": {"$ref": "#/$defs/Grid"}, "uniqueItems": True}
    properties["recipe"] = {"$ref": "#/$defs/Fields", "description": properties["recipe"]["description"]}
    return {
        "$schema": DIALECT,
        "title": "A deeptwins study",
        **_table(properties, "One question, and the nets, recipe and claims that answer it."),
        # What a study lacks, the one that it extends may have.
        "if": {"not": {"required": [extending.EXTENDS]}},
        "then": {
            "required": [key for key in study["required"] if key not in FROM_OUTSIDE],
            "properties": {"answer": answer},
            "allOf": [_given(key, twins=key in Net.model_fields) for key in (*net["required"], *recipe["required"])],
            "not": {"required": [extending.WITHOUT]},
        },
        "$defs": {key: tables[key] for key in ("Fields", "Twin", "Grid", "Answer", "Expect", "Paper")},
    }


def _tidy(schema: Any) -> Any:  # noqa: ANN401  whatever JSON has
    """Leave out titles, and None, which TOML does not have; put texts on one line."""
    if isinstance(schema, list):
        return [_tidy(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    tidy: JsonSchema = {}
    for key, value in schema.items():
        if key == "properties":
            tidy[key] = {name: _tidy(field) for name, field in value.items()}
        elif key == "description":
            tidy[key] = " ".join(value.split())
        elif key != "title" and not (key == "default" and value is None):
            tidy[key] = _tidy(value)
    possible = [value for value in tidy.pop("anyOf", []) if value != {"type": "null"}]
    if len(possible) == 1:
        return possible[0] | tidy
    return tidy | ({"anyOf": possible} if possible else {})


def _name(field: JsonSchema, names: Collection[str]) -> None:
    """Let a field have one of these names, and that of a part of one's own, where the table takes such."""
    del field["type"]
    known = {"type": "string", "enum": [*names]}
    field |= {"anyOf": [known, {"type": "string", "pattern": OWN}]} if isinstance(names, Parts) else known


def _table(properties: JsonSchema, description: str, required: Sequence[str] = ()) -> JsonSchema:
    """Describe a table that has these keys and no others."""
    table = {"type": "object", "description": description, "properties": properties, "additionalProperties": False}
    return table | ({"required": [*required]} if required else {})


def _field(key: str) -> JsonSchema:
    """Point to a field of a net or recipe."""
    return {"$ref": f"#/$defs/Fields/properties/{key}"}


def _varied(value: JsonSchema) -> JsonSchema:
    """Allow a list of values beside one value."""
    return {"anyOf": [value, {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}]}


def _given(key: str, *, twins: bool) -> JsonSchema:
    """Require a key of every run: in the recipe, in every grid, or, of a net's, in every twin."""
    required = {"required": [key]}
    places = [
        {"properties": {"recipe": required}, "required": ["recipe"]},
        {"properties": {"vary": {"items": required}}},
        *([{"properties": {"twins": {"additionalProperties": required}}}] if twins else []),
    ]
    return {"anyOf": places}
