"""Usage rows out to an engine of the operator's: Parquet files or ClickHouse, fed from the journal itself."""
