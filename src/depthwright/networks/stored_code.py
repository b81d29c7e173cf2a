"""Compiled code that numba keeps on disk between processes, and what it is made of.

Numba recompiles a stored function when its own file or a variable that it closes over has changed,
but not when a function that it calls has, in another file. So a stored function closes over the
`digest` of the other files that it is made of, and what it calls is not stored by itself: that
would be taken from the disk without a look at those files.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType


def digest(*modules: ModuleType) -> str:
    """Of the modules' source files."""
    sources = (Path(str(module.__file__)).read_bytes() for module in modules)
    return hashlib.sha256(b"".join(sources)).hexdigest()
