-- One row per time that the sync with the EHR or the CRM was in trouble.
select
    incident_id, alert, scope, opened_at, detected_at, resolved_at
from {{ source('ops', 'incidents') }}
where alert in ({% for name in var('sync_alerts') %}'{{ name }}'{{ ", " if not loop.last }}{% endfor %})
