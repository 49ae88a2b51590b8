-- Of troubles of the sync that ended in a window: how long they lasted. Open ones are counted, never averaged in.
with ended as (
    select
        window_kind,
        window_from,
        count(*) as resolved,
        avg({{ seconds_between('opened_at', 'resolved_at') }}) as mttr_seconds,
        avg({{ seconds_between('opened_at', 'detected_at') }}) as mttd_seconds
    from {{ in_windows(ref('stg_sync_incidents'), 'resolved_at') }} as rows
    group by 1, 2
),

begun as (
    select
        window_kind,
        window_from,
        count(*) as opened,
        count(*) filter (where resolved_at is null) as still_open,
        max({{ seconds_between('opened_at', as_of()) }}) filter (where resolved_at is null) as oldest_open_seconds
    from {{ in_windows(ref('stg_sync_incidents'), 'opened_at') }} as rows
    group by 1, 2
),

recovered as (
    select
        window_kind,
        window_from,
        count(*) as writes_recovered,
        percentile_cont(0.5) within group (order by {{ seconds_between('first_failed_at', 'settled_at') }})
            as write_recovery_p50_seconds
    from {{ in_windows(ref('stg_writes'), 'settled_at') }} as rows
    where status = 'delivered' and first_failed_at is not null
    group by 1, 2
)

select
    window_kind,
    window_from,
    coalesce(e.resolved, 0) as resolved,
    e.mttr_seconds,
    e.mttd_seconds,
    coalesce(b.opened, 0) as opened,
    coalesce(b.still_open, 0) as still_open,
    b.oldest_open_seconds,
    coalesce(r.writes_recovered, 0) as writes_recovered,
    r.write_recovery_p50_seconds
from {{ newest_window() }} as newest
full join ended e using (window_kind, window_from)
full join begun b using (window_kind, window_from)
full join recovered r using (window_kind, window_from)
