"""Machinery of NarrowPacked: one long number per layer."""
