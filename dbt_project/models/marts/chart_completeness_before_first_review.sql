-- Who may be reviewed, and of them whose chart is complete; beside it, of all who pressed submit, who got so far.
with queued as (
    select window_kind, window_from, count(*) as reviewable, count(*) filter (where is_passed) as complete
    from {{ in_windows(ref('stg_gates'), 'entered_at') }} as rows
    group by 1, 2
),

submitted as (
    select
        window_kind,
        window_from,
        count(*) as submitted,
        count(*) filter (where is_passed) as submitted_complete,
        avg(score) as mean_score,
        percentile_cont(0.5) within group (order by {{ seconds_between('submitted_at', 'entered_at') }})
            as submitted_to_queue_p50_seconds
    from {{ in_windows(ref('stg_gates'), 'submitted_at') }} as rows
    group by 1, 2
)

select
    window_kind,
    window_from,
    coalesce(q.reviewable, 0) as reviewable,
    coalesce(q.complete, 0) as complete,
    {{ share('q.complete', 'q.reviewable') }} as completeness,
    coalesce(s.submitted, 0) as submitted,
    coalesce(s.submitted_complete, 0) as submitted_complete,
    {{ share('s.submitted_complete', 's.submitted') }} as submitted_completeness,
    s.mean_score,
    s.submitted_to_queue_p50_seconds,
    coalesce(q.reviewable, 0) >= {{ var('fewest') }} as has_enough
from {{ newest_window() }} as newest
full join queued q using (window_kind, window_from)
full join submitted s using (window_kind, window_from)
