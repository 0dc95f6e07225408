"""Options of the commands that measure and write a page: how long, where to, or the page alone."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from bench.workshop import PROJECT

Command = TypeVar("Command", bound=Callable[..., None])


def page_options(*, seconds: int, folder: Path) -> Callable[[Command], Command]:
    """Return a decorator that adds `--rounds`, `--seconds`, `--warmup`, `--out`, `--page-only`.

    Parameters
    ----------
    seconds
        How long one measurement takes unless told otherwise.
    folder
        Where page, plots and JSON lie unless told otherwise; below the project.
    """
    options = (
        click.option(
            "--rounds",
            type=click.IntRange(1, 100),
            default=3,
            show_default=True,
            help="How often each figure is measured.",
        ),
        click.option(
            "--seconds",
            type=click.IntRange(1, 3600),
            default=seconds,
            show_default=True,
            help="Load in one measurement.",
        ),
        click.option(
            "--warmup",
            type=click.IntRange(0, 600),
            default=1,
            show_default=True,
            help="Seconds of load before it that do not count.",
        ),
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default=folder,
            help="Folder of the page, the plots and the JSON.  "
            f"[default: {folder.relative_to(PROJECT)}]",
        ),
        click.option(
            "--page-only", is_flag=True, help="Write page and plots anew from the saved JSON."
        ),
    )

    def add_to(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add_to
