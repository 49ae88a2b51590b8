"""The first set-up: whatever cuts it short, the next one begins anew and says so."""

import importlib.util
import subprocess
from pathlib import Path

import pytest


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("bootstrap", Path(__file__).parents[2] / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("PYTHON", "STAMP", "UNFINISHED", "VENV"):
        place = tmp_path / ".venv" / Path(getattr(module, name)).relative_to(module.VENV)
        monkeypatch.setattr(module, name, str(place))
    return module


def test_a_set_up_that_was_killed_while_pip_was_copied_is_begun_anew(
    bootstrap, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def copies_half(*_: object, **__: object) -> None:
        python = Path(bootstrap.PYTHON)
        python.parent.mkdir(parents=True, exist_ok=True)
        python.symlink_to("/bin/true")  # it runs, and says nothing against itself
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", copies_half)
        with pytest.raises(Killed):
            bootstrap.make("runtime")
    monkeypatch.setattr(bootstrap, "works", lambda _: True)
    assert not bootstrap.is_done("runtime")
    bootstrap.remove_half_made()
    assert capsys.readouterr().out.endswith("An earlier set-up was cut short; making .venv anew.\n")
    assert not Path(bootstrap.VENV).exists()
