"""How a command ends when it does not end well: one clear message, one remedy, one of the contract's exit codes."""

OK, ERROR, CHANGES, CONFLICT, NOT_FOUND, INVALID, UNAUTHORISED, TIMED_OUT, GUARDED = 0, 1, 2, 3, 4, 5, 6, 7, 9
USAGE = 2


class Failure(Exception):
    """``lines`` stand below the message (one problem each); the exit code is ``code``."""

    def __init__(self, message: str, code: int = ERROR, *, remedy: str = "", lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy
        self.lines = lines
