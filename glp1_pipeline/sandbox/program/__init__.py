"""A program of a year: invented patients, all that is said of them, and what each story must come to.

What it must come to is worked out from the story as it is told, by days and names of its own: nothing in `people`,
`messages`, `days`, `life`, `products`, `stories` and `year` knows the pipeline. Not here: whether it came to that
(`check`), and a place to run it in (`run`).
"""

from .stories import STORIES
from .year import Program, build

__all__ = ["STORIES", "Program", "build"]
