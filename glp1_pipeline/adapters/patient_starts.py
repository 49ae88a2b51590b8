"""The view by which the metrics know when somebody was first heard of: opaque keys and times, and no more of `phi`.

A view of the owner's: whoever may read it needs no right to what it is made of. Not here: what is counted from it
(`dbt_project`).
"""

from __future__ import annotations

from typing import LiteralString

VIEW: LiteralString = (
    "create view ops.patient_starts as select coalesce(l.patient_id, v.record_id) as patient_id,"
    " min(v.received_at) filter (where v.source <> 'intake') as heard_at,"
    " min(v.received_at) filter (where v.source = 'intake') as started_at,"
    " min(v.received_at) filter (where v.source = 'intake' and v.status <> 'in-progress') as submitted_at"
    " from phi.patient_values v left join ops.patient_links l using (record_id) group by 1"
)
COMMENT: LiteralString = (
    "comment on view ops.patient_starts is 'One row per patient, after merges: when another system first told of them"
    " (heard_at), when their first answers came, a draft counts (started_at), and when they first pressed submit"
    " (submitted_at). Times alone.'"
)
DROP: LiteralString = "drop view ops.patient_starts"
