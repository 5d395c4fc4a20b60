"""Progress bars on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from wavelet.cli.output import visible
from wavelet.cli.progress import progress_of


class _Amount(ProgressColumn):
    """How much is done, of how much, each with its unit."""

    def render(self, task: Task) -> Text:
        return Text(progress_of(int(task.completed), int(task.total or 0), in_bytes=task.fields["in_bytes"]))


class Bars:
    """A bar each for what goes on, and lines above them."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._tasks: dict[str, TaskID] = {}

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._shown.console.print(Text(visible(text)))

    def update(self, what: str, done: int, total: int, *, in_bytes: bool) -> None:
        """Move a bar, or begin one."""
        if what not in self._tasks:
            self._tasks[what] = self._shown.add_task(what, total=None, in_bytes=in_bytes)
        self._shown.update(self._tasks[what], completed=done, total=total or None)

    def end(self, what: str) -> None:
        """Take a bar away."""
        if what in self._tasks:
            self._shown.remove_task(self._tasks.pop(what))


@contextmanager
def bars() -> Iterator[Bars]:
    """Show bars on standard error until the block is left; then they are gone, and lines stay."""
    what = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis"), markup=False)
    console = Console(stderr=True, highlight=False)
    with Progress(SpinnerColumn(), what, BarColumn(), _Amount(), console=console, transient=True) as shown:
        yield Bars(shown)
