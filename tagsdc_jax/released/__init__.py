"""The PyTorch release's own step, with its errors; for comparisons, not fast.

Nothing below this room knows of it: a run that asks for the release's step
(`quirks.plain_step`) takes its micro-batches, heads and objective from here.
"""
