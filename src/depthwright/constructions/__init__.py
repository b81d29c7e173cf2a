"""One file per theorem, each a network and its claim.

A new theorem is one file here, its class in the registry below, and one file in
conf/construction; the contract test then runs over it.
"""

from depthwright.constructions.built import Built, load_built
from depthwright.constructions.claim import Claim
from depthwright.constructions.construction import Construction
from depthwright.constructions.narrow_bits import NarrowBits
from depthwright.constructions.narrow_bounded import NarrowBounded
from depthwright.constructions.narrow_exact import NarrowExact
from depthwright.constructions.narrow_exact_slim import NarrowExactSlim
from depthwright.constructions.narrow_minimal import NarrowMinimal
from depthwright.constructions.narrow_packed import NarrowPacked
from depthwright.constructions.radial_depth_three import RadialDepthThree
from depthwright.constructions.ridge import Ridge
from depthwright.constructions.single_ridge import SingleRidge
from depthwright.constructions.sparse_ridge import SparseRidge

REGISTRY: dict[str, type[Construction]] = {
    "narrow_bits": NarrowBits,
    "narrow_bounded": NarrowBounded,
    "narrow_exact": NarrowExact,
    "narrow_exact_slim": NarrowExactSlim,
    "narrow_minimal": NarrowMinimal,
    "narrow_packed": NarrowPacked,
    "ridge": Ridge,
    "sparse_ridge": SparseRidge,
    "radial_depth_three": RadialDepthThree,
    "single_ridge": SingleRidge,
}

__all__ = [
    "REGISTRY",
    "Built",
    "Claim",
    "Construction",
    "NarrowBits",
    "NarrowBounded",
    "NarrowExact",
    "NarrowExactSlim",
    "NarrowMinimal",
    "NarrowPacked",
    "RadialDepthThree",
    "Ridge",
    "SingleRidge",
    "SparseRidge",
    "load_built",
]
