"""`python -m bench`: the command line of the measurements; figures go to standard output, as tables."""

from __future__ import annotations

import click

from . import glass, report, setups

flips_option = click.option("--flips", default=200, show_default=True, help="Changes to measure in each setup.")
rounds_option = click.option("--rounds", default=4, show_default=True, help="Rounds in which the setups take turns.")
seed_option = click.option("--seed", default=1, show_default=True, help="Of the order and the times of the flips.")
only_option = click.option(
    "--only", multiple=True, metavar="WORD", help="Only setups whose name holds it (repeatable)."
)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """How fast the picture is, and what it costs, beside other programs in the same run."""
    if context.invoked_subcommand is None:
        context.invoke(everything)


@main.command("glass")
@flips_option
@rounds_option
@seed_option
@only_option
def glass_to_glass(flips: int, rounds: int, seed: int, only: tuple[str, ...]) -> None:
    """Screen change to the same pixel in the viewer's real window."""
    chosen = [setup for setup in setups.SETUPS if not only or any(word in setup.name for word in only)]
    print(report.machine(), end="\n\n")
    latencies, problems = glass.measure(chosen, flips, rounds, seed)
    print(glass_table(chosen, latencies, problems))
    print(f"\nload {report.load()} at the end")


def glass_table(chosen: list[setups.Setup], latencies: dict[str, list[float]], problems: dict[str, str]) -> str:
    head = ("change → pixel of the viewer's window", "n", "p50 ms", "p95 ms", "max ms", "× ours", "× TigerVNC")
    middles = {name: report.percentile(figures, 50) for name, figures in latencies.items() if figures}
    rows = []
    for setup in chosen:
        name = setup.name
        if name in problems or name not in middles:
            rows.append((f"{name}: {problems.get(name, 'nothing measured')}", *("" for _ in head[1:])))
            continue
        figures = latencies[name]
        ratios = [
            f"{middles[name] / middles[base.name]:.2f}" if base.name in middles else "-"
            for base in (setups.OURS, setups.TIGERVNC)
        ]
        spread = [f"{report.percentile(figures, share):.1f}" for share in (50, 95, 100)]
        rows.append((name, str(len(figures)), *spread, *ratios))
    return report.table(head, rows)


@main.command("all")
def everything() -> None:
    """All of it."""
    click.get_current_context().invoke(glass_to_glass)


if __name__ == "__main__":
    main()
