"""The running kernel's own eBPF, through the ``bpf(2)`` system call: the judge that ours is compared with.

Needs root (or ``CAP_BPF`` and ``CAP_NET_ADMIN``) and a kernel with eBPF; everything else of netemu needs neither.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from . import instructions as bpf
from .errors import BpfError
from .map_kinds import PER_CPU, MapType
from .objects import BpfObject, MapSpec, ProgramSpec

MAP_CREATE, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, MAP_GET_NEXT_KEY, PROG_LOAD, _, _, _, _, TEST_RUN = (
    range(11)
)
MAP_FREEZE = 22
PROG_TYPE_XDP = 6
BPF_F_RDONLY_PROG = 1 << 7
_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_LOG_BYTES = 1 << 24
_MAX_OUT = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class KernelUnavailable(BpfError):
    """This process may not use eBPF in the running kernel, or the kernel has none."""


class VerifierRejected(BpfError):
    """The kernel's verifier does not accept a program; ``log`` is what it says."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True)
class Outcome:
    """What a test run gave: the verdict, the packet (metadata first), and the mean duration in ns."""

    verdict: int
    data: bytes
    duration: int


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise KernelUnavailable(f"the number of the bpf system call on {platform.machine()} is not known")
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 128))
    result: int = _libc.syscall(number, command, buffer, len(buffer))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    attributes_after[:] = buffer.raw
    return result


attributes_after = bytearray()
"""The attributes of the last call as the kernel left them."""


def _pointer(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    return ctypes.addressof(buffer) if buffer is not None else 0


def possible_cpus() -> int:
    """CPUs for which the kernel keeps a value in a per-CPU map."""
    try:
        with open("/sys/devices/system/cpu/possible") as file:
            return int(file.read().strip().rpartition(",")[2].rpartition("-")[2]) + 1
    except (OSError, ValueError):
        return os.cpu_count() or 1


class KernelObject:
    """Maps and programs of an object, created in the running kernel; a context manager that gives them back.

    Raises:
        KernelUnavailable: no right to do so, or no eBPF.
        BpfError: the kernel does not create a map.
    """

    def __init__(self, obj: BpfObject) -> None:
        self.obj = obj
        self.cpus = possible_cpus()
        self.map_fds: list[int] = []
        self.program_fds: dict[str, int] = {}
        try:
            for spec in obj.maps:
                self.map_fds.append(self._create(spec))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> KernelObject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for fd in [*self.program_fds.values(), *self.map_fds]:
            os.close(fd)
        self.program_fds.clear()
        self.map_fds.clear()

    # -- maps ------------------------------------------------------------------------------------------------------

    def _create(self, spec: MapSpec) -> int:
        flags = spec.flags | (BPF_F_RDONLY_PROG if spec.readonly else 0)
        entries = spec.max_entries or (self.cpus if spec.kind == MapType.PERF_EVENT_ARRAY else 0)
        name = "".join(c if c.isalnum() or c in "_." else "_" for c in spec.name)[:15].encode()
        attributes = struct.pack("<IIIIIII16s", spec.kind, spec.key_size, spec.value_size, entries, flags, 0, 0, name)
        try:
            fd = _bpf(MAP_CREATE, attributes)
        except OSError as error:
            raise _unavailable(error) or BpfError(
                f"the kernel does not create map {spec.name}: {error.strerror}"
            ) from None
        if spec.contents is not None:
            self._update(fd, bytes(4), spec.contents)
            if spec.readonly:
                _bpf(MAP_FREEZE, struct.pack("<I", fd))
        return fd

    def _update(self, fd: int, key: bytes, value: bytes) -> None:
        k, v = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
        _bpf(MAP_UPDATE_ELEM, struct.pack("<IIQQQ", fd, 0, _pointer(k), _pointer(v), 0))

    def _value_bytes(self, spec: MapSpec) -> int:
        size = -(-spec.value_size // 8) * 8
        return size * self.cpus if spec.kind in PER_CPU else spec.value_size

    def update(self, number: int, key: bytes, values: Sequence[bytes]) -> None:
        """Set an entry; of a per-CPU map, ``values`` has one value, taken for every CPU, or one per CPU."""
        spec = self.obj.maps[number]
        data = values[0]
        if spec.kind in PER_CPU:
            each = values if len(values) == self.cpus else [values[0]] * self.cpus
            data = b"".join(value.ljust(-(-spec.value_size // 8) * 8, b"\0") for value in each)
        try:
            self._update(self.map_fds[number], key, data)
        except OSError as error:
            raise BpfError(f"the kernel does not take an entry of map {spec.name}: {error.strerror}") from None

    def entries(self, number: int) -> dict[bytes, list[bytes]]:
        """Every entry of a map, with one value per CPU of the kernel."""
        spec, fd = self.obj.maps[number], self.map_fds[number]
        found: dict[bytes, list[bytes]] = {}
        key: bytes | None = None
        size = self._value_bytes(spec)
        after, value = ctypes.create_string_buffer(spec.key_size), ctypes.create_string_buffer(size)
        while True:
            before = ctypes.create_string_buffer(key, len(key)) if key is not None else None
            try:
                _bpf(MAP_GET_NEXT_KEY, struct.pack("<IIQQ", fd, 0, _pointer(before), _pointer(after)))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return found
                raise BpfError(f"the kernel does not list map {spec.name}: {error.strerror}") from None
            key = after.raw
            try:
                _bpf(MAP_LOOKUP_ELEM, struct.pack("<IIQQQ", fd, 0, _pointer(after), _pointer(value), 0))
            except OSError:
                continue  # gone since, or an empty slot
            each = -(-spec.value_size // 8) * 8
            raw = value.raw
            values = [raw[at : at + spec.value_size] for at in range(0, size, each)] if spec.kind in PER_CPU else [raw]
            found[key] = values

    # -- programs --------------------------------------------------------------------------------------------------

    def load(self, spec: ProgramSpec) -> int:
        """Hand a program to the verifier and get its file descriptor.

        Raises:
            VerifierRejected: Linux would not run it.
        """
        if spec.name in self.program_fds:
            return self.program_fds[spec.name]
        code = bpf.encode([self._with_fd(insn) for insn in spec.instructions])
        held = ctypes.create_string_buffer(code, len(code))
        licence = ctypes.create_string_buffer(b"GPL")
        log = ctypes.create_string_buffer(1)
        name = "".join(c if c.isalnum() or c in "_." else "_" for c in spec.name)[:15].encode()
        for level in (0, 1):  # the log only if something is wrong: it is long
            if level:
                log = ctypes.create_string_buffer(_LOG_BYTES)
            head = struct.pack(
                "<IIQQIIQII16s", PROG_TYPE_XDP, len(spec.instructions), _pointer(held), _pointer(licence), level,
                len(log) if level else 0, _pointer(log) if level else 0, 0, 0, name,
            )  # fmt: skip
            try:
                fd = _bpf(PROG_LOAD, head)
            except OSError as error:
                if failure := _unavailable(error):
                    raise failure from None
                if level:
                    text = log.value.decode(errors="replace")
                    raise VerifierRejected(
                        f"Linux would not load {spec.name}: {_last_line(text) or error.strerror}", text
                    ) from None
            else:
                self.program_fds[spec.name] = fd
                self._fill_program_arrays()
                return fd
        raise AssertionError

    def _with_fd(self, insn: bpf.Instruction) -> bpf.Instruction:
        return insn._replace(imm=self.map_fds[insn.imm]) if insn.code == bpf.LDDW and insn.src else insn

    def _fill_program_arrays(self) -> None:
        for number, spec in enumerate(self.obj.maps):
            for index, name in spec.programs.items():
                if name in self.program_fds:
                    self._update(
                        self.map_fds[number], struct.pack("<I", index), struct.pack("<I", self.program_fds[name])
                    )

    def test_run(self, program: int, packet: bytes, *, repeat: int = 1) -> Outcome:
        """``BPF_PROG_TEST_RUN`` of a loaded program over one packet.

        Raises:
            BpfError: the kernel does not run it (packets below 14 bytes, or longer than a page holds).
        """
        data, out = ctypes.create_string_buffer(packet, len(packet)), ctypes.create_string_buffer(_MAX_OUT)
        attributes = struct.pack(
            "<IIIIQQII", program, 0, len(packet), len(out), _pointer(data), _pointer(out), repeat, 0
        )
        try:
            _bpf(TEST_RUN, attributes)
        except OSError as error:
            raise BpfError(f"the kernel does not run a packet of {len(packet)} bytes: {error.strerror}") from None
        _, verdict, _, size, _, _, _, duration = struct.unpack_from("<IIIIQQII", attributes_after)
        return Outcome(verdict, out.raw[:size], duration)


def _unavailable(error: OSError) -> KernelUnavailable | None:
    if error.errno == errno.EPERM:  # what the verifier refuses is EACCES
        return KernelUnavailable(
            "the kernel's side needs root (or CAP_BPF and CAP_NET_ADMIN), and a system that does not forbid bpf()"
        )
    if error.errno == errno.ENOSYS:
        return KernelUnavailable("this kernel has no eBPF")
    return None


def _last_line(log: str) -> str:
    """The verifier's complaint: its last line that is no statistics."""
    lines = [
        line
        for line in log.splitlines()
        if line and not line.startswith(("processed ", "verification time", "stack depth"))
    ]
    return lines[-1] if lines else ""
