"""Exact networks compiled to fixed-point programs on limbs (64-bit words): the fast evaluator."""
