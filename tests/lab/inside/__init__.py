"""Programs that run on the boot server to see what happens there while it happens. Standard library only."""
