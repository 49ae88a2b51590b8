-- Of the changes decided in a window for a target: how many were given up after all retries.
with writes as (
    select
        window_kind,
        window_from,
        target,
        count(*) as writes,
        count(*) filter (where status = 'dead') as failed,
        count(*) filter (where status = 'delivered') as delivered,
        count(*) filter (where status in ('ready', 'in_doubt')) as pending
    from {{ in_windows(ref('stg_writes'), 'created_at') }} as rows
    group by 1, 2, 3
),

attempts as (
    select window_kind, window_from, target, count(*) as attempts, count(*) filter (where is_failed) as failed_attempts
    from {{ in_windows(ref('stg_attempts'), 'at') }} as rows
    group by 1, 2, 3
)

select
    window_kind,
    window_from,
    target,
    coalesce(w.writes, 0) as writes,
    coalesce(w.failed, 0) as failed,
    coalesce(w.delivered, 0) as delivered,
    coalesce(w.pending, 0) as pending,
    {{ share('w.failed', 'w.writes') }} as failure_rate,
    coalesce(a.attempts, 0) as attempts,
    coalesce(a.failed_attempts, 0) as failed_attempts,
    {{ share('a.failed_attempts', 'a.attempts') }} as attempt_failure_rate,
    coalesce(w.writes, 0) >= {{ var('fewest') }} as has_enough
from writes w
full join attempts a using (window_kind, window_from, target)
