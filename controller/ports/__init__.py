"""What we ask of everything outside: Protocols, and the words they are asked in."""
