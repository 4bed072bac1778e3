"""The composition root: who answers what."""
