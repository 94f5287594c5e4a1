"""Compiling guests: objects of guest classes as small structs, their methods from the source that Python runs too."""

from __future__ import annotations

import builtins
import inspect
import operator
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.imputils import lower_constant
from numba.extending import (
    NativeValue,
    intrinsic,
    make_attribute_wrapper,
    models,
    overload,
    overload_attribute,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)

from . import guest, jit
from .guest import CLASSES, NOTED, CannotCompile, GuestClass
from .kernel import KernelFunction, address_of
from .native import I64, UNCHECKED, TableType, kernel_type

_WORDS = TableType(types.int64, "guest words", UNCHECKED)
_OPTIONS = {"nogil": True, "error_model": "python"}
_INNER = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_OPERATORS: dict[str, Any] = {
    "__getitem__": operator.getitem,
    "__setitem__": operator.setitem,
    "__contains__": operator.contains,
    "__len__": builtins.len,
}


@intrinsic  # type: ignore[untyped-decorator]
def _note(_context: Any, code: Any, detail: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = builder.inttoptr(ir.Constant(I64, NOTED.ctypes.data), I64.as_pointer())
        for at, value in enumerate(args):
            builder.store(value, builder.gep(words, [ir.Constant(ir.IntType(32), at)]))
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _settled(_context: Any, _value: Any) -> Any:
    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        frozen = ir.Instruction(builder.block, I64, "freeze", args)
        builder._insert(frozen)
        return frozen

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _take_note(_context: Any, at: Any) -> Any:
    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        words = builder.inttoptr(ir.Constant(I64, NOTED.ctypes.data), I64.as_pointer())
        word = builder.gep(words, [args[0]])
        value = builder.load(word)
        builder.store(ir.Constant(I64, 0), word)
        return value

    return types.int64(types.int64), generate


# -- functions in native form ----------------------------------------------------------------------------------------


@cache
def _scoped(function: FunctionType) -> FunctionType:
    """The function over globals in which everything that it calls is in native form."""
    scope = dict(function.__globals__)
    for name in function.__code__.co_names:
        if name in scope:
            scope[name] = _native_form(scope[name])
    cells = tuple(type(c)(_native_form(c.cell_contents)) for c in function.__closure__ or ())
    made = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, cells or None)
    made.__module__ = function.__module__
    made.__qualname__ = function.__qualname__
    return made


_forms: dict[Any, Any] = {guest.note: _note, guest.settled: _settled}


def _native_form(value: Any) -> Any:
    if isinstance(value, KernelFunction):
        return value._compile()
    if not isinstance(value, FunctionType):
        return value
    if value not in _forms:
        _forms[value] = njit(**_INNER)(value)  # stands for itself while what it calls is looked at
        _forms[value] = njit(**_INNER)(_scoped(value))
    return _forms[value]


# -- guest classes ---------------------------------------------------------------------------------------------------


class GuestType(types.Type):  # type: ignore[misc]
    """An object of a guest class."""

    def __init__(self, declared: GuestClass) -> None:
        self.declared = declared
        super().__init__(name=f"guest.{declared.python.__qualname__}")


def _member(field: str) -> Any:
    return kernel_type() if field == "k" else _WORDS if field == "words" else types.int64


@cache
def guest_type(python: type) -> GuestType:
    """The numba type of a guest class, with its attributes, methods and operators declared."""
    declared = CLASSES[python]
    kind = type(f"{python.__name__}Type", (GuestType,), {})
    made: GuestType = kind(declared)
    members = [(field, _member(field)) for field in declared.fields]

    class Model(models.StructModel):  # type: ignore[misc]
        def __init__(self, manager: Any, fe_type: Any) -> None:
            super().__init__(manager, fe_type, members)

    register_model(kind)(Model)
    for field in declared.fields:
        make_attribute_wrapper(kind, field, field)
    for name, read in declared.computed.items():
        overload_attribute(kind, name, strict=False)(_always(read))
    members_of = {name: value for base in reversed(python.__mro__) for name, value in vars(base).items()}
    for name, function in members_of.items():
        if name in _OPERATORS:
            overload(_OPERATORS[name], strict=False)(_only_for(made, function))
        elif isinstance(function, FunctionType) and not name.startswith("__"):
            used = _nothing if name == declared.renew else function
            overload_method(kind, name, strict=False)(_always(used))
    _declare_values(python, kind, made)
    return made


def _nothing(_self: Any) -> None:
    """What a method does that has nothing to do in compiled code."""


def _typing(function: Any, applies: Callable[[tuple[Any, ...]], bool]) -> Callable[..., Any]:
    """What numba asks for an implementation: the function itself, under its own parameters."""

    def implementation(*args: Any) -> Any:
        return _scoped(function) if applies(args) else None

    implementation.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return implementation


def _always(function: Any) -> Callable[..., Any]:
    return _typing(function, lambda _args: True)


def _only_for(made: GuestType, function: Any) -> Callable[..., Any]:
    return _typing(function, lambda args: args[0] is made)


def _declare_values(python: type, kind: type, made: GuestType) -> None:
    """Objects of the class as globals of a guest, as arguments, and made in compiled code."""

    @typeof_impl.register(python)  # type: ignore[untyped-decorator]
    def typeof(_value: Any, _context: Any) -> GuestType:
        return made

    @lower_constant(kind)  # type: ignore[untyped-decorator]
    def constant(context: Any, builder: Any, _kind: Any, value: Any) -> Any:
        struct = cgutils.create_struct_proxy(made)(context, builder)
        for field in made.declared.fields:
            if field == "words":
                words = cgutils.create_struct_proxy(_WORDS)(context, builder)
                words.data = ir.Constant(I64, value.address)
                words.length = words.error = ir.Constant(I64, 0)
                held = words._getvalue()
            else:
                held = ir.Constant(I64, getattr(value, field))
            setattr(struct, field, held)
        return struct._getvalue()

    @unbox(kind)  # type: ignore[untyped-decorator]
    def argument(_kind: Any, value: Any, c: Any) -> NativeValue:
        struct = cgutils.create_struct_proxy(made)(c.context, c.builder)
        for field in made.declared.fields:
            held = c.pyapi.object_getattr_string(value, "address" if field == "words" else field)
            number = c.pyapi.long_as_longlong(held)
            c.pyapi.decref(held)
            if field == "words":
                words = cgutils.create_struct_proxy(_WORDS)(c.context, c.builder)
                words.data = number
                words.length = words.error = ir.Constant(I64, 0)
                number = words._getvalue()
            setattr(struct, field, number)
        return NativeValue(struct._getvalue())


@cache
def _maker(python: type) -> Any:
    """``make(k, cpu, row)`` for a guest's subject in compiled code."""
    made = guest_type(python)

    @intrinsic  # type: ignore[untyped-decorator]
    def make(_context: Any, k: Any, cpu: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
            struct = cgutils.create_struct_proxy(made)(context, builder)
            for field, value in zip(made.declared.fields, args, strict=True):
                setattr(struct, field, value)
            return struct._getvalue()

        return made(kernel_type(), types.int64, types.int64), generate

    return make


# -- guests ----------------------------------------------------------------------------------------------------------


def compiled(
    function: Any, subject: type, checked: KernelFunction, failed: KernelFunction | None, aborted: int
) -> tuple[int, object]:
    """See :class:`netemu.engine.guest.CompiledGuest`: the address, and what has to stay alive for it."""
    with jit.Timed():
        for python in CLASSES:
            guest_type(python)
        make = _maker(subject)
        try:
            program = njit(**_INNER)(_scoped(function))
            program.compile((guest_type(subject),))
            (made,) = program.overloads.values()
            if not isinstance(types.unliteral(made.signature.return_type), types.Integer):
                raise CannotCompile(f"it answers {made.signature.return_type}, not always an integer")
            whole = njit(**_OPTIONS, no_cpython_wrapper=True)(_entry(program, make, checked, failed, aborted))
            whole.compile((kernel_type(), types.int64, types.int64, types.int64))
        except CannotCompile:
            raise
        except Exception as error:  # a compiler has many ways to say no
            raise CannotCompile(_reason(error)) from error
    (entry,) = whole.overloads.values()
    return address_of(entry), whole


def _entry(program: Any, make: Any, checked: KernelFunction, failed: KernelFunction | None, aborted: int) -> Any:
    made_of = checked._compile()
    if failed is None:

        def run_or_abort(k: Any, cpu: Any, rxq: Any, row: Any) -> Any:
            result = 0
            try:
                result = made_of(k, cpu, row, program(make(k, cpu, row)))
            except Exception:
                result = aborted
            return result

        return run_or_abort
    give_up = failed._compile()

    def run(k: Any, cpu: Any, rxq: Any, row: Any) -> Any:
        result = 0
        try:
            result = made_of(k, cpu, row, program(make(k, cpu, row)))
        except Exception:
            result = give_up(k, cpu, row, _take_note(0), _take_note(1))
        return result

    return run


def routine(function: Any) -> Any:
    """See :class:`netemu.engine.guest.CompiledRoutine`."""
    for python in CLASSES:
        guest_type(python)
    return njit(**_OPTIONS)(_scoped(function))


def _reason(error: Exception) -> str:
    """What of a compiler's message says what it does not take, and where in the program."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Failed in", "During:", "File ", "- ", "<"))]
    line = getattr(getattr(error, "loc", None), "line", None)
    first = (told or lines or ["no reason given"])[0]
    return first.partition("Raised from ")[0].rstrip(". ") + (f" (line {line})" if line else "")
