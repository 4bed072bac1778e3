"""What must change: pure, sync, deterministic. Nothing here touches a clock, a file or a socket."""
