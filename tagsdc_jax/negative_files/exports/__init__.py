"""Files of negatives in the formats that trainings and benchmarks read."""
