"""The studies, by name."""

from tagsdc_jax.studies import (
  ablation,
  cases,
  difficulty,
  discrimination,
  faithfulness,
  filters,
  generator,
  length_bias,
  quirks,
  robustness,
  stages,
  units,
)

STUDIES = {
  one.name: one
  for one in (
    ablation.STUDY,
    stages.STUDY,
    generator.STUDY,
    units.STUDY,
    robustness.STUDY,
    faithfulness.STUDY,
    discrimination.STUDY,
    difficulty.STUDY,
    length_bias.STUDY,
    cases.STUDY,
    filters.STUDY,
    quirks.STUDY,
  )
}
