"""What a run finds around it: environment, process, compiled code, provenance."""
