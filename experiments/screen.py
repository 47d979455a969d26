"""What a run shows of its progress: live lines on a terminal, plain ones in a log."""

import sys
import time

HEARTBEAT_SECONDS = 15


class Screen:
    """Progress: a live line a cell on a terminal, a plain line on every event and every 15 s in a log."""

    def __init__(self, total: int):
        self.total, self.finished, self.started, self.at = total, 0, time.monotonic(), {}
        self.beat = self.started
        self.live = None
        if sys.stdout.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            share = TextColumn("{task.percentage:3.0f} %")
            self.live = Progress(TextColumn("{task.description}"), BarColumn(), share, TimeElapsedColumn())
            self.live.start()
            self.tasks = {"": self.live.add_task("all cells", total=total)}

    def close(self):
        if self.live is not None:
            self.live.stop()

    def __call__(self, event: str, cell, done: int, total: int):
        label = f"{cell.stage} {cell.name}" if cell else ""
        if event in ("done", "lost"):
            self.finished += event == "done"
            self.at.pop(label, None)
        elif cell:
            self.at[label] = (done, total)
        if self.live is not None:
            if event == "lost":
                self.live.remove_task(self.tasks.pop(label))
            elif event == "start":
                self.tasks[label] = self.live.add_task(label, total=None)
            elif event == "progress":
                self.live.update(self.tasks[label], completed=done, total=total)
            elif event == "done":
                self.live.remove_task(self.tasks.pop(label))
                self.live.advance(self.tasks[""])
            return
        now = time.monotonic()
        if event in ("done", "lost") or (event == "wait" and now - self.beat > HEARTBEAT_SECONDS):
            self.beat = now
            running = ", ".join(f"{name} {100 * d // max(t, 1)} %" for name, (d, t) in self.at.items())
            doing = f"running {running}" if event == "wait" else f"{event} {label}"
            doing += f", tried {done} of {total} times; once more" if event == "lost" else ""
            print(f"[{now - self.started:5.0f} s] {self.finished}/{self.total} cells; {doing}", flush=True)
