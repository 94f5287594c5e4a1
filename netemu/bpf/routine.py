"""Routines: what programs call, written once in a small part of Python and run two ways.

A routine's first parameter is the virtual machine, the rest are 64-bit words, and so is everything in it:

- ``vm.name`` is a field of the machine's record (:class:`netemu.bpf.vm.State`), outside the arena;
- ``vm.load32(address)``, ``vm.store32(address, value)``: memory that programs see, by arena address, always inside;
- ``host.load32(address)``: control data by its real address, which no program can name;
- ``+ - * // % & | ^ << >> ~``, comparisons, ``in (A, B)``, ``and or not``, conditional expressions, ``if``, ``while``,
  ``return``.

As plain Python a routine works on Python integers, which do not wrap: where a difference may go below zero it is
compared with :func:`less` (signed), or taken with :func:`wrap`.  For compiled programs :func:`llvm_text` translates it
to LLVM assembly; no compiler but llvmlite takes part.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import count
from typing import Any, overload

WORD = (1 << 64) - 1
LOW32 = (1 << 32) - 1


def wrap(value: int) -> int:
    """``value`` modulo 2**64."""
    return value & WORD


def signed(value: int) -> int:
    """The 64-bit word ``value`` read as a signed integer."""
    value &= WORD
    return value - (1 << 64) if value >> 63 else value


def less(left: int, right: int) -> bool:
    """Signed comparison of two words."""
    return signed(left) < signed(right)


class Routine:
    """A function over a virtual machine and words; see the module's text.  Call it as the Python that it is."""

    def __init__(self, function: Callable[..., int], *, inline: bool) -> None:
        self.function = function
        self.inline = inline
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, vm: Any, *words: int) -> int:
        return self.function(vm, *words)

    @cached_property
    def tree(self) -> ast.FunctionDef:
        parsed = ast.parse(textwrap.dedent(inspect.getsource(self.function))).body[0]
        assert isinstance(parsed, ast.FunctionDef)
        return parsed

    @property
    def callees(self) -> Iterator[Routine]:
        """Routines that this one calls."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found = self.function.__globals__.get(node.func.id)
                if isinstance(found, Routine):
                    yield found

    def llvm_text(self, layout: Layout, *, external: bool = False) -> str:
        """This routine as LLVM assembly."""
        return _Translation(self, layout, external=external).text


@overload
def routine(function: Callable[..., int], /) -> Routine: ...
@overload
def routine(*, inline: bool) -> Callable[[Callable[..., int]], Routine]: ...
def routine(function: Callable[..., int] | None = None, /, *, inline: bool = False) -> Any:
    """Declare a routine; ``inline`` makes compiled programs hold a copy wherever they call it."""
    if function is None:
        return lambda f: Routine(f, inline=inline)
    return Routine(function, inline=inline)


class Layout:
    """What compiled code knows about a machine: where the fields are, how addresses are masked, and the safety mode.

    Args:
        fields: byte offset of each field of the machine's record.
        address_bits: the arena has 2**address_bits bytes.
        strict: every access to the arena is checked.
    """

    def __init__(self, fields: dict[str, int], *, address_bits: int, strict: bool) -> None:
        self.fields = fields
        self.address_bits = address_bits
        self.strict = strict

    def arena_pointer(self, address: str, temporary: Callable[[], str]) -> tuple[list[str], str]:
        """Lines that turn an arena address into a pointer, and the pointer's name."""
        low, whole, pointer = temporary(), temporary(), temporary()
        if self.address_bits == 32:
            lines = [f"{low} = trunc i64 {address} to i32", f"{whole} = zext i32 {low} to i64"]
        else:
            lines = [f"{whole} = and i64 {address}, {(1 << self.address_bits) - 1}"]
        return [*lines, f"{pointer} = getelementptr i8, ptr %base, i64 {whole}"], pointer


def with_callees(routines: list[Routine]) -> list[Routine]:
    """The routines and all that they call, each once."""
    found: dict[str, Routine] = {}
    waiting = list(routines)
    while waiting:
        current = waiting.pop()
        if current.name not in found:
            found[current.name] = current
            waiting.extend(current.callees)
    return list(found.values())


DECLARATIONS = """\
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
"""

_ARITHMETIC = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "udiv", ast.Mod: "urem", ast.BitAnd: "and",
    ast.BitOr: "or", ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "lshr",
}  # fmt: skip
_COMPARISON = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "ult", ast.LtE: "ule", ast.Gt: "ugt", ast.GtE: "uge"}
_BITS = {"8": 8, "16": 16, "32": 32, "64": 64}


class _Translation:
    """One routine on its way to LLVM assembly; local variables are stack slots that LLVM turns into registers."""

    def __init__(self, source: Routine, layout: Layout, *, external: bool) -> None:
        self.source = source
        self.layout = layout
        self.lines: list[str] = []
        self.numbers = count()
        self.loops: list[tuple[str, str]] = []
        tree = source.tree
        parameters = [argument.arg for argument in tree.args.args[1:]]
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.locals = {*parameters, *names}
        for name in sorted(self.locals):
            self.emit(f"%v.{name} = alloca i64")
            self.emit(f"store i64 {f'%a.{name}' if name in parameters else 0}, ptr %v.{name}")
        self.open = True
        self.body(tree.body)
        if self.open:
            self.emit("ret i64 0")
        linkage = "" if external else "internal "
        attributes = " alwaysinline" if source.inline and not external else ""
        arguments = "".join(f", i64 %a.{name}" for name in parameters)
        head = f"define {linkage}i64 @{source.name}(ptr noalias %vm, ptr noalias %base{arguments}) nounwind{attributes}"
        self.text = "\n".join([f"{head} {{", *self.lines, "}\n"])

    def emit(self, line: str) -> None:
        self.lines.append(line)

    def temporary(self) -> str:
        return f"%t{next(self.numbers)}"

    def value(self, line: str) -> str:
        name = self.temporary()
        self.emit(f"{name} = {line}")
        return name

    def label(self) -> str:
        return f"b{next(self.numbers)}"

    def start(self, label: str) -> None:
        self.emit(f"{label}:")
        self.open = True

    def leave(self, line: str) -> None:
        """End the current block, unless it has ended already."""
        if self.open:
            self.emit(line)
        self.open = False

    def misused(self, node: ast.AST, what: str) -> SyntaxError:
        return SyntaxError(f"routine {self.source.name}, line {getattr(node, 'lineno', '?')}: {what}")

    # -- statements ------------------------------------------------------------------------------------------------

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if not self.open:
                return
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                pass
            case ast.Expr(value=ast.Call() as call):
                self.call(call)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, word in [(t, self.word(v)) for t, v in zip(targets, values, strict=True)]:
                    self.assign(target, word)
            case ast.Assign(targets=[target], value=value):
                self.assign(target, self.word(value))
            case ast.AugAssign(target=target, op=op, value=value):
                before = self.word(ast.copy_location(_as_load(target), target))
                self.assign(target, self.value(f"{_ARITHMETIC[type(op)]} i64 {before}, {self.word(value)}"))
            case ast.Return(value=value):
                self.leave(f"ret i64 {self.word(value) if value is not None else 0}")
            case ast.If():
                self.branch(node)
            case ast.While(test=test, body=body, orelse=[]):
                self.loop(test, body)
            case ast.Break():
                self.leave(f"br label %{self.loops[-1][1]}")
            case ast.Continue():
                self.leave(f"br label %{self.loops[-1][0]}")
            case _:
                raise self.misused(node, f"{type(node).__name__} is not part of what routines may use")

    def assign(self, target: ast.expr, value: str) -> None:
        match target:
            case ast.Name(id=name):
                self.emit(f"store i64 {value}, ptr %v.{name}")
            case ast.Attribute(value=ast.Name(id="vm"), attr=field):
                self.emit(f"store i64 {value}, ptr {self.field(field)}")
            case _:
                raise self.misused(target, "only names and fields of vm can be assigned")

    def field(self, name: str) -> str:
        return self.value(f"getelementptr i8, ptr %vm, i64 {self.layout.fields[name]}")

    def branch(self, node: ast.If) -> None:
        known = self.static(node.test)
        if known is not None:
            self.body(node.body if known else node.orelse)
            return
        yes, no, after = self.label(), self.label(), self.label()
        self.emit(f"br i1 {self.truth(node.test)}, label %{yes}, label %{no}")
        self.start(yes)
        self.body(node.body)
        falls_through = self.open
        self.leave(f"br label %{after}")
        self.start(no)
        self.body(node.orelse)
        falls_through = self.open or falls_through
        self.leave(f"br label %{after}")
        if falls_through:
            self.start(after)

    def static(self, test: ast.expr) -> bool | None:
        """The value of a test that is decided when code is made: ``vm.strict``, alone or leading an ``and``."""
        match test:
            case ast.Attribute(value=ast.Name(id="vm"), attr="strict"):
                return self.layout.strict
            case ast.BoolOp(op=ast.And(), values=[first, *_]) if self.static(first) is False:
                return False
        return None

    def loop(self, test: ast.expr, body: list[ast.stmt]) -> None:
        head, inside, after = self.label(), self.label(), self.label()
        self.emit(f"br label %{head}")
        self.start(head)
        self.emit(f"br i1 {self.truth(test)}, label %{inside}, label %{after}")
        self.loops.append((head, after))
        self.start(inside)
        self.body(body)
        self.leave(f"br label %{head}")
        self.loops.pop()
        self.start(after)

    # -- expressions -----------------------------------------------------------------------------------------------

    def word(self, node: ast.expr) -> str:
        """The 64-bit value of an expression."""
        match node:
            case ast.Constant(value=bool() | int() as number):
                return str(int(number))
            case ast.Name(id=name) if name in self.locals:
                return self.value(f"load i64, ptr %v.{name}")
            case ast.Name(id=name):
                constant = self.source.function.__globals__.get(name)
                if not isinstance(constant, int):
                    raise self.misused(node, f"{name} is no local variable and no integer")
                return str(int(constant))
            case ast.Attribute(value=ast.Name(id="vm"), attr="strict"):
                return str(int(self.layout.strict))
            case ast.Attribute(value=ast.Name(id="vm"), attr=field):
                return self.value(f"load i64, ptr {self.field(field)}")
            case ast.BinOp(left=left, op=op, right=right):
                return self.value(f"{_ARITHMETIC[type(op)]} i64 {self.word(left)}, {self.word(right)}")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.value(f"sub i64 0, {self.word(operand)}")
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return self.value(f"xor i64 {self.word(operand)}, -1")
            case ast.IfExp(test=test, body=yes, orelse=no):
                return self.choice(test, yes, no)
            case ast.Call():
                return self.call(node)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self.value(f"zext i1 {self.truth(node)} to i64")
        raise self.misused(node, f"{type(node).__name__} is not part of what routines may use")

    def choice(self, test: ast.expr, yes: ast.expr, no: ast.expr) -> str:
        slot = f"%v.choice{next(self.numbers)}"
        self.lines.insert(0, f"{slot} = alloca i64")
        if_yes, if_no, after = self.label(), self.label(), self.label()
        self.emit(f"br i1 {self.truth(test)}, label %{if_yes}, label %{if_no}")
        for label, node in ((if_yes, yes), (if_no, no)):
            self.start(label)
            self.emit(f"store i64 {self.word(node)}, ptr {slot}")
            self.leave(f"br label %{after}")
        self.start(after)
        return self.value(f"load i64, ptr {slot}")

    def truth(self, node: ast.expr) -> str:
        """The truth of an expression, as a bit."""
        match node:
            case ast.Compare(left=left, ops=[ast.In()], comparators=[ast.Tuple(elts=values)]):
                return self.one_of(self.word(left), [self.word(value) for value in values])
            case ast.Compare(left=left, ops=[ast.NotIn()], comparators=[ast.Tuple(elts=values)]):
                found = self.one_of(self.word(left), [self.word(value) for value in values])
                return self.value(f"xor i1 {found}, true")
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.value(f"icmp {_COMPARISON[type(op)]} i64 {self.word(left)}, {self.word(right)}")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.value(f"xor i1 {self.truth(operand)}, true")
            case ast.BoolOp(op=op, values=values):
                return self.short_circuit(isinstance(op, ast.And), values)
            case ast.Call(func=ast.Name(id="less"), args=[left, right]):
                return self.value(f"icmp slt i64 {self.word(left)}, {self.word(right)}")
        return self.value(f"icmp ne i64 {self.word(node)}, 0")

    def one_of(self, word: str, values: list[str]) -> str:
        found = self.value(f"icmp eq i64 {word}, {values[0]}")
        for other in values[1:]:
            same = self.value(f"icmp eq i64 {word}, {other}")
            found = self.value(f"or i1 {found}, {same}")
        return found

    def short_circuit(self, conjunction: bool, values: list[ast.expr]) -> str:
        slot, after = f"%v.choice{next(self.numbers)}", self.label()
        self.lines.insert(0, f"{slot} = alloca i1")
        for number, node in enumerate(values, start=1):
            bit = self.truth(node)
            self.emit(f"store i1 {bit}, ptr {slot}")
            if number < len(values):
                more = self.label()
                targets = (more, after) if conjunction else (after, more)
                self.emit(f"br i1 {bit}, label %{targets[0]}, label %{targets[1]}")
                self.start(more)
        self.emit(f"br label %{after}")
        self.start(after)
        return self.value(f"load i1, ptr {slot}")

    def call(self, node: ast.Call) -> str:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="vm"), attr=method), args=args):
                return self.arena_access(method, [self.word(a) for a in args], node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="host"), attr=method), args=args):
                return self.host_access(method, [self.word(a) for a in args], node)
            case ast.Call(func=ast.Name(id="wrap"), args=[operand]):
                return self.word(operand)
            case ast.Call(func=ast.Name(id="less")):
                return self.value(f"zext i1 {self.truth(node)} to i64")
            case ast.Call(func=ast.Name(id=name), args=[ast.Name(id="vm"), *args]):
                callee = self.source.function.__globals__.get(name)
                if isinstance(callee, Routine):
                    words = "".join(f", i64 {self.word(a)}" for a in args)
                    return self.value(f"call i64 @{callee.name}(ptr %vm, ptr %base{words})")
        raise self.misused(node, "calls something that is no routine")

    def arena(self, address: str) -> str:
        lines, pointer = self.layout.arena_pointer(address, self.temporary)
        self.lines += lines
        return pointer

    def arena_access(self, method: str, words: list[str], node: ast.AST) -> str:
        match method:
            case "fill":
                address, byte, length = words
                low = self.value(f"trunc i64 {byte} to i8")
                self.emit(f"call void @llvm.memset.p0.i64(ptr {self.arena(address)}, i8 {low}, i64 {length}, i1 false)")
                return "0"
            case "move":
                return self.move(self.arena(words[0]), self.arena(words[1]), words[2])
            case "to_host":
                return self.move(self.host_pointer(words[0]), self.arena(words[1]), words[2])
            case "from_host":
                return self.move(self.arena(words[0]), self.host_pointer(words[1]), words[2])
            case "upcall":
                return self.upcall(words)
            case "run":
                return self.run_program(words)
        return self.access(method, words, node, self.arena)

    def host_access(self, method: str, words: list[str], node: ast.AST) -> str:
        if method == "fill":
            address, byte, length = words
            low, pointer = self.value(f"trunc i64 {byte} to i8"), self.host_pointer(address)
            self.emit(f"call void @llvm.memset.p0.i64(ptr {pointer}, i8 {low}, i64 {length}, i1 false)")
            return "0"
        if method == "move":
            return self.move(self.host_pointer(words[0]), self.host_pointer(words[1]), words[2])
        return self.access(method, words, node, self.host_pointer)

    def host_pointer(self, address: str) -> str:
        return self.value(f"inttoptr i64 {address} to ptr")

    def access(self, method: str, words: list[str], node: ast.AST, pointer_to: Callable[[str], str]) -> str:
        if method.startswith("load") and method[4:] in _BITS:
            bits = _BITS[method[4:]]
            loaded = self.value(f"load i{bits}, ptr {pointer_to(words[0])}, align 1")
            return loaded if bits == 64 else self.value(f"zext i{bits} {loaded} to i64")
        if method.startswith("store") and method[5:] in _BITS:
            bits = _BITS[method[5:]]
            word = words[1] if bits == 64 else self.value(f"trunc i64 {words[1]} to i{bits}")
            self.emit(f"store i{bits} {word}, ptr {pointer_to(words[0])}, align 1")
            return "0"
        raise self.misused(node, f"unknown access {method}")

    def move(self, target: str, source: str, length: str) -> str:
        self.emit(f"call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {source}, i64 {length}, i1 false)")
        return "0"

    def upcall(self, words: list[str]) -> str:
        function = self.host_pointer(self.value(f"load i64, ptr {self.field('python')}"))
        return self.value(f"call i64 {function}(ptr %vm, ptr %base{''.join(f', i64 {w}' for w in words)})")

    def run_program(self, words: list[str]) -> str:
        entry, r1, r2, frame = self.host_pointer(words[0]), *words[1:]
        arguments = f"ptr %vm, ptr %base, i64 {r1}, i64 {r2}, i64 0, i64 0, i64 0, i64 {frame}"
        return self.value(f"call i64 {entry}({arguments})")


def _as_load(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(id=target.id, ctx=ast.Load())
    assert isinstance(target, ast.Attribute)
    return ast.Attribute(value=target.value, attr=target.attr, ctx=ast.Load())
