"""Text that other programs read, and the parser that reads it back."""
