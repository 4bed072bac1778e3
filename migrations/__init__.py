"""Revisions of the database schema."""

NEWEST = "0007"
"""The last of them, so that to start needs no look at all of them."""
