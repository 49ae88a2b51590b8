"""The definitions load, and every asset's table is declared."""

import dagster as dg

from glp1_pipeline.adapters.tables import metadata
from glp1_pipeline.definitions import defs


def test_the_definitions_load_and_count_what_the_house_has():
    dg.Definitions.validate_loadable(defs)
    names = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert len(names) == 19
    views_and_doors = {
        "crm_changes", "crm_deliveries", "ehr_changes", "ledger_balance", "ownership_drift", "patient_match_reviews",
        "unmapped_codes",
    }  # fmt: skip
    assert names - {table.name for table in metadata.tables.values()} == views_and_doors
