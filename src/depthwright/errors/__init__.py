"""How far two functions are."""

from depthwright.errors.exceedance import Exceedance, clopper_pearson, exceedance

__all__ = ["Exceedance", "clopper_pearson", "exceedance"]
