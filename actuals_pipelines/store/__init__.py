"""The encrypted store: a catalogue in the tenant's database that names encrypted Parquet files under its prefix."""
