"""One page of the sandbox CRM: a person looks at the contacts and edits one, as somebody in sales would.

Here: HTML made of escaped text. Not here: who may see it (`server`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from urllib.parse import urlencode

from .database import Contact

SHOWN = ("firstname", "lastname", "email", "mobilephone", "glp1_pipeline_status")
EDITED = (
    "firstname", "lastname", "email", "mobilephone", "hs_language", "glp1_timezone", "glp1_lead_source",
    "glp1_sms_opt_out", "glp1_marketing_opt_out", "glp1_do_not_contact",
)  # fmt: skip
STYLE = """body{font:16px/1.4 system-ui,sans-serif;margin:2rem;max-width:70rem}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ccc}label{display:block;margin:.5rem 0}
input{font:inherit;width:24rem;max-width:100%;box-sizing:border-box}
input[readonly]{background:#eee;border:1px solid #ccc;color:#555}
.edited{display:grid;grid-template-columns:repeat(auto-fill,minmax(24rem,1fr));gap:0 1rem}
[role=status]{font-weight:bold}p{max-width:45rem}form{margin-bottom:1rem}"""
ABOUT = (
    "A stand-in for your CRM, on this machine. Edit a contact as somebody in sales would: the pipeline hears it within"
    " seconds."
)


def whole(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>{body}</html>"
    )


def list_page(contacts: list[Contact], next_after: int | None, wanted: str) -> str:
    rows = "".join(
        f'<tr><td><a href="/contacts/{c.contact_id}">{c.contact_id}</a></td>'
        + "".join(f"<td>{escape(c.properties.get(name, ''))}</td>" for name in SHOWN)
        + f"<td>{c.version}</td></tr>"
        for c in contacts
    )
    heads = "".join(f"<th>{name}</th>" for name in ("id", *SHOWN, "version"))
    query = escape(urlencode({"after": next_after or 0, **({"q": wanted} if wanted else {})}), quote=True)
    more = f'<p><a href="/?{query}">More</a></p>' if next_after else ""
    none = "" if contacts else "<p>No contact is like that.</p>" if wanted else "<p>There is no contact yet.</p>"
    find = (
        '<form role="search"><label>Name, email, phone or glp1_patient_id<br>'
        f'<input type="search" name="q" value="{escape(wanted, quote=True)}"></label><button>Find</button></form>'
    )
    return whole("Sandbox CRM: contacts", f"<p>{ABOUT}</p>{find}<table><tr>{heads}</tr>{rows}</table>{none}{more}")


def edit_page(contact: Contact, history: dict[str, list[dict]], said: str) -> str:

    def fields(names: Iterable[str]) -> str:
        return "".join(
            f"<label>{escape(name)}{'' if name in EDITED else ' (the pipeline writes it)'}<br>"
            f'<input name="{escape(name, quote=True)}" value="{escape(contact.properties.get(name, ""), quote=True)}"'
            f"{'' if name in EDITED else ' readonly'}></label>"
            for name in names
        )

    others = [name for name in contact.properties if name not in EDITED]
    told = f'<p role="status">{escape(said)}</p>' if said else ""
    former = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(one['value'])}</td><td>{escape(by(one['source']))}</td>"
        f"<td>{datetime.fromtimestamp(one['at_ms'] / 1000, UTC):%Y-%m-%d %H:%M:%S}</td></tr>"
        for name, entries in history.items()
        for one in entries
    )
    heads = "<tr><th>property</th><th>value</th><th>by</th><th>when (UTC)</th></tr>"
    return whole(
        f"Contact {contact.contact_id}, version {contact.version}",
        f'<p><a href="/">All contacts</a></p><p>{ABOUT} Opt-outs are true, false or empty.</p>'
        f'{told}<form method="post"><input type="hidden" name="version" value="{contact.version}">'
        f'<div class="edited">{fields(EDITED)}</div><button>Save</button>{fields(others)}</form>'
        f"<h2>History</h2><table>{heads}{former}</table>",
    )


def by(source: str) -> str:
    """Whose word a property is, for a person: the name of the app, or somebody at this page."""
    kind, _, name = source.partition(":")
    return name or kind.lower().replace("_", " ")
