"""How far two functions are apart: L2 and sup, measured. (Claims live with constructions.)"""

from depthwright.errors.l2 import L2Error, l2_error
from depthwright.errors.measure import EvaluationConfig, Measurement, measure
from depthwright.errors.sup import attack, residuals

__all__ = [
    "EvaluationConfig",
    "L2Error",
    "Measurement",
    "attack",
    "l2_error",
    "measure",
    "residuals",
]
