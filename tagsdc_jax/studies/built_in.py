"""The studies, by name."""

from tagsdc_jax.studies import (
  ablation,
  filters,
  generator,
  length_bias,
  quirks,
  units,
)

STUDIES = {
  one.name: one
  for one in (
    ablation.STUDY,
    generator.STUDY,
    units.STUDY,
    filters.STUDY,
    length_bias.STUDY,
    quirks.STUDY,
  )
}
