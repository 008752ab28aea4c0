"""Records what the PyTorch release of TAGS-DC computes.

Python 3.6 syntax, because the release's own environment is of 2019. Nothing of
the release is in here: it is imported from its checkout at run time.
"""
