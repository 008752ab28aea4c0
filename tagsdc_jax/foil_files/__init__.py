"""Benchmarks of foils: readers of published files, pictures, accuracy."""
