"""Configs of runs; each file defines `get_config()`."""
