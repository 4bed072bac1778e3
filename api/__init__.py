"""Doors for people, programs and booting machines."""
