"""What a run shows while it works: one live panel on a terminal, nothing elsewhere.

It formats; it decides nothing and measures only the time.
"""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from icm_api.search import Progress


class LiveView:
    """A panel with step, U, P, I, temperature, acceptance, requests, tokens and the time left.

    Args:
        console: where to draw; when it is no terminal, nothing is drawn.
    """

    def __init__(self, console: Console) -> None:
        self._began = monotonic()
        self._replayed = 0
        self._live = Live(console=console, transient=True, refresh_per_second=8) if console.is_terminal else None

    def resumed(self, steps: int, torn: int) -> None:
        """Hear that steps on disk are gone through first, so that they don't count as this process's pace."""
        del torn
        self._replayed = steps

    def show(self, progress: Progress) -> None:
        """Draw the state after a step."""
        if self._live is not None:
            self._live.update(self._panel(progress))

    def judging(self) -> None:
        """Say that the search is over, and that its labels are being judged."""
        if self._live is not None:
            self._live.update("the labels are found; judging them without gold")

    def _panel(self, progress: Progress) -> Table:
        info, state, usage = progress.info, progress.state, progress.usage
        size = len(info.score.labeling)
        table = Table.grid(padding=(0, 2))
        table.add_row("step", f"{info.step} of at most {progress.steps}", f"restart {info.restart + 1}")
        table.add_row("", ProgressBar(progress.steps, info.step, width=40), self._time_left(progress))
        table.add_row("labelled", f"{size}", f"last move: {info.move}")
        best = "none complete yet" if state.best is None else f"{state.best.utility:.3f}"
        table.add_row("U", f"{info.score.utility:.3f}", f"best {best}")
        table.add_row("P, I", f"{info.score.mutual_predictability:.4f}, {info.score.inconsistency:g}", "")
        rate = state.accepted / info.step if info.step else 1.0
        table.add_row("temperature", f"{info.temperature:.2f}", f"accepted {rate:.0%}")
        table.add_row("requests", f"{usage.requests:,}", f"{usage.prompt_tokens:,} prompt tokens")
        return table

    def _time_left(self, progress: Progress) -> str:
        fresh = progress.info.step - self._replayed
        if fresh < 1:
            return "checking the steps on disk" if self._replayed else ""
        left = (progress.steps - progress.info.step) * (monotonic() - self._began) / fresh
        return f"at most {timedelta(seconds=round(left))} left"

    def __enter__(self) -> LiveView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
