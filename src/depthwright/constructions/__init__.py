"""One file per theorem, each a network and its claim.

A new theorem is one file here, its class in the registry below, and one file in
conf/construction; the contract test then runs over it.
"""

from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.radial_depth_three import RadialDepthThree
from depthwright.constructions.ridge import Ridge
from depthwright.constructions.sparse_ridge import SparseRidge

REGISTRY: dict[str, type[Construction]] = {
    "ridge": Ridge,
    "sparse_ridge": SparseRidge,
    "radial_depth_three": RadialDepthThree,
}

__all__ = ["REGISTRY", "Built", "Claim", "Construction", "RadialDepthThree", "Ridge", "SparseRidge"]
