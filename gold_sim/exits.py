"""The end of a command: one line on standard error and a status, even after a signal or with a full disk.

This module imports nothing that takes time, so that a Ctrl-C during a command's own imports gives one line as well.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

REFUSED = 2  # status of a command that ends with one line on standard error
DROPPED_SECONDS = 0.05  # until a signal that Python dropped is raised once more
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def run(name: str, work: Callable[[], int], after: str = "") -> int:
    """The status of a command after its `work`, which returns a status; no exception gets out.

    name: of the command, with which its line on standard error begins.
    after: what that line adds where the work was cut short, as in "finished cells are stored".
    The text of a ValueError is that line as it is. For any other exception the line names its kind and the file of its
    traceback.
    """
    came: list[int] = []
    _open_streams()
    stdout = sys.stdout
    sys.stdout = _Output(stdout)
    also = f"; {after}" if after else ""
    try:
        with _signals_raise(came):
            try:
                status = work()
            except SystemExit as ended:  # of argparse
                status = ended.code
            sys.stdout.flush()
        if came:  # Python dropped it, and the work ended before it was raised once more
            raise KeyboardInterrupt(came[0])
        return status
    except (Exception, KeyboardInterrupt) as error:
        if came or isinstance(error, KeyboardInterrupt):  # a package that a signal interrupts may raise anything
            number = came[0] if came else signal.SIGINT
            what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
            return _say(f"{name}: {what}{also}", 128 + number)
        if getattr(error, "filename", None) != OUTPUT:
            return _say(f"{name}: {_one_line(error)}", REFUSED)
        _drop(stdout)
        if isinstance(error, BrokenPipeError):  # whoever read it has left, as `| head` does
            return 128 + signal.SIGPIPE
        return _say(f"{name}: {_one_line(error)}{also}", REFUSED)
    finally:
        sys.stdout = stdout
        try:
            stdout.flush()
        except (OSError, ValueError):
            _drop(stdout)


OUTPUT = "standard output"


class _Output:
    """Standard output, whose errors name it as the file."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._naming():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._naming():
            self._stream.flush()

    @contextlib.contextmanager
    def _naming(self):
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, OUTPUT) from error


@contextlib.contextmanager
def held_back():
    """Keep SIGINT and SIGHUP from processes that are started within: a terminal sends both to its whole group.

    The driver gets signals that came meanwhile afterwards, and ends its processes itself.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _signals_raise(came: list[int]):
    """Raise the first signal as KeyboardInterrupt and ignore later ones, so that the command can end in order.

    came: the signal's number is added to it.

    Python drops what is raised in a callback of its garbage collector or in a destructor. A signal that came there is
    raised once more, a moment later.
    """

    def raise_once(number, _):
        for other in handled:
            signal.signal(other, signal.SIG_IGN)
        came.append(number)
        raised.append(KeyboardInterrupt(number))
        raise raised[-1]

    def dropped(what):
        if not any(what.exc_value is own for own in raised):
            before(what)
            return
        for other in handled:
            signal.signal(other, raise_once)
        again.append(threading.Timer(DROPPED_SECONDS, _interrupt_main, came[:1]))
        again[-1].daemon = True
        again[-1].start()

    handled, raised, again, before = {}, [], [], sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        handled = {number: signal.getsignal(number) for number in SIGNALS}
        handled = {n: h for n, h in handled.items() if h not in (signal.SIG_IGN, None)}  # as nohup asks
    for number in handled:
        signal.signal(number, raise_once)
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_IGN)
        for timer in again:
            timer.cancel()
            timer.join()
        sys.unraisablehook = before
        for number, handler in handled.items():
            signal.signal(number, handler)


def _interrupt_main(number: int) -> None:
    """Send a signal to the main thread, which so leaves what it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        signal.raise_signal(number)


def _open_streams() -> None:
    """Connect closed standard streams to nowhere; otherwise print would write into the next file that is opened.

    A character that the terminal cannot show is written as its number.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", closefd=False))
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _drop(stream) -> None:
    """Connect a standard stream to nowhere: Python would write to it once more as it exits, and complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(line: str, status: int) -> int:
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # it may be gone, as with its terminal
        _drop(sys.stderr)
    return status


def _one_line(error: Exception) -> str:
    import tempfile
    import traceback

    text = " ".join(str(error).split())
    if isinstance(error, UnicodeError) or not isinstance(error, ValueError | OSError):
        with tempfile.NamedTemporaryFile("w", prefix="gold_sim-", suffix=".txt", delete=False) as file:
            file.write("".join(traceback.format_exception(error)))
        return (
            f"{type(error).__name__}{f': {text}' if text else ''}; a fault of the program, its traceback: {file.name}"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return text or type(error).__name__
