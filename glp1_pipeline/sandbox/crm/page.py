"""One page of the sandbox CRM: a person looks at the contacts and edits one, as somebody in sales would.

Here: HTML made of escaped text. Not here: who may see it (`server`).
"""

from __future__ import annotations

from html import escape

from .database import Contact

SHOWN = ("firstname", "lastname", "email", "mobilephone", "glp1_pipeline_status")
EDITED = (
    "firstname", "lastname", "email", "mobilephone", "hs_language", "glp1_timezone", "glp1_lead_source",
    "glp1_sms_opt_out", "glp1_marketing_opt_out", "glp1_do_not_contact",
)  # fmt: skip
STYLE = """body{font:16px/1.4 system-ui,sans-serif;margin:2rem;max-width:70rem}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ccc}label{display:block;margin:.5rem 0}
input{font:inherit;width:24rem;max-width:100%}"""


def whole(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>{body}</html>"
    )


def list_page(contacts: list[Contact], next_after: int | None) -> str:
    rows = "".join(
        f'<tr><td><a href="/contacts/{c.contact_id}">{c.contact_id}</a></td>'
        + "".join(f"<td>{escape(c.properties.get(name, ''))}</td>" for name in SHOWN)
        + f"<td>{c.version}</td></tr>"
        for c in contacts
    )
    heads = "".join(f"<th>{name}</th>" for name in ("id", *SHOWN, "version"))
    more = f'<p><a href="/?after={next_after}">More</a></p>' if next_after else ""
    return whole("Sandbox CRM: contacts", f"<table><tr>{heads}</tr>{rows}</table>{more}")


def edit_page(contact: Contact, history: dict[str, list[dict]], said: str = "") -> str:
    names = [*EDITED, *(n for n in contact.properties if n not in EDITED)]
    fields = "".join(
        f"<label>{escape(name)}<br>"
        f'<input name="{escape(name, quote=True)}" value="{escape(contact.properties.get(name, ""), quote=True)}"'
        f"{'' if name in EDITED else ' readonly'}></label>"
        for name in names
    )
    former = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(one['value'])}</td><td>{escape(one['source'])}</td></tr>"
        for name, entries in history.items()
        for one in entries
    )
    return whole(
        f"Contact {contact.contact_id}, version {contact.version}",
        f'<p><a href="/">All contacts</a></p><p role="status">{escape(said)}</p><form method="post">'
        f'<input type="hidden" name="version" value="{contact.version}">{fields}<button>Save</button></form>'
        f"<h2>History</h2><table><tr><th>property</th><th>value</th><th>by</th></tr>{former}</table>",
    )
