"""A log that nobody reads stops nobody, and says afterwards what it lost."""

import io
import os
import threading
import time

from controller.adapters.logwriter import LogWriter


def test_all_that_is_written_comes_out_in_order() -> None:
    out = io.StringIO()
    writer = LogWriter(out)
    for number in range(5000):
        writer.write(f"{number}\n")
    writer.close(30)
    assert out.getvalue() == "".join(f"{number}\n" for number in range(5000))


def test_what_nobody_takes_is_dropped_and_told_later() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out, os.fdopen(reading) as taken:
        writer = LogWriter(out, most=100)
        began = time.monotonic()
        for _ in range(300):
            writer.write("x" * 4095 + "\n")
            time.sleep(0.0005)
        assert time.monotonic() - began < 10
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(taken))
        reader.start()
        writer.close(20)
        out.close()
        reader.join()
    full = [line for line in lines if line.startswith("x")]
    (told,) = [line for line in lines if "dropped" in line]
    assert 100 <= len(full) < 300
    assert f'"count": {300 - len(full)}' in told


def test_a_reader_who_has_gone_is_no_failure() -> None:
    reading, writing = os.pipe()
    out = os.fdopen(writing, "w")
    os.close(reading)
    writer = LogWriter(out)
    for _ in range(10):
        writer.write("x\n")
        time.sleep(0.01)
    writer.close()
    assert not writer._thread.is_alive()
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    out.close()
