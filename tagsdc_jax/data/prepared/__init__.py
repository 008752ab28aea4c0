"""The prepared format: a TFDS data set of pictures, captions and regions."""
