"""Compare genir's decoder with transformers' `generate` on the same weights and identifiers."""

from genir.signals import guard

guard(__name__)  # before the slow imports

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.decode.speed import DecodeRequest, run_benchmark
from genir.cli import guarded
from genir.cli.options import JsonFile, refuse_place
from genir.config import Precision


def main(
    quick: Annotated[bool, typer.Option(help="one small setting: half a minute")] = False,
    corpus: Annotated[
        Path | None, typer.Option(help="decode the URLs of this corpus folder instead of codes")
    ] = None,
    sizes: Annotated[
        bool,
        typer.Option(help="only genir, on 10 thousand to 10 million identifiers, 100 on a GPU"),
    ] = False,
    model: Annotated[
        Path | None, typer.Option(help="decode with this trained model: url, title, genre")
    ] = None,
    queries: Annotated[Path | None, typer.Option(help="queries for --model")] = None,
    turns: Annotated[int, typer.Option(help="repetitions of each measurement", min=1)] = 3,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU if available")] = "auto",
    json_file: JsonFile = None,
    plot: Annotated[
        Path | None, typer.Option(help="write a chart here, a PNG", callback=refuse_place)
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="bf16, fp32, or auto: the faster one")
    ] = "auto",
) -> None:
    """Compare genir's decoder with transformers' `generate` on the same weights and identifiers."""
    request = DecodeRequest(quick, corpus, sizes, turns, device, model, queries, precision)
    run_benchmark(request, json_file, plot)


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
