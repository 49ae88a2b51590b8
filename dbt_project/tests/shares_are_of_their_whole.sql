-- No part is larger than its whole, in any window.
select 'lead_to_chart' as metric from {{ ref('lead_to_chart') }} where started_with_chart > started
union all
select 'chart_completeness_before_first_review' from {{ ref('chart_completeness_before_first_review') }}
where complete > reviewable or submitted_complete > submitted
union all
select 'sync_failure_rate' from {{ ref('sync_failure_rate') }}
where failed + delivered + pending <> writes or failed_attempts > attempts
union all
select 'mean_time_to_recovery' from {{ ref('mean_time_to_recovery') }} where still_open > opened or mttr_seconds < 0
