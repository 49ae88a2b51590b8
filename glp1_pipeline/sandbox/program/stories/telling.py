"""How a story is told: by a function of a life, under its own name.

Not here: any story.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..life import Life


class Story(NamedTuple):
    tell: Callable[[Life], None]
    share: int
    """Of how many patients, beside the others."""
    sex: str | None = None


STORIES: dict[str, Story] = {}


def story(share: int, sex: str | None = None) -> Callable[[Callable[[Life], None]], Callable[[Life], None]]:
    def register(tell: Callable[[Life], None]) -> Callable[[Life], None]:
        STORIES[tell.__name__] = Story(tell, share, sex)
        return tell

    return register
