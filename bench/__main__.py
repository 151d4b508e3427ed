"""`python -m bench`: the command line of the measurements; figures go to standard output, as tables."""

from __future__ import annotations

import signal

import click

from nexus_protocol.commandline import log_to_stderr

from . import glass, links, report, setups, stages, traffic
from .programs import Failed

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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended then, too
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
    rows, reasons = [], []
    for setup in chosen:
        name = setup.name
        if name in problems or name not in middles:
            rows.append((name, *("-" for _ in head[1:])))
            reasons.append(f"\n{name}: {problems.get(name, 'nothing was measured')}")
            continue
        figures = latencies[name]
        ratios = [
            f"{middles[name] / middles[base.name]:.2f}" if base.name in middles else "-"
            for base in (setups.OURS, setups.TIGERVNC)
        ]
        rows.append((name, str(len(figures)), *spread(figures), *ratios))
    return "\n".join([report.table(head, rows), *reasons])


def spread(figures: list[float]) -> list[str]:
    return [f"{report.percentile(figures, share):.1f}" for share in (50, 95, 100)]


@main.command("stages")
@flips_option
@seed_option
def stages_alone(flips: int, seed: int) -> None:
    """Our stream alone: screen change to the decoded picture in the console, without a terminal."""
    try:
        figures = stages.measure(flips, seed)
    except Failed as error:
        print(f"our stream, without a terminal: {error}")
        return
    rows = [(stage, str(len(figures[stage])), *spread(figures[stage])) for stage in stages.STAGES]
    print(report.table(("our stream, without a terminal", "n", "p50 ms", "p95 ms", "max ms"), rows))


@main.command("bytes")
@click.option("--changes", default=30, show_default=True, help="Flips and letters to measure with each program.")
def bytes_sent(changes: int) -> None:
    """What the terminal is sent for a change, and while nothing changes."""
    rows = []
    for name in traffic.PROGRAMS:
        try:
            idle, *counted = traffic.measure(name, changes)
        except Failed as error:
            rows.append([f"{name}: {error}", "", "", ""])
            continue
        rows.append([name, f"{idle:,.0f}", *(f"{report.percentile(counts, 50):,.0f}" for counts in counted)])
    head = ("bytes to a terminal of 160×48", "a second, still", f"{traffic.WINDOW} s from a flip", "from a letter")
    print(report.table(head, rows))


@main.command("links")
@click.option("--times", default=60, show_default=True, help="Links to open each way; messages: a hundred times that.")
def sealing(times: int) -> None:
    """What sealing costs: until a link is open, and for each message."""
    log_to_stderr(0)  # relay and agent run in here
    opened = links.opening(times)
    rows = []
    for way in links.WAYS:
        sealed, plain = (opened[name, way] for name in ("sealed", "plain"))
        ratio = report.percentile(sealed, 50) / report.percentile(plain, 50)
        trips = f"{2000 * way:.0f} ms longer round trip" if way else "one machine"
        rows.append((f"{trips}, sealed", str(times), *spread(sealed), f"{ratio:.2f}"))
        rows.append((f"{trips}, plain", str(times), *spread(plain), "1.00"))
    print(report.table(("connect → open link", "n", "p50 ms", "p95 ms", "max ms", "× plain"), rows), end="\n\n")
    shaken = links.handshakes(10 * times)
    rows = [("handshake, both ends, ms", str(len(shaken)), *spread(shaken))]
    for size, figures in links.messages(100 * times).items():
        rows.append((f"{size:,} bytes sealed and opened, µs", str(len(figures)), *spread(figures)))
    print(report.table(("computing alone", "n", "p50", "p95", "max"), rows))


@main.command("all")
def everything() -> None:
    """All of it."""
    context = click.get_current_context()
    for number, command in enumerate((glass_to_glass, stages_alone, bytes_sent, sealing)):
        print(end="\n" if number else "")
        context.invoke(command)


if __name__ == "__main__":
    main()
