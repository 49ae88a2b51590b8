"""Who may say what by the landing zone, where anybody who may write a file can claim to be anyone.

The form's own events come from any source. What another system says counts as that system's word, so it comes from
sources alone that the installation names. Not here: where these names stand, and events that we bring in ourselves.
"""

from __future__ import annotations

from collections.abc import Collection

from ..contract import PIPELINE, STEWARD, Contract
from .shapes import Event, Refused

FORM = "intake"
"""Emits what people say in the form."""
REASON = "not_by_this_door"


def check_drop(contract: Contract, event: Event, named: Collection[str]) -> None:
    """Raises Refused for an event that may not come in a drop. `named`: sources, or the beginnings of sources (these
    end in a slash), of systems that the pipeline cannot ask."""
    emitters = contract.event_types[event.type].emitters
    system = event.source.removeprefix("/").partition("/")[0]
    if STEWARD in (*emitters, system):
        raise Refused(REASON, "decisions of stewards do not come by the landing zone: use `glp1 match`")
    if PIPELINE in (*emitters, system):
        raise Refused(REASON, "what the pipeline's own clock reached comes from the pipeline alone")
    if FORM in emitters and (system == FORM or system not in contract.emitters):
        return
    if event.source in {f"/{system}/{kind.target}" for kind in contract.writes.values()}:
        raise Refused(REASON, "the pipeline asks this system itself; nobody else speaks for it")
    if system not in emitters:
        begins = " or ".join(f"`/{emitter}/`" for emitter in emitters)
        raise Refused(REASON, f"an event of this type has a source that begins with {begins}")
    if not any(event.source == name or (name.endswith("/") and event.source.startswith(name)) for name in named):
        raise Refused(REASON, "its source is not among those that GLP1_DROP_SOURCES names: see docs/how-to-drop.md")
