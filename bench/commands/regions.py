"""`python -m bench regions`: large tensors in a client's shared memory."""

import click

from bench.installation import install_peers
from bench.measuring.leftovers import sweep
from bench.names import choose
from bench.progress import tell
from bench.workshop import SCRATCH, clear_scratch, lock

SERVERS = ("mpserve", "triton")
MIB = 1 << 20


@click.command(name="regions")
@click.option("--servers", default="all", show_default=True, help="Comma-separated names.")
@click.option("--rounds", type=click.IntRange(1, 10_000), default=60, show_default=True)
@click.option("--mib", type=click.IntRange(1, 256), default=16, show_default=True)
def regions_command(*, servers: str, rounds: int, mib: int) -> None:
    """Time requests whose input and output lie in shared memory beside a plain copy.

    Exit code 1: a server could not be measured.
    """
    # Here, because it imports NVIDIA's client.
    from bench.measuring.regions import measure_regions, table  # noqa: PLC0415

    chosen = choose(servers, SERVERS, what="server")
    with lock():
        sweep(tell)
        clear_scratch()
        install_peers(chosen, tell=tell)
        costs = measure_regions(chosen, size=mib * MIB, rounds=rounds, scratch=SCRATCH)
    click.echo("\n".join(table(costs)))
