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


def test_cleaning_leaves_nothing_that_python_made_and_touches_nothing_of_ours(
    bootstrap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
    monkeypatch.delenv("GLP1_HOME", raising=False)
    for name in ("ours/code.py", "ours/__pycache__/code.pyc", "ours/deep/__pycache__/more.pyc", ".git/__pycache__/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    bootstrap.clean()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"ours/code.py", ".git/__pycache__/x"}


RETRIED = "WARNING: Retrying after connection broken by 'NewConnectionError'"
NONE_FITS = "ERROR: No matching distribution found for uv==0.13.9"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (f"{RETRIED}\n{NONE_FITS}", "The package registry could not be reached."),
        (NONE_FITS, "The package registry was not reached (check the network, or pip's configuration), or it has no"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "A downloaded package is not the one that was locked"),
    ],
)
def test_a_registry_that_is_out_of_reach_is_not_told_as_a_system_that_does_not_fit(
    bootstrap, said: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    done = subprocess.CompletedProcess([], 1, stdout=said.encode())
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(SystemExit):
        bootstrap.step(["pip"], {})
    assert capsys.readouterr().err.startswith(words)
