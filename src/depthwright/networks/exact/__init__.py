"""Exact networks: sparse layers of dyadic numbers, evaluated without rounding."""
