"""The definitions load, and every asset's table is declared."""

import dagster as dg

from glp1_pipeline.adapters.tables import metadata
from glp1_pipeline.definitions import defs


def test_the_definitions_load_and_count_what_the_house_has():
    dg.Definitions.validate_loadable(defs)
    names = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert len(names) == 29
    views_and_doors = {
        "crm_changes", "crm_deliveries", "ehr_changes", "health_page", "hops", "ledger_balance", "ownership_drift", "patient_match_reviews",
        "table_sizes", "unmapped_codes",
    }  # fmt: skip
    assert names - {table.name for table in metadata.tables.values()} == views_and_doors


def test_every_asset_says_what_it_is_whose_it_is_and_where_it_belongs():
    for spec in defs.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        assert is_told(spec.description), name
        assert spec.owners, name
        assert spec.group_name in {
            "alerts",
            "intake",
            "identity",
            "chart",
            "ownership",
            "delivery",
            "recovery",
            "medication",
            "followup",
            "refill",
        }, name
        assert len(spec.kinds) >= 2, name
        assert "python" in spec.kinds, name


def test_every_check_job_sensor_and_schedule_tells_a_newcomer_what_it_is_for():
    checks = {
        key.name: defs.resolve_asset_graph().get_check_spec(key) for key in defs.resolve_asset_graph().asset_check_keys
    }
    assert {
        "changes_are_read", "reviewed_in_time", "conflicts_do_not_grow", "no_new_spellings",
        "exceptions_before_the_window", "no_refill_without_its_fields", "overrides_do_not_grow",
    } <= set(checks)  # fmt: skip
    others = {one.name: one for one in [*(defs.jobs or ()), *(defs.sensors or ()), *(defs.schedules or ())]}
    untold = [name for name, one in {**checks, **others}.items() if not is_told(one.description)]
    assert untold == []
    assert [name for name, one in others.items() if not one.owners] == []


def test_every_job_that_a_person_fills_in_has_an_owner_and_explains_each_of_its_settings():
    for job in defs.jobs or ():
        if not isinstance(job, dg.JobDefinition):
            continue
        assert job.owners, job.name
        for op in job.all_node_defs:
            fields = op.config_schema.as_field().config_type.fields  # pyright: ignore
            assert [name for name, field in fields.items() if not field.description] == [], job.name
            assert fields["dry_run"].default_value is True, job.name


def is_told(description: str | None) -> bool:
    """A sentence at least, and not only the name again."""
    return bool(description) and len(description.split()) >= 10 and description.rstrip().endswith((".", "`.", "`"))
