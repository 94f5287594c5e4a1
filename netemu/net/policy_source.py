"""Turning the functions of a policy file into kernel functions that can neither crash, hang nor stop a run.

A policy is plain Python over integers.  What it may contain is checked here; what it may do wrong while it runs is
woven in as a question: is this one round too many, is the divisor zero, was an error raised?
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

from ..engine.kernel import KernelFunction
from ..errors import UsageError
from . import policy

PUBLISHED = (
    "cache_room",
    "draw",
    "is_local",
    "is_reserve",
    "kept",
    "kept_page",
    "now",
    "others",
    "ring_room",
)
"""Functions of :mod:`netemu.net.policy` that a policy may call."""
BUILTINS = ("abs", "bool", "int", "max", "min", "range")

_WOVEN = {
    "_next_round": policy.next_round,
    "_raised": policy.raised,
    "_divided": policy.divided,
    "_remainder": policy.remainder,
}
_STATEMENTS = (
    ast.Assign,
    ast.AugAssign,
    ast.AnnAssign,
    ast.Expr,
    ast.If,
    ast.While,
    ast.For,
    ast.Return,
    ast.Break,
    ast.Continue,
    ast.Pass,
    ast.Raise,
    ast.Assert,
)
_EXPRESSIONS = (
    ast.BoolOp,
    ast.BinOp,
    ast.UnaryOp,
    ast.IfExp,
    ast.Compare,
    ast.Call,
    ast.Constant,
    ast.Attribute,
    ast.Subscript,
    ast.Name,
    ast.JoinedStr,  # in the message of an error, which is not looked at
)
_OPERATORS = (ast.Div, ast.Pow, ast.MatMult)


class Mistake(UsageError):
    """Something in a policy file that cannot be compiled; carries the line."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def functions_of(tree: ast.Module, scope: Mapping[str, Any], state: str | None) -> dict[str, FunctionType]:
    """The file's functions, woven, by name.  ``scope``: the file's globals; ``state``: the name of its STATE.

    Raises :class:`Mistake`.
    """
    definitions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for definition in definitions.values():
        _Check(definitions.keys(), scope, state).function(definition)
    _refuse_circles(definitions)
    inside = {**scope, **_WOVEN}
    made = {name: _woven(definition, inside, state) for name, definition in definitions.items()}
    for function in made.values():
        function.__globals__.update(made)
    return made


def _refuse_circles(definitions: Mapping[str, ast.FunctionDef]) -> None:
    calls = {
        name: {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & definitions.keys()
        for name, node in definitions.items()
    }

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise Mistake(definitions[name].lineno, f"{name}() calls itself: write a loop")
        for called in calls[name]:
            visit(called, (*above, name))

    for name in definitions:
        visit(name, ())


class _Check:
    """What one function of a policy may contain."""

    def __init__(self, own: Any, scope: Mapping[str, Any], state: str | None) -> None:
        self.own = own
        self.scope = scope
        self.state = state
        self.records: set[str] = set()

    def function(self, definition: ast.FunctionDef) -> None:
        names = [argument.arg for argument in definition.args.args]
        if names[:2] != ["k", "cpu"] or definition.args.vararg or definition.args.kwarg or definition.args.kwonlyargs:
            raise Mistake(
                definition.lineno, f"{definition.name}({', '.join(names)}) has to take (k, cpu, ...), plain arguments"
            )
        body = definition.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        if not isinstance(node, _STATEMENTS):
            raise Mistake(node.lineno, f"a policy has no use for {_named(node)}")
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            if isinstance(node, ast.AugAssign):
                self.operator(node.op, node.lineno)
            targets: list[ast.expr] = list(node.targets) if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                self.target(target)
            if node.value is not None:
                self.expression(node.value)
                self.remember(targets, node.value)
        elif isinstance(node, ast.For):
            if not (isinstance(node.iter, ast.Call) and _name(node.iter.func) == "range"):
                raise Mistake(node.lineno, "a policy loops over range(...)")
            self.target(node.target)
            self.expression(node.iter)
        elif isinstance(node, ast.If | ast.While | ast.Assert):
            self.expression(node.test)
        elif isinstance(node, ast.Return):
            if node.value is None:
                raise Mistake(node.lineno, "return needs a value")
            self.expression(node.value)
        elif isinstance(node, ast.Expr):
            self.expression(node.value)
        for inner in [*getattr(node, "body", []), *getattr(node, "orelse", [])]:
            self.statement(inner)

    def remember(self, targets: list[ast.expr], value: ast.expr) -> None:
        """Names for rows of STATE may be written through, and no others."""
        for target in targets:
            if isinstance(target, ast.Name):
                if self.is_state(value):
                    self.records.add(target.id)
                else:
                    self.records.discard(target.id)

    def is_state(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and self.state is not None and _name(node.func) == self.state

    def target(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name):
            if node.id in self.own or node.id in ("k", "cpu"):
                raise Mistake(node.lineno, f"{node.id} cannot be assigned to")
            return
        root = node
        while isinstance(root, ast.Attribute | ast.Subscript):
            if isinstance(root, ast.Subscript):
                self.expression(root.slice)
            root = root.value
        if root is node or not (self.is_state(root) or (isinstance(root, ast.Name) and root.id in self.records)):
            raise Mistake(node.lineno, "a policy writes to its own variables and to rows of its STATE, to nothing else")

    def operator(self, node: ast.operator, line: int) -> None:
        if isinstance(node, _OPERATORS):
            raise Mistake(line, "a policy calculates with whole numbers: +, -, *, // and %")

    def expression(self, node: ast.expr) -> None:
        if not isinstance(node, _EXPRESSIONS):
            raise Mistake(node.lineno, f"a policy has no use for {_named(node)}")
        if isinstance(node, ast.Constant) and not isinstance(node.value, int):
            raise Mistake(node.lineno, f"a policy calculates with whole numbers, not with {node.value!r}")
        if isinstance(node, ast.Call):
            self.call(node)
            return
        if isinstance(node, ast.BinOp):
            self.operator(node.op, node.lineno)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child)

    def call(self, node: ast.Call) -> None:
        name = _name(node.func)
        value = self.scope.get(name or "")
        published = isinstance(value, KernelFunction) and value.name in PUBLISHED
        if not (published or name in self.own or name == self.state or name in BUILTINS) or node.keywords:
            raise Mistake(
                node.lineno,
                f"{ast.unparse(node.func)}() is nothing that a policy may call: that are functions of its own file, "
                f"{', '.join(PUBLISHED)}, {', '.join(BUILTINS)}; without keywords",
            )
        for argument in node.args:
            self.expression(argument)


def _name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def _named(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0]


class _Weave(ast.NodeTransformer):
    """Questions in place of what could fail."""

    def __init__(self, state: str | None) -> None:
        self.state = state

    def visit_While(self, node: ast.While) -> ast.stmt:
        self.generic_visit(node)
        node.body.insert(0, _statement(f"if _next_round(k, cpu): return {policy.LOST}", node))
        return node

    def visit_For(self, node: ast.For) -> ast.stmt:
        self.generic_visit(node)
        node.body.insert(0, _statement(f"if _next_round(k, cpu): return {policy.LOST}", node))
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        return _statement(f"return _raised(k, cpu, {node.lineno})", node)

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        self.generic_visit(node.test)
        made = _statement(f"if not x: return _raised(k, cpu, {node.lineno})", node)
        assert isinstance(made, ast.If)
        made.test = ast.copy_location(ast.UnaryOp(ast.Not(), self.visit(node.test)), node)
        return made

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        self.generic_visit(node)
        assert node.value is not None
        node.value = _call("int", node, node.value)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        before = copy.deepcopy(node.target)
        for child in ast.walk(before):
            if isinstance(child, ast.Name | ast.Attribute | ast.Subscript):
                child.ctx = ast.Load()
        plain = ast.copy_location(ast.Assign([node.target], ast.BinOp(before, node.op, node.value)), node)
        ast.copy_location(plain.value, node)
        self.generic_visit(plain)
        return plain

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.FloorDiv | ast.Mod):
            name = "_divided" if isinstance(node.op, ast.FloorDiv) else "_remainder"
            k, cpu = (ast.copy_location(ast.Name(word, ast.Load()), node) for word in ("k", "cpu"))
            return _call(name, node, k, cpu, node.left, node.right, ast.copy_location(ast.Constant(node.lineno), node))
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if _name(node.func) == self.state is not None:  # its rows are kept under device 0
            node.args.insert(1, ast.copy_location(ast.Constant(0), node))
        return node


def _call(name: str, at: ast.AST, *arguments: ast.expr) -> ast.expr:
    made = ast.Call(ast.Name(name, ast.Load()), list(arguments), [])
    ast.copy_location(made.func, at)
    return ast.copy_location(made, at)


def _statement(text: str, at: ast.AST) -> ast.stmt:
    function = ast.parse(f"def f():\n {text}").body[0]
    assert isinstance(function, ast.FunctionDef)
    made = function.body[0]
    for child in ast.walk(made):
        ast.copy_location(child, at)
    return made


def _woven(definition: ast.FunctionDef, scope: Mapping[str, Any], state: str | None) -> FunctionType:
    fresh = _Weave(state).visit(copy.deepcopy(definition))
    fresh.decorator_list = []
    fresh.returns = None
    for argument in fresh.args.args:
        argument.annotation = None
    module = ast.fix_missing_locations(ast.Module([fresh], []))
    compiled = compile(module, scope["__file__"], "exec")
    (code,) = [c for c in compiled.co_consts if isinstance(c, CodeType)]
    made = FunctionType(code, dict(scope), definition.name)
    made.__module__ = scope["__name__"]
    return made
