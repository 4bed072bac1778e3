"""The daemon: looks at what a boot server holds, decides what must change, and changes it."""
