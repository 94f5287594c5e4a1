"""Kernel functions: written once as plain Python over machine state, run interpreted or compiled.

Decorate with :func:`kernel_function`.  The first parameter is the machine state ``k``, the second the emulated
``cpu``; all others, and the result, are integers.  The decorator weaves in the call-path accounting: on entry
the function becomes the current node of that CPU's call tree and is charged its fixed cost, on every way out
its caller becomes current again.  So a body reads like the kernel's, early returns included, and the report is
a real call graph.

Nothing is parsed or compiled before the first call, and a warm start loads only the entry points it uses.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import hashlib
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TypeVar, overload

from . import jit
from .layout import DECLARED, Kernel, PrivateTable
from .watch import watched_form

F = TypeVar("F", bound=Callable[..., Any])

MAX_FUNCTIONS = 512
"""Size of the table of names (functions and cost points) that call paths and cost tables are indexed by."""

NAMES: list[str] = ["root"]
"""Names by number.  Compiled code holds these numbers, so they follow the fixed order of module imports."""


def _number(name: str) -> int:
    if len(NAMES) >= MAX_FUNCTIONS:
        raise TypeError(f"no room for {name!r}: {MAX_FUNCTIONS} kernel functions and cost points are declared")
    NAMES.append(name)
    DECLARED.append(f"name {name}")
    return len(NAMES) - 1


def cost_point(name: str) -> int:
    """Declare a primitive that functions charge by number (``charge(k, cpu, X)``); the profile prices it by name."""
    return _number(name)


class KernelFunction:
    """One function of the emulated kernel.  Calling it from Python runs the compiled form (or the plain one)."""

    def __init__(
        self, function: Callable[..., Any], *, name: str | None, traced: bool, inline: bool, entry: bool, rare: bool
    ) -> None:
        self.function = function
        self.name = name or function.__name__
        self.traced = traced
        self.inline = inline
        self.entry = entry
        self.rare = rare
        self.number = _number(self.name) if traced else 0
        self.plugin: tuple[Path, ...] = ()  # the file of a driver that does not come with netemu, and those before it
        self.declarations = ""  # of such a function: digest of all that the process had declared by then
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self._interpreted: Callable[..., Any] | None = None
        self._compiled: Any = None
        self._compiling = False
        self._watched: Callable[..., Any] | None = None
        self._call: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        return f"<kernel function {self.name}>"

    def __call__(self, *arguments: Any) -> Any:
        if getattr(arguments[0], "watch", None) is not None:
            return self.watched()(*arguments)
        if self._call is None:
            self._call = self.compiled_entry() if jit.JIT else self.interpreted()
        return self._call(*arguments)

    # -- the two ways to run -------------------------------------------------------------------------------

    def _body(self) -> tuple[FunctionType, dict[str, Any]]:
        """The function with its accounting woven in, over a scope of its own."""
        original = self.function
        assert isinstance(original, FunctionType)
        scope = dict(original.__globals__)
        if not self.traced:
            code = original.__code__
        else:
            from . import path

            scope["_enter"], scope["_leave"] = path.enter, path.leave
            code = _woven_code(original, self.number)
        body = FunctionType(code, scope, original.__name__, original.__defaults__, original.__closure__)
        body.__module__ = original.__module__
        body.__qualname__ = original.__qualname__
        return body, scope

    def interpreted(self) -> Callable[..., Any]:
        """The function as plain Python over the same state."""
        if self._interpreted is None:
            self._interpreted, scope = self._body()
            for name in _referenced(self._interpreted.__code__):
                value = scope.get(name)
                if isinstance(value, KernelFunction):
                    scope[name] = value.interpreted()
        return self._interpreted

    def watched(self) -> Callable[..., Any]:
        """The function as a watched machine runs it: plain Python, with a wrapper around it and all it calls."""
        if self._watched is None:
            body, scope = self._body()
            names = body.__code__.co_varnames[: body.__code__.co_argcount]
            self._watched = watched_form(self, body, with_cpu=names[1:2] == ("cpu",)) if names[:1] == ("k",) else body
            for name in _referenced(body.__code__):
                value = scope.get(name)
                if isinstance(value, KernelFunction):
                    scope[name] = value.interpreted() if value.__module__ in _ACCOUNTING else value.watched()
        return self._watched

    def is_kept(self) -> bool:
        """Does the disk cache know when its compiled form is stale?"""
        return bool(self.plugin) or self.__module__.startswith("netemu.")

    def generation(self) -> str:
        """Key of all that its compiled form depends on."""
        return jit.content_key(self.declarations or declarations(), *self.plugin)

    def _compile(self) -> Any:
        """The dispatcher, from the disk cache if this is an entry point, else compiled with all it calls."""
        if self._compiled is not None:
            return self._compiled
        if self._compiling:
            raise TypeError(f"{self.name} calls itself through others: break the circle with indirect()")
        self._compiling = True
        try:
            self._compiled = self._build()
        finally:
            self._compiling = False
        return self._compiled

    def _build(self) -> Any:
        from numba import types

        from . import native

        body, scope = self._body()
        made = jit.dispatcher(
            body,
            cached=self.entry and self.is_kept(),
            generation=self.generation(),
            forceinline=self.inline,
            no_cpython_wrapper=not self.entry,
            no_cfunc_wrapper=not self.entry,
        )
        parameters = body.__code__.co_varnames[: body.__code__.co_argcount]
        arguments = tuple(native.kernel_type() if name == "k" else types.int64 for name in parameters)
        if not (self.entry and jit.load_cached(made, arguments)):
            for name in _referenced(body.__code__):
                value = scope.get(name)
                if isinstance(value, KernelFunction):
                    scope[name] = value._compile()
                elif isinstance(value, PrivateTable):
                    scope[name] = native.private_rows(value)
                elif value in (indirect, call_python, prefetch):
                    scope[name] = getattr(native, name)
            with contextlib.nullcontext() if self.entry else native.for_inlining(made):
                made.compile(arguments)
        made.disable_compile()
        return made

    def compiled_entry(self) -> Callable[..., Any]:
        """The compiled function as a fast Python callable (no type dispatch: pass the kernel and ints)."""
        if not self.entry:
            raise TypeError(f"{self.name} is not an entry point: declare it with entry=True to call it from Python")
        with jit.Timed():
            (overload,) = self._compile().overloads.values()
        call: Callable[..., Any] = overload.entry_point
        return call

    def address(self, k: Kernel) -> int:
        """What compiled code calls through :func:`indirect`; when interpreting, a number in ``k.callables``."""
        if k.watch is not None or not jit.JIT:
            k.callables.append(self.interpreted() if k.watch is None else self.watched())
            return len(k.callables) - 1
        self.compiled_entry()
        (overload,) = self._compile().overloads.values()
        from numba import types

        if types.unliteral(overload.signature.return_type) != types.int64:
            raise TypeError(f"{self.name} must return an integer to be called through its address")
        return address_of(overload)


def address_of(overload: Any) -> int:
    """Where the machine code of one compiled form of a function begins, by the C convention."""
    pointer: int = overload.library.get_pointer_to_function(overload.fndesc.llvm_cfunc_wrapper_name)
    return pointer


_ACCOUNTING = {f"netemu.engine.{name}" for name in ("events", "faults", "log", "path")}
"""Modules whose functions are about emulated code rather than a part of it: nobody follows them."""


def indirect(k: Kernel, address: int, a: int, b: int, c: int) -> int:
    """Call the kernel function behind ``address`` (see :meth:`KernelFunction.address`) as ``f(k, a, b, c)``."""
    result: int = k.callables[address](k, a, b, c)
    return result


def prefetch(rows: Any, index: int) -> None:
    """Row ``index`` of the table ``rows`` is needed soon: have it fetched into the cache.  Any index is allowed."""


def call_python(k: Kernel, function: int, a: int, b: int, c: int, d: int) -> int:
    """Call a Python function that answers an integer and raises nothing (see :func:`python_address`)."""
    result: int = k.callables[function](a, b, c, d)
    return result


def python_address(k: Kernel, function: Callable[[int, int, int, int], int]) -> int:
    """What :func:`call_python` calls ``function`` by.  The caller keeps the function alive."""
    if k.watch is None and jit.JIT:
        return id(function)  # CPython: its address
    k.callables.append(function)
    return len(k.callables) - 1


_sealed: list[str] = []


def seal() -> None:
    """Every module that comes with netemu is imported; what is declared from now on belongs to plug-ins."""
    _sealed.append(_digest())


def declarations() -> str:
    """Digest of what the compiled code of netemu itself knows by number."""
    return _sealed[0] if _sealed else _digest()


def _digest() -> str:
    return hashlib.sha256("\n".join(DECLARED).encode()).hexdigest()


REGISTERED: list[KernelFunction] = []
"""Every declared kernel function, in order of declaration."""


def adopt_plugin(first: int, files: tuple[Path, ...]) -> None:
    """Kernel functions from ``REGISTERED[first]`` on belong to the last of ``files``, loaded in this order.

    Their numbers depend on all that was declared before, by whomever.
    """
    digest = _digest()
    for function in REGISTERED[first:]:
        function.plugin = files
        function.declarations = digest


@overload
def kernel_function(function: F, /) -> F: ...
@overload
def kernel_function(
    *, name: str | None = None, traced: bool = True, inline: bool = False, entry: bool = False, rare: bool = False
) -> Callable[[F], F]: ...
def kernel_function(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    traced: bool = True,
    inline: bool = False,
    entry: bool = False,
    rare: bool = False,
) -> Any:
    """Declare a kernel function.

    ``name``: the kernel's name where Python's differs.  ``traced=False``: a part of its caller, not a node of
    its own.  ``inline``: always inlined (small and hot).  ``entry``: callable from Python and by address.
    ``rare``: an entry that no replay comes to, compiled when it is first called and not ahead of time.
    """

    def declare(f: Any) -> Any:
        made = KernelFunction(f, name=name, traced=traced, inline=inline, entry=entry, rare=rare)
        REGISTERED.append(made)
        return made

    return declare if function is None else declare(function)


def inlined(function: F) -> F:
    """Declare a small helper that is a part of its callers: no call-path node, always inlined."""
    return kernel_function(traced=False, inline=True)(function)


def _referenced(code: CodeType) -> Iterator[str]:
    """Names of the globals that a body uses."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval


# -- weaving the accounting into a body ------------------------------------------------------------------------------


@cache
def _definitions(filename: str) -> dict[tuple[str, int], ast.FunctionDef]:
    tree = ast.parse(Path(filename).read_text(encoding="utf-8"), filename)
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            line = min([node.lineno, *[d.lineno for d in node.decorator_list]])
            found[node.name, line] = node
    return found


class _LeaveOnReturn(ast.NodeTransformer):
    """``return X`` becomes ``_result = X; _leave(...); return _result``."""

    def visit_Return(self, node: ast.Return) -> list[ast.stmt]:
        leave = _statement("_leave(k, cpu, _caller)")
        if node.value is None or isinstance(node.value, (ast.Constant, ast.Name)):
            made: list[ast.stmt] = [leave, node]
        else:
            keep = _statement("_result = None")
            assert isinstance(keep, ast.Assign)
            keep.value = node.value
            made = [keep, leave, _statement("return _result")]
        for statement in made:
            for child in ast.walk(statement):
                if not hasattr(child, "lineno"):
                    ast.copy_location(child, node)
        return made


def _statement(text: str) -> ast.stmt:
    """Parse one statement (a ``return`` too), with its positions removed."""
    function = ast.parse(f"def f():\n {text}").body[0]
    assert isinstance(function, ast.FunctionDef)
    for child in ast.walk(function.body[0]):
        for position in ("lineno", "col_offset", "end_lineno", "end_col_offset"):
            if hasattr(child, position):
                delattr(child, position)
    return function.body[0]


def _woven_code(function: FunctionType, number: int) -> CodeType:
    code = function.__code__
    parameters = code.co_varnames[: code.co_argcount]
    if parameters[:2] != ("k", "cpu"):
        raise TypeError(f"{function.__qualname__}: a traced kernel function starts with (k, cpu, ...)")
    source = inspect.getsourcefile(function)
    assert source is not None
    definition = _definitions(source)[function.__name__, code.co_firstlineno]
    fresh = ast.parse(ast.unparse(ast.Module([definition], []))).body[0]  # a copy: the cached tree stays as it is
    assert isinstance(fresh, ast.FunctionDef)
    for old, new in zip(ast.walk(definition), ast.walk(fresh), strict=True):
        if hasattr(old, "lineno"):
            ast.copy_location(new, old)
    fresh.decorator_list = []
    fresh.returns = None
    for argument in fresh.args.args:
        argument.annotation = None
    enter = _statement(f"_caller = _enter(k, cpu, {number})")
    leave = _statement("_leave(k, cpu, _caller)")
    body = fresh.body
    body = [s for statement in body for s in _listed(_LeaveOnReturn().visit(statement))]
    if not isinstance(body[-1], ast.Return):
        body.append(leave)
    fresh.body = [enter, *body]
    module = ast.Module([fresh], [])
    ast.fix_missing_locations(module)
    compiled = compile(module, code.co_filename, "exec")
    (made,) = [c for c in compiled.co_consts if isinstance(c, CodeType)]
    return made.replace(co_firstlineno=code.co_firstlineno)


def _listed(made: Any) -> list[ast.stmt]:
    return made if isinstance(made, list) else [made]
