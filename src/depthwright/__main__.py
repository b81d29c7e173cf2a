"""`python -m depthwright`: the command `depthwright`."""

from __future__ import annotations

from depthwright.cli import main

main()
