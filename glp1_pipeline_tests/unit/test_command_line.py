"""What README promises of all commands at once: each explains itself, and each can be read by a program."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from glp1_pipeline import contracts
from glp1_pipeline.cli import main
from glp1_pipeline.contracts import alerts as rules
from glp1_pipeline.sandbox import demo

README = (Path(__file__).parents[2] / "README.md").read_text()


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    for each, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name}{each} ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{name}{each}", command


def test_each_command_says_what_it_is_for_and_answers_a_program_but_for_those_that_readme_names():
    (promise,) = re.findall(r"All have `--json`, but for (.*?)\.\s", README, re.DOTALL)
    without = {name for name, command in commands(main) if "as_json" not in {one.name for one in command.params}}
    assert without == set(re.findall(r"`([^`]+)`", promise))
    assert [name for name, command in commands(main) if not command.help] == []


def groups(group: click.Group) -> Iterator[click.Group]:
    yield group
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from groups(command)


def test_each_command_says_in_one_line_of_a_terminal_what_it_is_for():
    each = [command for group in groups(main) for command in group.commands.values()]
    assert [c.name for c in each if not 0 < len(c.get_short_help_str(500)) <= 60] == []


def test_the_first_help_names_every_command_by_its_purpose():
    assert [name for name in main.commands if f"glp1 {name}" not in (main.help or "")] == []


def test_each_option_says_what_it_means():
    untold = [
        f"{name} {option.opts[0]}"
        for name, command in commands(main)
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert untold == []


def test_a_start_on_a_full_disk_is_a_sentence_with_the_way_on(monkeypatch: pytest.MonkeyPatch):
    def starts() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(demo, "up", starts)
    told = CliRunner().invoke(main, ["up"])
    assert told.exit_code == 1
    assert re.search("^Error: the disk of .* is full: make room there", told.stderr)


def test_a_start_that_fails_by_anything_else_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch):
    def starts() -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(demo, "up", starts)
    assert isinstance(CliRunner().invoke(main, ["up"]).exception, PermissionError)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("form.yaml", "\nversions:", "\nversion:"),
        ("oncall.yaml", "escalates_to: operations-lead", "escalates_to: nobody"),
    ],
)
@pytest.mark.parametrize("command", ["up", "demo", "dictionary"])
def test_with_a_contract_that_does_not_hold_nothing_starts_and_what_is_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, file: str, before: str, after: str
):
    folder = tmp_path / "contracts"
    shutil.copytree(contracts.HERE, folder)
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after, 1))
    monkeypatch.setattr(contracts, "HERE", folder)
    monkeypatch.setattr(rules, "HERE", folder)
    for start in ("up", "run"):
        monkeypatch.setattr(demo, start, lambda *_: pytest.fail("it started"))
    said = CliRunner().invoke(main, [command])
    assert said.exit_code == 1
    assert f"{file}:" in said.output


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"GLP1_EHR_URL": "http://ehr.example.org/fhir"}, "plain http:// to another machine"),
        ({"GLP1_CRM_URL": "http://crm.example.org", "GLP1_CRM_TOKEN": "x"}, "GLP1_CRM_URL must begin with https://"),
        ({"GLP1_LANDING_URL": "canary-store://x"}, "GLP1_LANDING_URL needs a driver that is not installed"),
        ({"GLP1_UI_URL": "pipeline.example.org"}, "GLP1_UI_URL must begin with https://"),
        ({"GLP1_EHR_ULR": "https://canary"}, "GLP1_EHR_ULR is no setting of ours. Did you mean GLP1_EHR_URL?"),
    ],
)
@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_setting_that_can_never_work_ends_the_start_with_a_sentence_and_not_each_run(
    command: str, what: dict[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(demo, "up", lambda: pytest.fail("it was started"))
    monkeypatch.setattr(demo, "run", lambda once: pytest.fail("it was started"))
    for name, value in {"GLP1_HOME": str(tmp_path / "home"), **what}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(main, [command])
    assert (done.exit_code, done.stdout) == (1, "")
    assert says in done.stderr
    assert not (tmp_path / "home").exists()
