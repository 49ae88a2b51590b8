-- One row per patient whom the gate of completeness judged: how it stands now, and when they entered the queue.
select
    g.patient_id, g.outcome = 'passed' as is_passed, g.score, s.submitted_at, q.entered_at
from {{ source('ops', 'gate_results') }} g
left join {{ source('ops', 'patient_starts') }} s using (patient_id)
left join {{ source('ops', 'provider_queue') }} q using (patient_id)
where g.gate_id = 'clinical-minimum'
