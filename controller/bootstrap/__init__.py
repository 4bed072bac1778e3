"""The composition root: who answers what.

Everything is built here, from settings, by constructor arguments. Two ways to run: all in one process on one store, or
the controller alone beside API processes that share its database.
"""
