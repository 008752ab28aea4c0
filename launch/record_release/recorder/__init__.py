"""Records what the PyTorch release of TAGS-DC computes.

Python 3.6 syntax, because the release's environment dates from 2019. It
contains no code of the release, which is imported from its checkout at run
time.
"""
