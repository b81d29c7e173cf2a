"""Classical approximation theory that constructions are made of, each part with its own bound."""
