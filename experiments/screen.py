"""The display of a run's progress: live lines on a terminal, plain lines in a log."""

import contextlib
import sys
import time

HEARTBEAT_SECONDS = 15


class Screen:
    """Progress: a live line a cell on a terminal, a plain line on every event and every 15 s in a log."""

    def __init__(self, total: int):
        self.total, self.finished, self.started = total, 0, time.monotonic()
        self.at, self.tasks = {}, {}  # by fingerprint: cells of one name may run side by side
        self.beat = self.started
        self.live = _live()
        if self.live is not None:
            self.live.start()
            self.all = self.live.add_task("all cells", total=total)

    def close(self):
        if self.live is not None:
            with contextlib.suppress(OSError):  # its terminal may be gone
                self.live.stop()

    def say(self, text: str):
        """Print one line between the live lines."""
        if self.live is not None:
            self.live.console.print(text, markup=False, highlight=False)
        else:
            print(f"[{time.monotonic() - self.started:5.0f} s] {text}", flush=True)

    def __call__(self, event: str, cell, done: int, total: int):
        if event in ("done", "lost", "failed"):
            self.finished += event == "done"
            self.at.pop(cell.fingerprint, None)
        elif cell:
            self.at[cell.fingerprint] = (_label(cell), done, total)
        if self.live is not None:
            self._show(event, cell, done, total)
        if event in ("lost", "failed") or (event == "done" and self.live is None):
            self._event(event, _label(cell), done, total)
        elif event == "wait" and self.live is None and time.monotonic() - self.beat > HEARTBEAT_SECONDS:
            running = ", ".join(f"{name} {100 * d // max(t, 1)} %" for name, d, t in self.at.values())
            self._event("running", running, done, total)

    def _show(self, event: str, cell, done: int, total: int):
        """On a terminal: a line for each cell that runs."""
        if event == "start":
            self.tasks[cell.fingerprint] = self.live.add_task(_label(cell), total=None)
        elif event == "progress":
            self.live.update(self.tasks[cell.fingerprint], completed=done, total=total)
        elif event in ("done", "lost", "failed"):
            self.live.remove_task(self.tasks.pop(cell.fingerprint))
            self.live.advance(self.all, event == "done")

    def _event(self, event: str, what: str, done: int, total: int):
        self.beat = time.monotonic()
        more = f", tried {done} of {total} times; once more" if event == "lost" else ""
        more = f"; first {len(self.at)} others end" if event == "failed" and self.at else more
        self.say(f"{self.finished}/{self.total} cells; {event} {what}{more}")


def _label(cell) -> str:
    return f"{cell.stage} {cell.name}"


def _live():
    """A display of live lines; None in a log, and on a terminal that cannot show them (TERM=dumb)."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        return None
    share = TextColumn("{task.percentage:3.0f} %")
    name = TextColumn("{task.description}", markup=False)
    return Progress(name, BarColumn(), share, TimeElapsedColumn(), console=console)
