"""Moved to tagsdc_jax/progress.py."""

from tagsdc_jax.progress import progress_bar  # noqa: F401
