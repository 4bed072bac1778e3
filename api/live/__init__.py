"""A copy of the objects in this process, and everybody who wants to hear of a change."""
