"""Machinery of the networks that read numbers bit by bit."""
