"""The command group: loads commands lazily and turns every exception into one line and an exit status."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

FAILED = 1
WRONG_USAGE = 2


def signal_status(signum: int) -> int:
    """The exit status of a command that a signal ended, as shells count it."""
    return 128 + signum


def complain(message: object) -> None:
    """Print ``netemu: error: message`` as one line on standard error."""
    click.echo(f"netemu: error: {' '.join(str(message).splitlines())}", err=True)


def _warn(message: Warning | str, *_where: object) -> None:
    """Print a warning as one line, without the place in the source that Python would show."""
    click.echo(f"netemu: warning: {' '.join(str(message).splitlines())}", err=True)


class Commands(click.Group):
    """A group whose command ``x-y`` is the function ``command`` of the module ``netemu.cli.x_y``."""

    def __init__(self, *, name: str, modules: Sequence[str], help: str) -> None:
        super().__init__(name=name, help=help, context_settings={"help_option_names": ["-h", "--help"]})
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        command: click.Command = import_module(f"netemu.cli.{cmd_name.replace('-', '_')}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _warn  # type: ignore[assignment]
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click prints these, or stays quiet, by itself
        except KeyboardInterrupt:
            status = signal_status(signal.SIGINT)
        except Exception as error:
            status = _report_failure(error)
        ctx.exit(status)


def _report_failure(error: Exception) -> int:
    """Say on standard error what went wrong; return the exit status."""
    from netemu.errors import EmulatorError, NetemuError, UsageError

    if isinstance(error, OSError):
        complain(f"{error.filename}: {error.strerror}" if error.filename else error)
    elif isinstance(error, NetemuError) and not isinstance(error, EmulatorError):
        complain(error)
    elif os.environ.get("NETEMU_DEBUG") == "1":
        traceback.print_exception(error)
    else:
        complain(f"this is a bug in netemu: {type(error).__name__}: {error} (NETEMU_DEBUG=1 shows the traceback)")
    return WRONG_USAGE if isinstance(error, UsageError) else FAILED
