"""XDP programs as Python functions: ``@netemu.xdp``.

A program is compiled to native code when it can be; otherwise it runs as guarded Python, called for each packet.  Both
give up in the same way: what a program may not do ends the run with the packet's number, or aborts the packet.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from .engine import jit
from .engine.guest import FAILED, CannotCompile, CompiledGuest, GuestFault, taken_note
from .engine.kernel import KernelFunction, python_address
from .engine.layout import Kernel
from .errors import KernelBug, UsageError
from .net.user_file import run_user_file
from .net.xdp_batch import xdp_batched
from .net.xdp_guest import xdp_checked, xdp_guarded, xdp_guest_failed
from .net.xdp_layout import XDP_ABORTED
from .xdp_batch import XdpBatch
from .xdp_packet import XdpPacket

if TYPE_CHECKING:
    from .netdevice import NetDevice

OnFault = Literal["raise", "abort"]
Verdicts = Callable[..., Any]


class NotCompiled(UserWarning):
    """An XDP program runs as guarded Python, many times slower, for the reason that the text gives."""


class XdpFunction:
    """A Python function as an XDP program, for one packet or for a batch of them.  Made by :func:`xdp`."""

    def __init__(self, function: Verdicts, *, batch: bool, compiled: bool | None, on_fault: OnFault) -> None:
        if on_fault not in ("raise", "abort"):
            raise UsageError(f"on_fault is 'raise' or 'abort', not {on_fault!r}")
        if batch and compiled:
            raise UsageError("a batch program works on numpy arrays: it is not compiled")
        self.function = function
        self.batch = batch
        self.compiled = compiled
        self.on_fault = on_fault
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._native: CompiledGuest | None = None
        self._kept: list[object] = []
        self._raised: list[BaseException] = []

    def __str__(self) -> str:
        return f"{Path(self.function.__code__.co_filename).name}:{self.__name__}"

    def __call__(self, packet: Any) -> Any:
        """Run the function itself, on anything that looks like a packet."""
        return self.function(packet)

    def attach(self, device: NetDevice) -> tuple[int, bool]:
        """See :class:`netemu.programs.XdpProgram`."""
        machine = device.machine
        machine.keep_contents()
        k = machine.k
        k.netdev[device.number].xdp_strict = int(self.on_fault == "raise")
        if not self.batch and jit.JIT and k.watch is None and self.compiled is not False and self.compile():
            assert self._native is not None
            return self._native.address, True
        made = self._batched(k) if self.batch else self._guarded(k)
        self._kept.append(made)
        k.netdev[device.number].xdp_python = python_address(k, made)
        way_in: Any = xdp_batched if self.batch else xdp_guarded
        assert isinstance(way_in, KernelFunction)
        return way_in.address(k), True

    def compile(self) -> bool:
        """Compile now, unless it is done; False, after a warning that says why, when that cannot be."""
        if self._native is None and self.compiled is not False:
            failed = xdp_guest_failed if self.on_fault == "raise" else None
            try:
                self._native = CompiledGuest(self.function, XdpPacket, xdp_checked, failed, XDP_ABORTED)
            except CannotCompile as reason:
                if self.compiled:
                    raise UsageError(f"XDP program {self} cannot be compiled: {reason}") from reason
                warnings.warn(f"XDP program {self} runs as guarded Python: {reason}", NotCompiled, stacklevel=2)
                self.compiled = False
        return self._native is not None

    # -- as Python ---------------------------------------------------------------------------------------------------

    def _guarded(self, k: Kernel) -> Callable[[int, int, int, int], int]:
        """The program for each packet, in a guard that lets no exception into the engine."""
        packet, function, index = XdpPacket(k), self.function, operator.index

        def run(cpu: int, row: int, data: int, data_end: int) -> int:
            try:
                packet.cpu, packet.row, packet.data, packet.data_end = cpu, row, data, data_end
                return index(function(packet))
            except BaseException as error:
                return self._failed(k, cpu, row, error)

        return run

    def _batched(self, k: Kernel) -> Callable[[int, int, int, int], int]:
        """The program for all completions of a receive queue that wait."""

        batch = XdpBatch(k)

        def run(cpu: int, row: int, queue: int, count: int) -> int:
            batch.look_at(queue, count)
            try:
                batch.judge(self.function(batch))
            except BaseException as error:
                batch.judge(XDP_ABORTED)
                return self._failed(k, cpu, row, error)
            return 0

        return run

    def _failed(self, k: Kernel, cpu: int, row: int, error: BaseException) -> int:
        """The verdict after an exception, which is noted to be raised when the engine has returned."""
        code, detail = taken_note()
        if self.on_fault == "abort" and isinstance(error, Exception):
            return XDP_ABORTED
        if not (isinstance(error, GuestFault) and not self.batch):
            code = FAILED
            if k.raised is None:
                k.raised = self._told(error, k.xdp_buff[row].packet)
        xdp_guest_failed(k, cpu, row, code, detail)
        return XDP_ABORTED

    def _told(self, error: BaseException, packet: int) -> BaseException:
        """The error of a program as whoever runs it is told."""
        if not isinstance(error, Exception):
            return error
        own, at = self.function.__code__.co_filename, error.__traceback__
        line = 0
        while at is not None:
            line = at.tb_lineno if at.tb_frame.f_code.co_filename == own else line
            at = at.tb_next
        where = f" (line {line})" if line else ""
        number = getattr(error, "packet", packet)
        told = KernelBug(
            f"XDP program {self}{where} failed at packet {number}: {type(error).__name__}: {error}", code="XP-05"
        )
        told.__cause__ = error
        return told


@overload
def xdp(function: Verdicts, /) -> XdpFunction: ...
@overload
def xdp(
    *, batch: bool = False, compiled: bool | None = None, on_fault: OnFault = "raise"
) -> Callable[[Verdicts], XdpFunction]: ...
def xdp(
    function: Verdicts | None = None,
    /,
    *,
    batch: bool = False,
    compiled: bool | None = None,
    on_fault: OnFault = "raise",
) -> Any:
    """Make an XDP program of a function that gets a packet and answers a verdict (``netemu.XDP_DROP`` and so on).

    ``batch``: it gets a :class:`~netemu.xdp_batch.XdpBatch` of all packets that wait in a receive queue, as numpy
    arrays, and answers an array of verdicts, or one for all.  ``compiled``: None tries to and warns
    (:class:`NotCompiled`) when the program has to run as guarded Python, True insists (UsageError), False does not try.
    ``on_fault``: what happens when it touches what it may not or raises: "raise" ends the run with an error
    that names the packet, "abort" gives the packet (in a batch, all of them) the verdict XDP_ABORTED.
    """

    def made(of: Verdicts) -> XdpFunction:
        return XdpFunction(of, batch=batch, compiled=compiled, on_fault=on_fault)

    return made if function is None else made(function)


def load_function(text: str) -> XdpFunction:
    """The program NAME of ``FILE.py:NAME``, or the only one of ``FILE.py``.  Raises UsageError."""
    file, colon, name = (text, "", "") if text.endswith(".py") else text.rpartition(":")
    path = Path(file)
    module = run_user_file(path.resolve(), "XDP program", shown=path)
    programs = {n: value for n, value in vars(module).items() if isinstance(value, XdpFunction)}
    if name in programs:
        return programs[name]
    if not colon and len(programs) == 1:
        return programs.popitem()[1]
    has = f"it has {', '.join(programs)}" if programs else "it has no function under @netemu.xdp"
    if not colon and programs:
        raise UsageError(f"XDP program file {path} has several programs, say which, {path}:NAME: {has}")
    raise UsageError(f"XDP program file {path} has no program{f' {name!r}' if colon else ''}: {has}")
