"""The house keeps its shape: rooms are small, nobody is called utils, no file names a package registry."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def ours() -> list[Path]:
    """The project's files, without what tools leave beside them."""
    rooms = [p for p in ROOT.iterdir() if not p.name.startswith(".") or p.name in (".ci", ".gitignore")]
    files = [p for room in rooms for p in ([room] if room.is_file() else room.rglob("*")) if p.is_file()]
    return [p for p in files if "__pycache__" not in p.parts and "results" not in p.parts]


def test_no_room_is_a_junk_drawer():
    junk = {"utils", "util", "common", "helpers", "helper", "lib", "misc"}
    assert [p for p in ours() if p.suffix == ".py" and junk & {p.stem, *p.relative_to(ROOT).parts[:-1]}] == []


def test_every_module_begins_by_saying_what_belongs_there():
    silent = [
        p.relative_to(ROOT)
        for p in ours()
        if p.suffix == ".py" and p.is_relative_to(ROOT / "glp1_pipeline") and p.read_text("utf-8").strip()
        if not re.match(r'(#.*\n)*"""', p.read_text("utf-8"))
    ]
    assert silent == []


def test_no_lock_file_or_setting_names_a_registry():
    hosts = re.compile(rb"(pypi|pythonhosted|npmjs|registry\.npm|deb\.debian)\.(org|com)", re.IGNORECASE)
    assert [p.relative_to(ROOT) for p in ours() if hosts.search(p.read_bytes())] == []
    assert not any(p.name in ("uv.lock", "poetry.lock") for p in ours())


def test_no_record_from_elsewhere_is_needed():
    reaching = [p.relative_to(ROOT) for p in ours() if p.suffix == ".py" and b"../shared" in p.read_bytes()]
    assert [p for p in reaching if p.name != "test_house.py"] == []
