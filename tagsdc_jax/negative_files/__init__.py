"""Files of generated negatives: records, quality card, exports."""
