"""Progress of a command, on standard error: standard output is for results."""

import click


def tell(line: str) -> None:
    """Print one line."""
    click.echo(line, err=True)
