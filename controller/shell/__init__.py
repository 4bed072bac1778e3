"""The order of work: look, decide, act, look again, tell."""
