"""What a run shows while it works: a panel on a terminal, a line that changes in a notebook, else a line now and then.

It formats; it decides nothing and measures only the time.
"""

from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from icm_api.model import LanguageModel
from icm_api.runs import Watch
from icm_api.search import Progress
from icm_api.types import Model
from icm_api.wording import count_of

_EVERY = 30.0
_REDRAWN = 0.5


class LiveView:
    """A view of a run's progress: `with icm.LiveView() as view: result = await icm.run(..., watch=view.watch)`.

    For `icm.search_labels` it is `on_step=view.show`.

    Args:
        console: where to draw; by default standard error.
        every: seconds between two lines where the console is neither a terminal nor a notebook.
    """

    def __init__(self, console: Console | None = None, *, every: float = _EVERY) -> None:
        self._console = console or Console(stderr=True)
        self._every = every
        self._began = self._drawn = monotonic()
        self._replayed = 0
        self._last: Progress | None = None
        self._state = "starting"
        self._model: Model | None = None
        self._over = Event()
        self._cell: Any = None
        self._live = (
            Live(console=self._console, transient=True, refresh_per_second=4, get_renderable=self._panel)
            if self._console.is_terminal and not self._console.is_jupyter
            else None
        )
        self._lines = Thread(target=self._print_now_and_then, daemon=True)

    @property
    def watch(self) -> Watch:
        """What a run tells, shown here; its warnings and resumes are printed."""
        return Watch(
            self.show,
            self.resumed,
            self.warned,
            self.judging,
            self.opened,
            self.labelled,
        )

    def opened(self, model: Model) -> None:
        """Hear which model is asked, to say how far it has come within a step."""
        self._model = model

    def resumed(self, steps: int, torn: int) -> None:
        """Hear that steps on disk are gone through first, so that they don't count as this process's pace."""
        del torn
        self._replayed = steps

    def warned(self, warning: str) -> None:
        """Print a warning. Brackets in it, as of `[run]`, are no markup."""
        self._console.print(f"warning: {warning}", highlight=False, soft_wrap=True, markup=False)

    def show(self, progress: Progress) -> None:
        """Show the state after a step."""
        self._last, self._state = progress, "searching"
        self._redraw()

    def judging(self) -> None:
        """Say that the search is over, and that its labels are being judged."""
        self._state = "the labels are found; judging them without gold"
        self._drawn = 0.0
        self._redraw()

    def doing(self, what: str) -> None:
        """Say what comes next; the last search is over, and nothing of it is shown any more."""
        self._state, self._last = what, None
        self._redraw()

    def labelled(self, done: int, total: int) -> None:
        """Say how much of the rest is labelled."""
        self._state = f"labelled {done:,} of the other {count_of(total, 'example')}"
        self._redraw()

    def _redraw(self) -> None:
        if self._cell is not None and monotonic() - self._drawn > _REDRAWN:
            self._drawn = monotonic()
            self._cell.update({"text/plain": self._line()}, raw=True)

    def _print_now_and_then(self) -> None:
        while not self._over.wait(self._every):
            self._console.print(self._line(), highlight=False, soft_wrap=True)

    def _line(self) -> str:
        parts = [self._state]
        if self._last is not None:
            info = self._last.info
            parts.append(f"step {info.step} of at most {self._last.steps}")
            parts.append(f"{len(info.score.labeling):,} labelled, U {info.score.utility:.3f}")
        if isinstance(self._model, LanguageModel):
            parts.append(f"{count_of(self._model.sent.requests, 'request')} answered")
            if (batch := self._model.under_way) is not None:
                parts.append(f"batch {batch[0]:,} of {batch[1]:,}")
        return ", ".join([*parts, f"after {timedelta(seconds=round(monotonic() - self._began))}"])

    def _panel(self) -> RenderableType:
        progress = self._last
        if progress is None or self._state != "searching":
            return self._line()
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
        table.add_row("requests", f"{usage.requests:,}", f"{count_of(usage.prompt_tokens, 'prompt token')}")
        if isinstance(self._model, LanguageModel):
            table.add_row("answered", f"{self._model.sent.requests:,}", "by the model, and not by the cache")
            if (batch := self._model.under_way) is not None:
                table.add_row("batch", f"{batch[0]:,} of {batch[1]:,}", "on this machine")
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
        elif self._console.is_jupyter:
            from IPython.display import display

            self._cell = display({"text/plain": self._line()}, raw=True, display_id=True)
        else:
            self._lines.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._live is not None:
            self._live.stop()
