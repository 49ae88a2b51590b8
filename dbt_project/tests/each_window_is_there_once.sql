-- One row per window, and of the sync one per window and target.
{% for metric in ('lead_to_chart', 'chart_completeness_before_first_review', 'mean_time_to_recovery') %}
select '{{ metric }}' as metric from {{ ref(metric) }} group by window_kind, window_from having count(*) > 1
union all
{% endfor %}
select 'sync_failure_rate' from {{ ref('sync_failure_rate') }}
group by window_kind, window_from, target having count(*) > 1
