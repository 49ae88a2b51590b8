"""The stories of the program: what befalls a patient, and what comes of it.

Each begins with a treatment, has its own month or two, and goes on as far as the year does. Not here: the steps they
are made of (`life`), and how many there are of each (`year`).
"""

from . import supply, symptoms, usual  # importing them registers their stories
from .telling import STORIES

__all__ = ["STORIES", "supply", "symptoms", "usual"]
