"""What README promises of all commands at once: each explains itself, and each can be read by a program."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from glp1_pipeline.cli import main

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


def test_each_option_says_what_it_means():
    untold = [
        f"{name} {option.opts[0]}"
        for name, command in commands(main)
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert untold == []
