-- One row per attempt to deliver a write that is kept: the ones that another followed go after 90 days.
select d.delivery_id, w.target, d.at, d.outcome, d.outcome not in ('delivered', 'conflict') as is_failed
from {{ source('ops', 'deliveries') }} d
inner join {{ source('ops', 'writes') }} w using (write_id)
