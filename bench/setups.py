"""What is measured: ways to show one X display on another. Each starts its programs and says which it lacks.

Peers get the settings that serve them best here: no password, no encryption, no waiting that they can be told to leave.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nexus_agent.permissions.operators import Operators
from nexus_protocol.identity import Identity
from nexus_protocol.settings import RelayToken
from nexus_protocol.vocabulary import Role
from nexus_tui.core.known_desks import KnownDesks
from nexus_tui.core.membership import Membership

from .programs import Programs, Running, await_value

COLUMNS, ROWS = 160, 48
FONT = "-misc-fixed-medium-r-semicondensed--13-120-75-75-c-60-iso10646-1"


@dataclass(frozen=True)
class Setup:
    """``start`` gets the desk's display and the glass's. ``floor``: no viewer, the window flips on the glass."""

    name: str
    start: Callable[[Programs, str, str], None]
    needs: tuple[str, ...] = ()
    floor: bool = False


@dataclass(frozen=True)
class Desk:
    """A relay and an agent that serves a display, and what a console needs to reach it."""

    url: str
    membership: Membership
    token_file: Path
    state: Path

    def console(self) -> list[str]:
        return [
            sys.executable, "-m", "nexus_tui", "connect", DESK,
            "--relay", self.url, "--token-file", str(self.token_file), "--state-dir", str(self.state),
        ]  # fmt: skip


DESK = "bench"


def serve(programs: Programs, display: str) -> Desk:
    relay = [sys.executable, "-m", "relay", "--state-dir", str(programs.folder / "relay")]
    programs.run([*relay, "init"])
    url = programs.start([*relay, "serve", "--listen", "127.0.0.1:0"]).said("listening on (.*)")
    files: dict[str, Path] = {}
    for role in ("agent", "operator"):
        files[role] = programs.folder / f"{role}.token"
        token = programs.run([*relay, "token", "--role", role, "--subject", DESK, "--desk", DESK])
        files[role].touch(mode=0o600)
        files[role].write_text(token)
    folders = {name: programs.folder / name for name in ("agent", "console")}
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    agents_key, mine = (Identity.of(folder).fingerprint for folder in folders.values())
    Operators(folders["agent"]).add(DESK, Role.OPERATOR, mine, approver=True, by="bench")
    KnownDesks(folders["console"], url).pin(DESK, agents_key, by="bench")
    agent = programs.start(
        [
            sys.executable, "-m", "nexus_agent", "run", "--relay", url, "--token-file", str(files["agent"]),
            "--state-dir", str(folders["agent"]), "--display", display,
        ]
    )  # fmt: skip
    agent.said("(serving .*)")
    membership = Membership.of(folders["console"], url, RelayToken(files["operator"].read_text().strip()))
    return Desk(url, membership, files["operator"], folders["console"])


def in_xterm(programs: Programs, glass: str, argv: list[str]) -> Running:
    """Run a program in an xterm of 160×48 cells."""
    geometry = f"{COLUMNS}x{ROWS}+0+0"
    return programs.start(["xterm", "-u8", "-fn", FONT, "-geometry", geometry, "-e", *argv], display=glass)


def mpv_raw(desk: str, fps: int) -> str:
    """The shell line that shows a desk in a terminal: as few pixels as the terminal can use, not coded."""
    return (
        f"ffmpeg {_grab(desk, fps)} -vf scale=320:180 -pix_fmt rgb24"
        " -f rawvideo -flush_packets 1 - 2>/dev/null"
        f" | mpv {_OPTIONS} --demuxer=rawvideo --demuxer-rawvideo-w=320 --demuxer-rawvideo-h=180"
        f" --demuxer-rawvideo-mp-format=rgb24 --demuxer-rawvideo-fps={fps} -"
    )


def mpv_h264(desk: str, fps: int) -> str:
    """The same as it would travel over a network."""
    return (
        f"ffmpeg {_grab(desk, fps)} -vf scale=640:360 -pix_fmt yuv420p -c:v libx264 -preset ultrafast"
        " -tune zerolatency -f mpegts -flush_packets 1 - 2>/dev/null"
        f" | mpv {_OPTIONS} --demuxer-lavf-format=mpegts -"
    )


def _grab(desk: str, fps: int) -> str:
    return f"-loglevel error -f x11grab -draw_mouse 0 -framerate {fps} -video_size 1920x1080 -i {desk}"


_OPTIONS = "--vo=tct --really-quiet --no-config --profile=low-latency --untimed --no-audio --no-cache"


def _nothing(programs: Programs, desk: str, glass: str) -> None:
    """No viewer."""


def _ours(programs: Programs, desk: str, glass: str) -> None:
    in_xterm(programs, glass, serve(programs, desk).console())


def _tigervnc(programs: Programs, desk: str, glass: str) -> None:
    port = _free_port()
    server = ["X0tigervnc", "-display", desk, "-rfbport", str(port), "-localhost", "-SecurityTypes", "None"]
    _vnc_viewer(programs, programs.start(server), port, glass)


def _x11vnc(programs: Programs, desk: str, glass: str) -> None:
    port = _free_port()
    options = ["-localhost", "-nopw", "-norc", "-shared", "-forever", "-quiet"]
    _vnc_viewer(programs, programs.start(["x11vnc", "-display", desk, "-rfbport", str(port), *options]), port, glass)


def _vnc_viewer(programs: Programs, server: Running, port: int, glass: str) -> None:
    def listening() -> bool | None:
        server.check()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return None
        return True

    await_value(listening, "the VNC server to listen")
    viewer = ["xtigervncviewer", "-SecurityTypes", "None", "-Shared", "-RemoteResize=0", f"127.0.0.1::{port}"]
    home = {"HOME": str(programs.folder)}  # it keeps a history there
    programs.start(viewer, display=glass, environment=home)


def _mpv(line: Callable[[str, int], str], fps: int) -> Callable[[Programs, str, str], None]:
    def start(programs: Programs, desk: str, glass: str) -> None:
        in_xterm(programs, glass, ["sh", "-c", line(desk, fps)])

    return start


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


OURS = Setup("nexus-tui in xterm", _ours, ("xterm",))
TIGERVNC = Setup("TigerVNC, its own window", _tigervnc, ("X0tigervnc", "xtigervncviewer"))
# At 60 frames a second mpv is quicker, where the machine keeps up; where it does not, pictures pile up in the pipe.
MPV = tuple(
    Setup(f"ffmpeg {kind} {fps} fps, mpv in xterm", _mpv(line, fps), ("xterm", "ffmpeg", "mpv"))
    for kind, line in (("raw 320×180", mpv_raw), ("H.264 640×360", mpv_h264))
    for fps in (30, 60)
)
SETUPS = (
    Setup("floor: no viewer", _nothing, floor=True),
    OURS,
    TIGERVNC,
    Setup("x11vnc, TigerVNC's window", _x11vnc, ("x11vnc", "xtigervncviewer")),
    *MPV,
)
