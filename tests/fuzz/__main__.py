"""The long mode: `python -m tests.fuzz NAME --inputs 200000`; `make fuzz` runs all.

Codecs are guided by coverage of their code (atheris). Connections, which are native, get mutations
from a printed seed, so that they run under the address sanitizer. An input that fails is printed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

CONNECTIONS = ("http", "grpc")
INSTRUMENTED = ["mpserve.codec", "mpserve.dispatch.validation", "mpserve.frontend.http.routes"]
GUIDING_LOADER = "AtherisSourceFileLoader"
"""Of modules whose branches atheris counts; those of an installation in place have another."""
MOST_BYTES = 4096


def main() -> None:
    """Fuzz one target; the exit code tells whether all inputs passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("name")
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31)
    options = parser.parse_args()
    print(f"{options.name}: {options.inputs} inputs, --seed {options.seed}", flush=True)
    if options.name in CONNECTIONS:
        mutated(options.name, inputs=options.inputs, seed=options.seed)
    else:
        guided(options.name, inputs=options.inputs, seed=options.seed)


def mutated(name: str, *, inputs: int, seed: int) -> None:
    """Run a target with random mutations of its seeds."""
    from mpserve import _native  # noqa: PLC0415  # as in `guided`
    from tests.fuzz.connections import Bench  # noqa: PLC0415
    from tests.fuzz.mutation import mutate  # noqa: PLC0415
    from tests.fuzz.targets import connection_targets  # noqa: PLC0415

    print(f"core: {_native.__file__}", flush=True)
    random = Random(seed)
    with Bench() as bench:
        target = connection_targets(bench)[name]
        for _ in range(inputs):
            text = mutate(target.seeds, target.words, random)
            try:
                target.run(text)
            except BaseException:
                print(f"failed with {text!r}", file=sys.stderr)
                raise


def guided(name: str, *, inputs: int, seed: int) -> None:
    """Run a target with what atheris finds; ends the process."""
    import atheris  # noqa: PLC0415  # takes over signals, and what is imported after it

    with atheris.instrument_imports(include=INSTRUMENTED):
        from mpserve import codec  # noqa: PLC0415
        from tests.fuzz.targets import codec_targets  # noqa: PLC0415
    if type(codec.__loader__).__name__ != GUIDING_LOADER:
        sys.exit("nothing would guide it: mpserve is installed in place; see `make fuzz`")
    target: Target = codec_targets()[name]
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for index, one in enumerate(target.seeds):
            (corpus / str(index)).write_bytes(one)
        words = Path(folder, "words")
        words.write_text("\n".join(f'"{_escaped(word)}"' for word in target.words))
        atheris.Setup(
            [sys.argv[0], f"-runs={inputs}", f"-seed={seed}", f"-max_len={MOST_BYTES}",
             f"-dict={words}", "-timeout=20", "-rss_limit_mb=1024", str(corpus)],
            target.run,
        )  # fmt: skip
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{one:02x}" for one in word)


if __name__ == "__main__":
    main()
