"""Profiles of an update: the time of its parts, and its fraction of the machine's peak."""
