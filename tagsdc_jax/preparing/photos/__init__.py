"""Reads photos and computes region features of them."""
