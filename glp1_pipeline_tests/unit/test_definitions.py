"""The definitions load, and every asset's table is declared."""

import dagster as dg

from glp1_pipeline.adapters.tables import metadata
from glp1_pipeline.definitions import defs


def test_the_definitions_load_and_count_what_the_house_has():
    dg.Definitions.validate_loadable(defs)
    names = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert len(names) == 11
    assert names - {table.name for table in metadata.tables.values()} == {"ledger_balance"}
