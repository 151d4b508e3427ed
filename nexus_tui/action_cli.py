"""``nexus-tui action DESK …``: every action from a script, with an exit status that tells how it ended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from nexus_protocol.actions import (
    MAX_FILE,
    Action,
    Click,
    Drag,
    Execute,
    FileRead,
    FileWrite,
    Key,
    Move,
    Region,
    Screenshot,
    Scroll,
    Type,
)
from nexus_protocol.commandline import Program, complain
from nexus_protocol.errors import NexusError, UsageError
from nexus_protocol.keys import parse_chord
from nexus_protocol.messages import Result
from nexus_protocol.vocabulary import ActionState, Button

from .commandline import PROGRAM, Settings, dials
from .scripting import EXIT_STATUS, as_json, perform

BUTTON = click.Choice([button.value for button in Button])


@click.group(cls=Program)
@click.argument("desk")
@click.pass_context
def action(ctx: click.Context, desk: str) -> None:
    """Do one thing on DESK, and exit with 0 done, 1 failed, 3 refused, 4 not reached."""
    ctx.obj = desk


def _acts(function: Callable[..., Action]) -> Callable[..., None]:
    """Make a command of a function that builds an action: connect, act, report, exit.

    The command's own result, if it has bytes, goes to ``output`` (a path, or None for standard output).
    """

    @click.option("--json", "json_wanted", is_flag=True, help="The result as one JSON object.")
    @dials
    @click.pass_obj
    def wrapped(
        desk: str, /, *, settings: Settings, json_wanted: bool, output: str | None = None, **arguments: Any
    ) -> None:
        wanted = _checked(function, arguments)
        result = asyncio.run(perform(settings, desk, wanted))
        _write(result, output, quiet=json_wanted)
        if json_wanted:
            if output is not None:
                result = msgspec.structs.replace(result, data=b"")
            click.echo(as_json(wanted, result))
        elif result.state is not ActionState.DONE:
            complain(PROGRAM, f"{result.state}: {result.message}")
        elif result.exit_code:
            complain(PROGRAM, result.message)
        raise SystemExit(1 if result.exit_code else EXIT_STATUS[result.state])

    wrapped.__doc__, wrapped.__name__ = function.__doc__, function.__name__
    params = getattr(function, "__click_params__", [])
    wrapped.__click_params__ = [*getattr(wrapped, "__click_params__", []), *params]  # type: ignore[attr-defined]
    return wrapped


def _checked(build: Callable[..., Action], arguments: dict[str, Any]) -> Action:
    """The action, held against the protocol's own limits before anything is dialled. Raises UsageError."""
    built = build(**arguments)
    try:
        checked: Action = msgspec.convert(msgspec.to_builtins(built, builtin_types=(bytes,)), Action)
    except msgspec.ValidationError as error:
        raise UsageError(f"that cannot be done on any desk: {error}") from None
    return checked


def _write(result: Result, output: str | None, *, quiet: bool) -> None:
    if result.state is not ActionState.DONE or (quiet and output is None):
        return
    if output is not None:
        try:
            Path(output).write_bytes(result.data)
        except OSError as error:
            raise NexusError(f"done, but cannot write {output}: {error.strerror}") from None
        return
    sys.stdout.buffer.write(result.data)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(result.stderr)
    sys.stderr.buffer.flush()


@action.command("click")
@_acts
@click.argument("x", type=int)
@click.argument("y", type=int)
@click.option("--button", type=BUTTON, default="left", show_default=True)
@click.option("--count", type=click.IntRange(1, 3), default=1, show_default=True, help="2 for a double click.")
def click_(x: int, y: int, button: str, count: int) -> Action:
    """Click at pixel X Y of the desk."""
    return Click(x=x, y=y, button=Button(button), count=count)


@action.command()
@_acts
@click.argument("x", type=int)
@click.argument("y", type=int)
def move(x: int, y: int) -> Action:
    """Move the pointer to pixel X Y."""
    return Move(x=x, y=y)


@action.command()
@_acts
@click.argument("x", type=int)
@click.argument("y", type=int)
@click.argument("to_x", type=int)
@click.argument("to_y", type=int)
@click.option("--button", type=BUTTON, default="left", show_default=True)
def drag(x: int, y: int, to_x: int, to_y: int, button: str) -> Action:
    """Drag from pixel X Y to pixel TO_X TO_Y."""
    return Drag(x=x, y=y, to_x=to_x, to_y=to_y, button=Button(button))


@action.command()
@_acts
@click.argument("x", type=int)
@click.argument("y", type=int)
@click.option("--up", type=int, default=0, help="Notches of the wheel.")
@click.option("--down", type=int, default=0)
@click.option("--left", type=int, default=0)
@click.option("--right", type=int, default=0)
def scroll(x: int, y: int, up: int, down: int, left: int, right: int) -> Action:
    """Turn the wheel over pixel X Y."""
    if not any((up, down, left, right)):
        raise UsageError("scroll which way? give --up, --down, --left or --right with a number of notches")
    return Scroll(x=x, y=y, dx=right - left, dy=down - up)


@action.command("type")
@_acts
@click.argument("text")
def type_(text: str) -> Action:
    """Type TEXT, any Unicode; `-` reads it from standard input."""
    return Type(text=sys.stdin.read() if text == "-" else text)


@action.command()
@_acts
@click.argument("chord")
def key(chord: str) -> Action:
    """Press a CHORD such as enter, ctrl+s or ctrl+alt+delete."""
    return Key(chord=str(parse_chord(chord)))


@action.command()
@_acts
@click.option("-o", "--output", required=True, metavar="FILE", help="Where the PNG goes.")
@click.option("--region", metavar="X,Y,WIDTH,HEIGHT", help="Only this part of the desk.")
def screenshot(region: str | None) -> Action:
    """Save what the desk shows as a PNG, pixel for pixel."""
    if region is None:
        return Screenshot()
    try:
        x, y, width, height = (int(part) for part in region.split(","))
    except ValueError:
        raise UsageError(f"{region!r} is not a region; write X,Y,WIDTH,HEIGHT") from None
    return Screenshot(region=Region(x=x, y=y, width=width, height=height))


@action.command()
@_acts
@click.argument("path")
@click.option("-o", "--output", metavar="FILE", help="Where it goes; else standard output.")
def read(path: str) -> Action:
    """Read the desk's file PATH."""
    return FileRead(path=path)


@action.command()
@_acts
@click.argument("path")
@click.option("-i", "--input", "source", type=click.File("rb"), default="-", help="What to write; else standard input.")
def write(path: str, source: Any) -> Action:
    """Write the desk's file PATH, whole."""
    data = source.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise UsageError(f"more than {MAX_FILE // 2**20} MiB: nothing was sent")
    return FileWrite(path=path, data=data)


@action.command("exec")
@_acts
@click.argument("argv", nargs=-1, required=True)
@click.option("--cwd", metavar="DIR", help="The folder on the desk; else the agent's home.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds until it is ended.")
def exec_(argv: tuple[str, ...], cwd: str | None, timeout: float) -> Action:
    """Run a program on the desk, without a shell: exec -- git status."""
    return Execute(argv=argv, cwd=cwd, timeout=timeout)
