"""From a config to finished cells: one folder a cell, any number of processes at work."""
