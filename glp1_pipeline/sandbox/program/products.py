"""The products that patients of the program take: their ladder of doses, and what a supply is.

Not here: what becomes of a patient (`life`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    key: str
    family: str
    ladder: tuple[float, ...]
    kept: tuple[float, ...]
    """Doses that the label keeps: four weeks at one are maintenance."""
    supply: int
    pack: tuple[int, str]
    doses: int
    """Of one supply of a month."""


WEGOVY = Product("wegovy_inj", "wegovy_inj", (0.25, 0.5, 1.0, 1.7, 2.4), (1.7, 2.4), 28, (4, "pen"), 4)
ZEPBOUND = Product("zepbound_pen", "zepbound", (2.5, 5.0, 7.5, 10.0, 12.5, 15.0), (5.0, 10.0, 15.0), 28, (4, "pen"), 4)
VIALS = Product("zepbound_vial", "zepbound", (2.5, 5.0, 7.5, 10.0, 12.5, 15.0), (5.0, 10.0, 15.0), 7, (1, "vial"), 4)
TABLETS = Product("wegovy_tab", "wegovy_tab", (1.5, 4.0, 9.0, 25.0), (25.0,), 30, (30, "tablet"), 30)
