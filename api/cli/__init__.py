"""The command line: a client of the REST door, and the daemons behind one name."""
