"""Every setting with its default, and its frozen form.

Config files build a `ConfigDict` with `default_config()` and change only what
differs; `from_config` freezes it into the dataclasses that the code takes.
Nothing here imports jax, so that a config file loads at once.
"""

from tagsdc_jax.settings.checks import KINDS, profiled_updates
from tagsdc_jax.settings.freezing import (default_config, flatten, from_config,
                                          from_flat)
from tagsdc_jax.settings.presets import PRESETS, apply_preset
from tagsdc_jax.settings.schema import (ATTENTION, DTYPES, EXCLUDED,
                                        FREE_TO_CHANGE, PHASES, PRECISIONS,
                                        SOURCES, Batch, Compute, Data,
                                        Evaluation, Losses, Model, Negatives,
                                        Optimizer, Quirks, Settings)

__all__ = [
    'ATTENTION', 'DTYPES', 'EXCLUDED', 'FREE_TO_CHANGE', 'KINDS', 'PHASES',
    'PRECISIONS', 'PRESETS', 'SOURCES', 'Batch', 'Compute', 'Data',
    'Evaluation', 'Losses', 'Model', 'Negatives', 'Optimizer', 'Quirks',
    'Settings', 'apply_preset', 'default_config', 'flatten', 'from_config',
    'from_flat', 'profiled_updates']
