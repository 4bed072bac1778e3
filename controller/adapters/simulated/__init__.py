"""A boot server in memory: for ``ggnet up --simulate``, and for walks through thousands of worlds.

Trusted only because each part passes the same contract suite as the real one. It has the real one's intermediate
states (a device that is made but not enabled, a file that is written but not loaded), or it could not show their bugs.
"""
