"""The distance of two functions, measured. (Claims are made by constructions.)"""

from depthwright.errors.certified import certified_sup
from depthwright.errors.exceedance import Exceedance, clopper_pearson, exceedance
from depthwright.errors.l2 import L2Error, l2_error
from depthwright.errors.measure import EvaluationConfig, Measurement, measure
from depthwright.errors.sup import attack, residuals

__all__ = [
    "EvaluationConfig",
    "Exceedance",
    "L2Error",
    "Measurement",
    "attack",
    "certified_sup",
    "clopper_pearson",
    "exceedance",
    "l2_error",
    "measure",
    "residuals",
]
