"""The words of an alert: names, counts, ages and links, never a value of a patient.

Not here: to whom they go (`judging.called`), and sending.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from .shapes import Alert, Incident

_HEADS = {"opened": "{}", "escalated": "nobody answered, {}", "resolved": "resolved, {}"}


def title_of(alert: Alert | None, incident: Incident, news: str) -> str:
    head = _HEADS[news].format(incident.severity)
    scope = f" ({incident.scope})" if incident.scope else ""
    return f"[{head}] {alert.title if alert else incident.alert}{scope}"


def body_of(alert: Alert | None, incident: Incident, news: str, called: str, link: str, now: datetime) -> str:
    """`called` is who should act now, `link` leads to the asset."""
    what = alert.counts if alert else "affected"
    most = f"at most {counted(incident.most_affected, what)}"
    affected = most if news == "resolved" else counted(incident.affected, what)
    ended = incident.resolved_at or now
    lines = [
        f"{affected}; {'lasted' if news == 'resolved' else 'for'} {age(ended - incident.opened_at)}",
        f"team {incident.owner}, on call: {called}",
    ]
    if incident.acknowledged_by:
        lines.append(f"acknowledged by {incident.acknowledged_by}")
    if news != "resolved":
        if alert:
            lines.append(f"what to do: docs/runbook.md#{alert.runbook}")
        lines.append(f"look: {link}")
        # What the store does not know of yet has no number: it is answered on this machine by its name.
        lines.append(f"answer: glp1 alerts ack {incident.incident_id or incident.alert} --by YOUR-NAME")
    return "\n".join(lines)


def counted(number: int, what: str) -> str:
    """`what` begins with a plural, as in contracts/alerts.yaml: 2 events rejected, but 1 event rejected."""
    things, *more = what.split(" ")
    return " ".join([str(number), things.removesuffix("s") if number == 1 else things, *more])


def age(length: timedelta) -> str:
    seconds = length.total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}".replace(".0 ", " ")
    return f"{max(0, seconds):.0f} s"
