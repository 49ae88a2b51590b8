-- One row per logical write: a change that a target must hear, whatever it took. What was called off is none.
with tries as (
    select
        write_id,
        count(*) as attempts,
        min(at) filter (where outcome not in ('delivered', 'conflict')) as first_failed_at
    from {{ source('ops', 'deliveries') }}
    group by 1
)

select w.write_id, w.target, w.status, w.created_at, w.settled_at, coalesce(t.attempts, 0) as attempts, t.first_failed_at
from {{ source('ops', 'writes') }} w
left join tries t using (write_id)
where w.status <> 'cancelled'
