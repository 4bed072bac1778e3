"""Effects: each module is the one door to one part of the host or to the store."""
