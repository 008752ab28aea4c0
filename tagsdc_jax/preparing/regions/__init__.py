"""Readers of region features in the formats that people have."""
