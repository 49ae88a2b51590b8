{# Now: the database's clock, but for a test that says when it is. #}
{% macro as_of() -%}
    {% if var('as_of') %}'{{ var("as_of") }}'::timestamptz{% else %}now(){% endif %}
{%- endmacro %}

{# The Monday on which the week of an instant began, in the program's time zone. #}
{% macro week_of(instant) -%}
    date_trunc('week', {{ instant }} at time zone '{{ var("program_time_zone") }}')::date
{%- endmacro %}

{#
    Each row once for its week and once more for the last 30 days, if it is of them: `instant` is the column by which a
    row is of a window. Adds window_kind (week or last_30_days) and window_from (its first day).
#}
{% macro in_windows(relation, instant) -%}
    (
        select 'week' as window_kind, {{ week_of(instant) }} as window_from, r.* from {{ relation }} r
        where {{ instant }} is not null and {{ instant }} <= {{ as_of() }}
        union all
        select 'last_30_days', {{ thirty_days_ago() }}, r.*
        from {{ relation }} r
        where {{ instant }} > {{ as_of() }} - interval '30 days' and {{ instant }} <= {{ as_of() }}
    )
{%- endmacro %}

{# The first of the last 30 days. #}
{% macro thirty_days_ago() -%}
    ({{ as_of() }} at time zone '{{ var("program_time_zone") }}')::date - 30
{%- endmacro %}

{# The last 30 days, also where nothing is of them: a count that is nought is a number, too. #}
{% macro newest_window() -%}
    (select 'last_30_days' as window_kind, {{ thirty_days_ago() }} as window_from)
{%- endmacro %}

{% macro seconds_between(first, last) -%}
    extract(epoch from {{ last }} - {{ first }})::float8
{%- endmacro %}

{# A share: empty, not zero, where there is nothing to share. #}
{% macro share(part, whole) -%}
    round(({{ part }})::numeric / nullif({{ whole }}, 0), 4)::float8
{%- endmacro %}
