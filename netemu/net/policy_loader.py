"""Finding recycle policies: by name, by entry point, or in a file; checking them, and putting one into a machine."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from ..engine.faults import fault
from ..engine.kernel import KernelFunction
from ..engine.layout import PRIVATE_SLOTS, Kernel, PrivateTable
from ..errors import UsageError
from ..mm.layout import PAGE_SIZE
from .device_layout import MAX_QUEUES
from .plugin_loader import may_return_nothing
from .policy import LOST, POLICY_RAISES, SHELF_ROWS, oldest_if_free, packet_number
from .policy_source import Mistake, functions_of
from .user_file import line_in, reason_of

GROUP = "netemu.policies"
FOLDER = Path(__file__).resolve().parent.parent / "policies"
SHIPPED = tuple(sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"))
"""Policies that come with netemu."""
MOST_PARTS = 8
"""Buffers that a page can be cut into: 512 bytes each."""
POLICY_SLOT = PRIVATE_SLOTS - 1
"""Private table that holds a policy's state; drivers use the ones before."""


class PolicyState(PrivateTable):
    """State of a policy for each receive queue: ``STATE(k, rxq).name`` inside of it."""

    def __init__(self, initial: Mapping[str, int]) -> None:
        super().__init__("policy_state", POLICY_SLOT, [(name, "i8") for name in initial])
        self.initial = dict(initial)


def policy_state(**initial: int) -> Any:
    """Declare the state of a policy: integers by name, with the value that each queue starts with.

    Those that start with 0 are counters and show up in reports; the others are parameters, which
    ``--recycle NAME:parameter=value`` sets.
    """
    for name, value in initial.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name}={value!r} is not a whole number")
    if not initial:
        raise TypeError("policy_state() needs at least one name")
    return PolicyState(initial)


class PolicyFunction(KernelFunction):
    """``put`` or ``get`` of a policy: indices are checked, and what goes wrong is noted with the packet's number."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, name=None, traced=False, inline=False, entry=True, rare=True)

    def is_kept(self) -> bool:
        """The compiled form goes by the date of the policy's file, in the engine's own generation."""
        return True

    def _compile(self) -> Any:
        from ..engine import native

        for callee in self.function.__globals__.values():
            if isinstance(callee, KernelFunction) and not isinstance(callee, PolicyFunction):
                callee._compile()
        with native.checked_indices():
            return super()._compile()

    def interpreted(self) -> Callable[..., Any]:
        return self._guarded(super().interpreted())

    def watched(self) -> Callable[..., Any]:
        return self._guarded(super().watched())

    def _guarded(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Plain Python, in which an exception is noted like everything else that goes wrong."""
        file = Path(self.function.__code__.co_filename)

        def guarded(k: Kernel, cpu: int, *arguments: int) -> int:
            try:
                answer: int = body(k, cpu, *arguments)
            except Exception as error:
                number = packet_number.interpreted()(k)  # type: ignore[attr-defined]
                fault.interpreted()(k, cpu, POLICY_RAISES, number, line_of(error, file))  # type: ignore[attr-defined]
                answer = LOST
            return answer

        return guarded


def line_of(error: BaseException, file: Path) -> int:
    """Where in ``file`` an exception came through; 0 when it did not."""
    return int(line_in(error, file).removeprefix(", line ") or 0)


@dataclass
class Policy:
    """A policy that is ready to be put into machines; ``values``: parameters that differ from the file's."""

    name: str
    path: Path
    about: str
    put: PolicyFunction
    get: KernelFunction
    state: PolicyState | None
    parts: int
    bias: bool
    values: dict[str, int] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, int]:
        """What ``--recycle NAME:parameter=value`` can set, with the values in force."""
        if self.state is None:
            return {}
        return {
            name: value for name, value in {**self.state.initial, **self.values}.items() if self._is_parameter(name)
        }

    def _is_parameter(self, name: str) -> bool:
        return self.state is not None and self.state.initial[name] != 0

    def install(self, k: Kernel) -> None:
        """Let the policy decide on this machine; before its devices are made.  Raises UsageError."""
        try:
            addresses = [function.address(k) for function in (self.put, self.get)]
        except Exception as error:
            raise UsageError(
                f"policy {self.name}: cannot be compiled{line_in(error, self.path)}: {reason_of(error)}"
            ) from error
        row = k.policy[0]
        row.active, row.parts, row.bias = 1, self.parts, int(self.bias)
        row.put, row.get = addresses
        k.replace("kept", np.zeros(MAX_QUEUES * SHELF_ROWS, np.int32))
        if self.parts > 1 or self.bias:
            k.replace("page_share", np.zeros(k.machine[0].pages, k.arrays["page_share"].dtype))
        if self.state is not None:
            rows = k.add_private(0, self.state, MAX_QUEUES)
            for name, value in {**self.state.initial, **self.values}.items():
                rows[name] = value

    def report(self, k: Kernel, rxqs: range) -> dict[str, Any]:
        """Parameters, verdicts and counters, summed over these receive queues."""
        shelves = k.arrays["shelf"][rxqs.start : rxqs.stop]
        verdicts = ("keep", "cache", "ring", "page_allocator")
        report: dict[str, Any] = {
            "name": self.name,
            "parameters": self.parameters,
            "verdicts": {name: int(shelves[name].sum()) for name in verdicts},
            "reused": int(shelves["reused"].sum()),
            "passed": int(shelves["passed"].sum()),
            "kept": int(shelves["count"].sum()),
        }
        if self.state is not None:
            rows = k.private_array(0, self.state)[rxqs.start : rxqs.stop]
            names = [name for name in self.state.initial if not self._is_parameter(name)]
            report["counters"] = {name: int(rows[name].sum()) for name in names}
        return report


def policy_names() -> list[str]:
    """Policies that are installed."""
    return sorted({*SHIPPED, *(point.name for point in metadata.entry_points(group=GROUP))})


def load_policy(text: str) -> Policy:
    """The policy ``NAME`` or ``FILE.py``, with ``:parameter=value,...`` behind it.  Raises UsageError."""
    name, _, settings = text.partition(":")
    policy = _loaded(name)
    for setting in filter(None, settings.split(",")):
        parameter, _, value = setting.partition("=")
        if parameter not in policy.parameters:
            known = ", ".join(f"{name}={value}" for name, value in policy.parameters.items()) or "none"
            raise UsageError(f"policy {policy.name} has no parameter {parameter!r}; it has: {known}")
        try:
            policy.values[parameter] = int(value)
        except ValueError:
            raise UsageError(f"policy {policy.name}: {parameter}={value} is not a whole number") from None
    return policy


def _loaded(name: str) -> Policy:
    if name.endswith(".py"):
        return _from_file(Path(name), Path(name).stem)
    if name in SHIPPED:
        return _from_file(FOLDER / f"{name}.py", name)
    for point in metadata.entry_points(group=GROUP):
        if point.name == name:
            spec = importlib.util.find_spec(point.module)
            if spec is not None and spec.origin is not None:
                return _from_file(Path(spec.origin), name)
    raise UsageError(f"unknown recycle policy {name!r}; there are {', '.join(policy_names())}, or give a .py file")


@contextmanager
def _blaming(path: Path) -> Any:
    """What goes wrong inside is the file's fault: a UsageError in one line, with the place and the reason."""
    try:
        yield
    except Mistake as error:
        raise UsageError(f"policy file {path}, line {error.line}: {error}") from None
    except UsageError:
        raise
    except SyntaxError as error:
        raise UsageError(f"policy file {error.filename}, line {error.lineno}: {error.msg}") from None
    except OSError as error:
        raise UsageError(f"policy file {path}: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"policy file {path} is not Python source: {error}") from None
    except Exception as error:
        raise UsageError(f"policy file {path}{line_in(error, path.resolve())}: {reason_of(error)}") from error


_built: dict[tuple[Path, str], Policy] = {}


def _from_file(path: Path, name: str) -> Policy:
    with _blaming(path):
        text = path.read_text(encoding="utf-8")
        key = (path.resolve(), text)
        if key not in _built:
            _built[key] = _build(path.resolve(), name, text)
    made = _built[key]
    return Policy(**{**vars(made), "values": {}})


def _build(path: Path, name: str, text: str) -> Policy:
    tree = ast.parse(text, str(path))
    module = _executed(path, compile(tree, str(path), "exec"))
    state = getattr(module, "STATE", None)
    if state is not None and not isinstance(state, PolicyState):
        raise UsageError(f"policy file {path}: STATE is made by policy_state(name=value, ...)")
    parts = getattr(module, "PARTS", 1)
    if not isinstance(parts, int) or not 1 <= parts <= MOST_PARTS or PAGE_SIZE % parts:
        raise UsageError(f"policy file {path}: PARTS is 1, 2, 4 or {MOST_PARTS}, not {parts!r}")
    functions = functions_of(tree, vars(module), "STATE" if state is not None else None)
    if "put" not in functions:
        raise UsageError(f"policy file {path}: it has no function put(k, cpu, rxq, pfn)")
    made = {called: _declared(path, function) for called, function in functions.items()}
    for function in functions.values():
        function.__globals__.update(made)
    get = made.get("get", oldest_if_free)
    about = (ast.get_docstring(tree) or "no description").splitlines()[0]
    return Policy(name, path, about, made["put"], get, state, parts, bool(getattr(module, "BIAS", False)))  # type: ignore[arg-type]


def _declared(path: Path, function: FunctionType) -> PolicyFunction:
    code = function.__code__
    if function.__name__ in ("put", "get") and code.co_argcount != 4:
        takes = "put(k, cpu, rxq, pfn)" if function.__name__ == "put" else "get(k, cpu, rxq, count)"
        raise UsageError(f"policy file {path}: {function.__name__} has to be {takes}")
    if may_return_nothing(code):
        raise UsageError(
            f"policy file {path}: {function.__name__}() can end without a result: return one on every way out"
        )
    return PolicyFunction(function)


def _executed(path: Path, code: Any) -> ModuleType:
    module = ModuleType(f"netemu_policy_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(code, vars(module))
    return module
