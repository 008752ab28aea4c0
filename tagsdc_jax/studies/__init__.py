"""Experiments of the paper and others: trainings, measures, intervals."""
