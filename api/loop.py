"""The event loop of the daemons: uvloop answers twice as many requests a core as the one in Python."""

LOOP = {"use_uvloop": True}
