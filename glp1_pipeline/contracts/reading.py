"""Contract files as plain data that remembers its lines, and the faults found on the way.

Here: YAML and CSV into dicts, models built from them, faults gathered. Not here: what the content has to agree on
(`checks`), and which file becomes what (`__init__`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class Fault(NamedTuple):
    file: str
    line: int
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; {self.mend}"


class ContractError(ValueError):
    """The contract files do not agree; every fault is listed with its file, its line and how to mend it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("the contract cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults))
        self.faults = tuple(faults)

    @property
    def places(self) -> tuple[str, ...]:
        """File and line of each. Where what is wrong may not be told: it may quote a spelling, which is a patient's."""
        return tuple(f"{fault.file}:{fault.line}" for fault in self.faults)


class Lined(dict[str, Any]):
    """A mapping that knows the line it started on, and the line of each of its keys."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.line, self.lines = 0, dict[str, int]()


class LinedLoader(yaml.CSafeLoader):
    """YAML that keeps lines, and that refuses a key given twice: the second would silently win."""


def construct_lined(loader: LinedLoader, node: yaml.MappingNode) -> Lined:
    lined, lines = Lined(), {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, "a key must be text: quote it", key_node.start_mark)
        if key in lined:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
        lined[key] = loader.construct_object(value_node, deep=True)
        lines[key] = key_node.start_mark.line + 1
    lined.line, lined.lines = node.start_mark.line + 1, lines
    return lined


LinedLoader.add_constructor("tag:yaml.org,2002:map", construct_lined)


@dataclass
class Folder:
    """The contract folder while it is read: content by file name, and the faults so far."""

    path: Path
    faults: list[Fault] = field(default_factory=list)
    content: dict[str, bytes] = field(default_factory=dict)
    where: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    """(kind, name) -> file and line where it was declared."""

    def fault(self, file: str, line: int, what: str, mend: str) -> None:
        self.faults.append(Fault(file, line, what, mend))

    def fault_at(self, kind: str, name: str, what: str, mend: str) -> None:
        self.fault(*self.where.get((kind, name), ("?", 0)), what, mend)

    def text(self, name: str) -> str:
        try:
            raw = (self.path / name).read_bytes()
        except FileNotFoundError:
            self.fault(name, 0, "the file is missing", "restore it from version control")
            return ""
        self.content[name] = raw
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            self.fault(name, raw[: error.start].count(b"\n") + 1, "the file is not UTF-8", "save it as UTF-8")
            return ""

    def tree(self, name: str) -> Lined:
        text = self.text(name)
        try:
            loaded = yaml.load(text, LinedLoader)  # noqa: S506 - a subclass of the safe loader
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            self.fault(name, line, f"not valid YAML: {error.problem}", "look for a wrong indent, quote or twin key")
            return Lined()
        if loaded is None:
            loaded = Lined()
        if not isinstance(loaded, Lined):
            self.fault(name, 1, "the file is not a mapping", "start it with a key")
            return Lined()
        return loaded

    def branch(self, tree: Lined, key: str, name: str) -> Lined:
        """A mapping within a mapping; its absence is a fault."""
        found = tree.get(key)
        if isinstance(found, Lined):
            return found
        self.fault(name, tree.lines.get(key, tree.line), f"`{key}` is not a mapping", f"give `{key}:` named entries")
        return Lined()

    def rows(self, name: str, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
        """Rows of a CSV with the line of each; a row of another width is a fault."""
        reader = csv.reader(self.text(name).splitlines(keepends=True))
        head = next(reader, [])
        if tuple(head) != columns:
            self.fault(name, 1, "the columns are not the expected ones", f"make them {','.join(columns)}")
            return []
        rows: list[tuple[int, dict[str, str]]] = []
        for row in reader:
            if len(row) != len(columns):
                self.fault(name, reader.line_num, f"{len(row)} cells, {len(columns)} expected", "quote the commas")
            else:
                rows.append((reader.line_num, dict(zip(columns, row, strict=True))))
        return rows

    def build(
        self, model: type[Model], values: Mapping[str, Any], kind: str, name: str, at: tuple[str, int]
    ) -> Model | None:
        """A model of the values, or None with a fault for each thing that is wrong with them."""
        if (kind, name) in self.where:
            file, line = self.where[kind, name]
            self.fault(*at, f"{kind} `{name}` is declared twice", f"it already stands in {file}:{line}")
            return None
        self.where[kind, name] = at
        try:
            return model.model_validate(values)
        except ValidationError as error:
            shapes = f"see {model.__module__.partition('.')[2].replace('.', '/')}.py"
            for one in error.errors(include_url=False, include_input=False, include_context=False):
                part = str(one["loc"][0]) if one["loc"] else ""
                line = values.lines.get(part, at[1]) if isinstance(values, Lined) else at[1]
                path = ".".join(str(p) for p in one["loc"])
                self.fault(at[0], line, f"{kind} `{name}`, `{path}`: {one['msg'].lower()}", shapes)
            return None
