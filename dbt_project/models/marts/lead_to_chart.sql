-- Of charts made in a window: how long they took. Of clocks that began in it: how many have come to a chart so far.
with made as (
    select
        window_kind,
        window_from,
        count(*) as charts,
        percentile_cont(0.5) within group (order by {{ seconds_between('start_at', 'chart_at') }}) as p50_seconds,
        percentile_cont(0.9) within group (order by {{ seconds_between('start_at', 'chart_at') }}) as p90_seconds,
        percentile_cont(0.95) within group (order by {{ seconds_between('start_at', 'chart_at') }}) as p95_seconds,
        percentile_cont(0.5) within group (order by {{ seconds_between('submitted_at', 'chart_at') }})
            as submitted_to_chart_p50_seconds
    from {{ in_windows(ref('stg_patients'), 'chart_at') }} as rows
    group by 1, 2
),

begun as (
    select
        window_kind,
        window_from,
        count(*) as started,
        count(chart_at) as started_with_chart,
        max({{ seconds_between('start_at', as_of()) }}) filter (where chart_at is null) as longest_wait_seconds,
        -- Who has no chart yet waits longer than anybody who has: the median is empty where it falls among them.
        nullif(
            percentile_disc(0.5) within group (
                order by coalesce({{ seconds_between('start_at', 'chart_at') }}, 'infinity'::float8)
            ),
            'infinity'::float8
        ) as censored_p50_seconds
    from {{ in_windows(ref('stg_patients'), 'start_at') }} as rows
    group by 1, 2
)

select
    window_kind,
    window_from,
    coalesce(m.charts, 0) as charts,
    m.p50_seconds,
    m.p90_seconds,
    m.p95_seconds,
    m.submitted_to_chart_p50_seconds,
    coalesce(b.started, 0) as started,
    coalesce(b.started_with_chart, 0) as started_with_chart,
    coalesce(b.started, 0) - coalesce(b.started_with_chart, 0) as started_without_chart,
    {{ share('b.started_with_chart', 'b.started') }} as conversion,
    b.censored_p50_seconds,
    b.longest_wait_seconds,
    coalesce(m.charts, 0) >= {{ var('fewest') }} as has_enough
from {{ newest_window() }} as newest
full join made m using (window_kind, window_from)
full join begun b using (window_kind, window_from)
