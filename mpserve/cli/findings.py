"""What an inspection found, for people: lines as compilers print them, or a table."""

from typing import Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mpserve.repository.inspection import Finding, Inspection, Severity

_STYLES: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


def print_lines(found: Inspection) -> None:
    """Print `path:line: severity: [model] message` for each finding, then the counts."""
    for finding in found.findings:
        model = f"[{finding.model}] " if finding.model else ""
        message = " ".join(finding.message.split())
        click.echo(f"{_place(finding)}: {finding.severity.value}: {model}{message}")
    click.echo(summary(found))


def print_table(found: Inspection) -> None:
    """Print the models and the findings as tables on standard output."""
    console = Console()
    errors = {one.model for one in found.findings if one.severity is Severity.ERROR}
    models = Table("Model", "Versions", "Runtime", "Format", "", box=None, pad_edge=False)
    for model in found.models:
        sign = "[red]error[/]" if model.name in errors else "[green]ok[/]"
        models.add_row(
            escape(model.name),
            escape(", ".join(model.versions) or "-"),
            escape(model.runtime or "-"),
            model.format.value,
            sign,
        )
    console.print(models)
    if found.findings:
        console.print(_findings_table(found))
    console.print(summary(found), markup=False)


def summary(found: Inspection) -> str:
    """Return the counts in one line."""
    return (
        f"{_counted(len(found.models), 'model')}: "
        f"{_counted(found.count(Severity.ERROR), 'error')}, "
        f"{_counted(found.count(Severity.WARNING), 'warning')}"
    )


def _findings_table(found: Inspection) -> Table:
    table = Table("", "Model", "Place", "What is wrong", box=None, pad_edge=False)
    table.columns[2].overflow = "fold"
    for one in found.findings:
        style = _STYLES[one.severity]
        table.add_row(
            f"[{style}]{one.severity.value}[/]",
            escape(one.model or "-"),
            escape(_place(one)),
            escape(one.message.strip()),
        )
    return table


def _place(finding: Finding) -> str:
    return finding.path if finding.line is None else f"{finding.path}:{finding.line}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
