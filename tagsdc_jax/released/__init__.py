"""The PyTorch release's step, including its errors; for comparison, not speed.

A run with the release's step (`quirks.plain_step`) uses the micro-batches,
heads and objective of this package. Lower-level packages do not depend on it.
"""
