"""Health as one page of HTML: self-contained, readable on a phone and on paper, and right without a script.

No word on it comes from outside but names that were made plain; all are escaped. Here: how it looks, and writing it
whole. Not here: the verdicts (`domain.health`).
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
import uuid
from contextlib import suppress
from html import escape
from pathlib import Path

from glp1_pipeline.domain.health import COLOURS, KINDS, Colour, Health, Light, in_words

OLD_AFTER_MINUTES = 10
"""The page is made every two minutes: older than this, nobody makes it any more."""
UNMADE_AFTER_SECONDS = 150
"""The run that makes it takes seconds."""
SIGNS: dict[Colour, tuple[str, str]] = {"red": ("✕", "act now"), "amber": ("!", "watch"), "green": ("✓", "well")}
"""Colour is never the only sign."""
TITLES = {
    "ledger": "Ledger", "feed": "Feeds", "queue": "Work queues", "gate": "Gates", "target": "Target systems",
    "program": "Programs",
}  # fmt: skip

STYLE = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;max-width:66rem;padding:1rem;color:#1c1c1c;background:#fff}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}p{margin:.2rem 0}
.old{border:3px solid #8f1414;padding:.5rem .8rem;margin:.8rem 0;font-weight:700}
.old[hidden]{display:none}
.sum{display:flex;flex-wrap:wrap;gap:.5rem;margin:.8rem 0;padding:0;list-style:none}
.sum li{border:2px solid;border-radius:.4rem;padding:.2rem .7rem;font-weight:700}
.light{border:1px solid #c9c9c9;border-left-width:.5rem;border-radius:.3rem;padding:.5rem .8rem;margin:.4rem 0;
break-inside:avoid}
.light h3{font-size:1rem;margin:0;overflow-wrap:anywhere}
.mark{display:inline-block;min-width:6.2rem;font-weight:700}
.red{border-color:#b3261e}.red .mark,.sum .red{color:#8f1414}
.amber{border-color:#b26a00;border-left-style:dashed}.amber .mark,.sum .amber{color:#7a4700}
.green{border-color:#2e7d4f}.green .mark,.sum .green{color:#1b5e36}
.sum .amber{border-style:dashed}
.step{font-weight:600}.small{color:#4a4a4a;font-size:.9rem}
code{font:.92em ui-monospace,monospace;background:#f1f1f1;padding:.05rem .3rem;display:inline-block;max-width:100%;
overflow-wrap:anywhere}
.well{margin:.15rem 0;padding:0 .8rem;border-left:.5rem solid #2e7d4f;break-inside:avoid}
@media print{body{font-size:11pt;max-width:none;padding:0}code{background:none;border:1px solid #999}}
"""
SCRIPT = """
var made=new Date(document.getElementById("made").dateTime),old=document.getElementById("old");
function look(){var m=Math.floor((Date.now()-made)/60000);if(m>=OLD||m<-5){old.hidden=false;
document.getElementById("age").textContent=m<0?"in the future, by this device's clock":m+" minutes ago";}}
look();setInterval(look,15000);
""".replace("OLD", str(OLD_AFTER_MINUTES))


def page(health: Health) -> str:
    """The whole page. It says when it was made; a script only makes its age plainer."""
    made, counts = health.made_at, health.counts
    summary = "".join(
        f'<li class="{colour}">{SIGNS[colour][0]} {counts[colour]} {colour}: {SIGNS[colour][1]}</li>'
        for colour in COLOURS
    )
    urgent = [light for colour in COLOURS[:2] for light in health.lights if light.colour == colour]
    parts = [_section("To do now, the worst first", urgent, health)] if urgent else []
    for kind in KINDS:
        of_kind = [light for light in health.lights if light.kind == kind]
        if of_kind:
            parts.append(_section(TITLES[kind], of_kind, health, is_short=True))
    policy = (
        f"default-src 'none'; style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; base-uri 'none';"
        " form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta http-equiv="refresh" content="60">
<title>{SIGNS[health.colour][0]} {counts["red"]} red, {counts["amber"]} amber - health of the pipeline</title>
<style>{STYLE}</style>
</head>
<body>
<h1>Health of the pipeline</h1>
<p>Made <time id="made" datetime="{made:%Y-%m-%dT%H:%M:%SZ}">{made:%Y-%m-%d %H:%M:%S} UTC</time>.
<span class="small">If that is more than {OLD_AFTER_MINUTES} minutes ago, the page is old and says nothing of now: ask
<code>glp1 health</code>.</span></p>
<div class="old" id="old" role="alert" hidden>This page is old: it was made <span id="age"></span>. Nothing on it may be
true any more. Ask <code>glp1 health</code>, and see whether Dagster's daemon runs.</div>
<ul class="sum">{summary}</ul>
{"".join(parts)}
<p class="small">Counts, names and times alone; no patient is on this page. When a part turns amber or red:
contracts/alerts.yaml; who is called: contracts/oncall.yaml.</p>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _section(title: str, lights: list[Light], health: Health, is_short: bool = False) -> str:
    return f"<h2>{escape(title)}</h2>\n" + "".join(_line(light, health, is_short) for light in lights)


def _line(light: Light, health: Health, is_short: bool) -> str:
    sign, word = SIGNS[light.colour]
    since = ""
    if light.since:
        since = f" {in_words(light.since, health.made_at)}, since {light.since:%Y-%m-%d %H:%M} UTC"
    whose = f"team {escape(light.owner)}, on call: {escape(light.called)}{_answered(light)}"
    if light.colour == "green":  # in one line: what needs somebody is not to be searched for between what does not
        says = f": {escape(light.says)}" if light.says else ""
        return (
            f'<p class="well green"><span class="mark">{sign} {word}</span> {escape(light.name)}{says}'
            f' <span class="small">{since.strip()}{"; " if since else ""}{whose}</span></p>\n'
        )
    rows = [
        f'<h3><span class="mark">{sign} {word}</span> {escape(light.name)}'
        + (f' <span class="small">({escape(TITLES[light.kind].lower())})</span>' if not is_short else "")
        + "</h3>",
        f"<p>{escape(light.says)}</p>" if light.says else "",
        f'<p class="small">{light.colour}{since}; {whose}</p>',
    ]
    if light.step and not is_short:
        runbook = f' <code class="small">docs/runbook.md#{escape(light.runbook)}</code>' if light.runbook else ""
        rows.append(
            f'<p><span class="step">Next: {escape(light.step)}</span> <code>{escape(light.command)}</code>{runbook}</p>'
        )
    return f'<div class="light {light.colour}">{"".join(rows)}</div>\n'


def _answered(light: Light) -> str:
    if light.acknowledged_by:
        return f"; {escape(light.acknowledged_by)} is at it"
    if light.incident_id is not None:
        return f"; nobody is at it yet: <code>glp1 alerts ack {light.incident_id} --by YOUR-NAME</code>"
    return ""


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def page_of(home: Path) -> Path:
    """Where the page of an installation is."""
    return home / "health" / "index.html"


def is_unmade(home: Path) -> bool:
    """Whether Dagster makes no page just now: there is none, or it should have been made anew."""
    try:
        made = page_of(home).stat().st_mtime
    except FileNotFoundError:
        return True
    return time.time() - made > UNMADE_AFTER_SECONDS


def write_page(path: Path, html: str) -> Path:
    """Replace the page whole: whoever reads meanwhile sees the old or the new one. Only its owner may read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - 3600:  # of a writer that was killed
                left.unlink()
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(html)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path
