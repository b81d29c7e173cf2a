"""One target, one construction, its rivals: where theorems and training meet."""

from depthwright.comparison.comparison import Comparison
from depthwright.comparison.rows import CONSTRUCTED, SOLVED_RIDGE
from depthwright.comparison.run import CHECKPOINT, CURVES, FEATURES, compute, finish, run

__all__ = (
    "CHECKPOINT",
    "CONSTRUCTED",
    "CURVES",
    "FEATURES",
    "SOLVED_RIDGE",
    "Comparison",
    "compute",
    "finish",
    "run",
)
