"""The view of pairs that a person must decide: likely matches, and what another system made one against a decision.

Here: its text (the migration makes it). Not here: reading it (`matches`), and when two records match.
"""

from __future__ import annotations

from typing import LiteralString

VIEW: LiteralString = (
    # The one who was heard of later waits for the answer: so the same pair makes the same task in any order.
    "create view ops.patient_match_reviews as select case when (a.first_at, m.record_a) > (b.first_at, m.record_b)"
    " then m.record_a else m.record_b end as later, case when (a.first_at, m.record_a) > (b.first_at, m.record_b)"
    " then m.record_b else m.record_a end as earlier, m.weight, m.agreements, m.guards, m.since"
    " from (select record_a, record_b, weight, agreements, guards, since from ops.patient_matches p"
    " where not exists (select from phi.match_decisions d where (d.record_a = p.record_a and d.record_b = p.record_b)"
    " or (d.record_a = p.record_b and d.record_b = p.record_a))"
    " union all select * from (select distinct on (least(d.record_a, d.record_b), greatest(d.record_a, d.record_b))"
    " least(d.record_a, d.record_b), greatest(d.record_a, d.record_b), coalesce(p.weight, 0),"
    " coalesce(p.agreements, '{}'), coalesce(p.guards, '{}') || '{told_apart_by_a_person}', d.decided_at"
    " from phi.match_decisions d left join ops.patient_matches p on p.record_a = least(d.record_a, d.record_b)"
    " and p.record_b = greatest(d.record_a, d.record_b) where d.action = 'asked' and not exists"
    " (select from phi.match_decisions n where n.action <> 'asked' and (n.decided_at, n.event_id) > (d.decided_at,"
    " d.event_id) and ((n.record_a = d.record_a and n.record_b = d.record_b) or (n.record_a = d.record_b and"
    " n.record_b = d.record_a))) order by 1, 2, d.decided_at) as asked) m"
    " join phi.people a on a.record_id = m.record_a join phi.people b on b.record_id = m.record_b"
    " left join ops.patient_links x on x.record_id = m.record_a left join ops.patient_links y"
    " on y.record_id = m.record_b where coalesce(x.patient_id, m.record_a) <> coalesce(y.patient_id, m.record_b)"
)
BEFORE: LiteralString = (
    "create view ops.patient_match_reviews as select case when (a.first_at, m.record_a) > (b.first_at, m.record_b)"
    " then m.record_a else m.record_b end as later, case when (a.first_at, m.record_a) > (b.first_at, m.record_b)"
    " then m.record_b else m.record_a end as earlier, m.weight, m.agreements, m.guards, m.since"
    " from ops.patient_matches m join phi.people a on a.record_id = m.record_a"
    " join phi.people b on b.record_id = m.record_b left join ops.patient_links x on x.record_id = m.record_a"
    " left join ops.patient_links y on y.record_id = m.record_b"
    " where coalesce(x.patient_id, m.record_a) <> coalesce(y.patient_id, m.record_b)"
    " and not exists (select from phi.match_decisions d where (d.record_a = m.record_a and d.record_b = m.record_b)"
    " or (d.record_a = m.record_b and d.record_b = m.record_a))"
)
"""As the second migration made it: what a downgrade brings back."""
DROP: LiteralString = "drop view ops.patient_match_reviews"
