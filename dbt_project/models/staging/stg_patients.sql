-- One row per patient, after merges, whose clock began: when it began, and when the EHR first had their chart.
with charts as (
    select coalesce(l.patient_id, w.patient_id) as patient_id, min(w.settled_at) as chart_at
    from {{ source('ops', 'writes') }} w
    left join {{ source('ops', 'patient_links') }} l on l.record_id = w.patient_id
    where w.target = 'ehr' and w.status = 'delivered'
    group by 1
),

starts as (
    select patient_id, least(heard_at, started_at) as start_at, submitted_at
    from {{ source('ops', 'patient_starts') }}
)

select s.patient_id, s.start_at, s.submitted_at, c.chart_at
from starts s
left join charts c using (patient_id)
where s.start_at >= '{{ var("measured_since") }}'::timestamptz
