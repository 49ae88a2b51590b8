"""The definitions load, and every asset's table is declared."""

import dagster as dg

from glp1_pipeline import metrics_definitions
from glp1_pipeline.adapters.tables import metadata
from glp1_pipeline.contracts.alerts import load_alerts
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


def test_whose_something_is_has_the_same_name_in_the_ui_and_in_the_rota_of_who_is_called():
    teams = {f"team:{team}" for team in load_alerts().teams}
    loaded = [defs, metrics_definitions.defs]
    named = [one for each in loaded for one in (*(each.jobs or ()), *(each.sensors or ()), *(each.schedules or ()))]
    owners = {f"{one.name} ({type(one).__name__})": one.owners for one in named}
    owners |= {spec.key.to_user_string(): spec.owners for each in loaded for spec in each.resolve_all_asset_specs()}
    assert {name: given for name, given in owners.items() if not set(given or ()) <= teams} == {}


def test_an_alert_leads_to_an_asset_of_the_team_that_it_calls():
    owners = {spec.key.to_user_string(): spec.owners for spec in defs.resolve_all_asset_specs()}
    called: dict[str, set[str]] = {}
    for alert in load_alerts().alerts.values():
        called.setdefault(alert.asset, set()).add(f"team:{alert.owner}")
    called["tasks"] |= {f"team:{team}" for team in load_alerts().teams}  # the alert `queue_stuck`: any queue's
    assert {asset: owners[asset] for asset, teams in called.items() if not set(owners[asset]) <= teams} == {}


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
