"""Settings of runs; each file has `get_config()`."""
