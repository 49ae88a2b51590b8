"""What all tables are declared with: the metadata, the schemas, and columns that many have. Not here: any table."""

from sqlalchemy import BigInteger, Column, DateTime, MetaData, text

metadata = MetaData()
SCHEMAS = ("phi", "ops", "analytics")
OF_THIS_RUN = text("nullif(current_setting('glp1.run_id', true), '')")
"""What the connection of a run says of itself; nothing where no run is at work."""


def instant(name: str, nullable: bool = True, **kw) -> Column:
    return Column(name, DateTime(timezone=True), nullable=nullable, **kw)


def required(name: str, type_, **kw) -> Column:
    return Column(name, type_, nullable=False, **kw)


def counter(name: str) -> Column:
    return Column(name, BigInteger, nullable=False, server_default="0")
