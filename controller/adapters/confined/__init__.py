"""The launcher: confines itself, starts one program inside, answers what it asks to open, and ends it when told.

It runs in a process of its own (``python -I -S``), with the standard library alone: nothing of the daemon's is in its
memory, and nothing has to be done between fork and exec of a process with threads.
"""
