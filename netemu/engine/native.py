"""How compiled code sees machine state: one pointer, from which tables and rows are reached without copies.

Imported only when something is compiled.  ``k.pages`` is a raw pointer (plus the length in the checked build),
``k.pages[i]`` a record in place.  In the checked build an index outside a table is noted in the error record, row
0 is used instead, and the run stops at the next look at that record.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_setattr_generic
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global, signature
from numba.extending import (
    NativeValue,
    infer_getattr,
    intrinsic,
    lower_builtin,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.numpy_support import from_dtype

from .jit import CHECKED
from .layout import MAX_DEVICES, PRIVATE_SLOTS, TABLES, Kernel, PrivateTable

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)

INDEX_ERROR = 1
"""First word of the error record after an access outside a table (see :mod:`netemu.engine.faults`)."""


class RowType(types.Type):  # type: ignore[misc]
    """One record of a table: a pointer to it in place.  ``label`` names the table."""

    def __init__(self, dtype: Any, label: str) -> None:
        self.dtype = dtype
        self.label = label
        super().__init__(name=f"Row({label}, {dtype})")

    def field(self, name: str) -> tuple[Any, int] | None:
        """Numba type and byte offset of a field; an array inside a record is a :class:`TableType` of its own."""
        if name not in self.dtype.fields:
            return None
        kind, offset = self.dtype.fields[name][:2]
        item = from_dtype(kind.base)
        if kind.shape:
            item = TableType(item, f"{self.label}.{name}", UNCHECKED)
        return item, offset


class TableType(types.Type):  # type: ignore[misc]
    """A table of machine state, or an array inside a record: items of one type, side by side.

    ``index`` is the table's place in the machine's directory, for messages of the checked build.
    """

    def __init__(self, item: Any, label: str, index: int) -> None:
        self.item = item
        self.label = label
        self.index = index
        super().__init__(name=f"Table({label}, {item})")

    @property
    def item_size(self) -> int:
        """Bytes from one item to the next."""
        size: int = self.item.dtype.itemsize if isinstance(self.item, RowType) else self.item.bitwidth // 8
        return size


UNCHECKED = -100
"""Directory place of arrays inside records: their indexes are not checked."""


def _item_type(dtype: Any, label: str) -> Any:
    return RowType(dtype, label) if dtype.names else from_dtype(dtype)


class KernelType(types.Type):  # type: ignore[misc]
    """The machine state as a whole.  There is one: its layout is fixed once the kernel modules are imported."""

    def __init__(self) -> None:
        self.tables = {n: TableType(_item_type(s.dtype, n), n, s.index) for n, s in TABLES.items()}
        super().__init__(name="netemu.Kernel")

    def __reduce__(self) -> Any:
        return kernel_type, ()


@cache
def kernel_type() -> KernelType:
    """The numba type of :class:`netemu.engine.layout.Kernel`."""
    return KernelType()


@typeof_impl.register(Kernel)  # type: ignore[untyped-decorator]
def _typeof_kernel(_value: Kernel, _context: Any) -> KernelType:
    return kernel_type()


@register_model(KernelType)
class _KernelModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, I64.as_pointer())


@register_model(RowType)
class _RowModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, I8.as_pointer())


@register_model(TableType)
class _TableModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        members = [("data", types.intp), ("length", types.intp), ("error", types.intp)]  # the last two: where checked
        super().__init__(manager, kind, members)


@unbox(KernelType)  # type: ignore[untyped-decorator]
def _unbox_kernel(_kind: Any, value: Any, c: Any) -> NativeValue:
    address = c.pyapi.object_getattr_string(value, "_address")
    pointer = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    failed = cgutils.is_not_null(c.builder, c.pyapi.err_occurred())
    return NativeValue(c.builder.bitcast(pointer, I64.as_pointer()), is_error=failed)


def _tag(builder: Any, access: Any, label: str) -> Any:
    """Mark a load or store: accesses with different labels never touch the same memory (LLVM's scalar TBAA).

    Every field of every table has a label of its own, and the directory of tables has one: so a store to one
    counter does not make the compiler load every other one, or a table's address, again.
    """
    module = builder.module
    root = module.add_metadata([ir.MetaDataString(module, "netemu")])
    kind = module.add_metadata([ir.MetaDataString(module, label), root, ir.Constant(I64, 0)])
    access.set_metadata("tbaa", module.add_metadata([kind, kind, ir.Constant(I64, 0)]))
    return access


def _load_word(builder: Any, pointer: Any, index: int) -> Any:
    # not marked !invariant.load: with it LLVM 20 stored poison into a table after inlining
    return _tag(builder, builder.load(builder.gep(pointer, [ir.Constant(I32, index)])), "directory")


@infer_getattr
class _KernelAttributes(AttributeTemplate):  # type: ignore[misc]
    key = KernelType

    def generic_resolve(self, kind: KernelType, name: str) -> Any:
        return kind.tables.get(name)


@lower_getattr_generic(KernelType)  # type: ignore[untyped-decorator]
def _kernel_table(context: Any, builder: Any, kind: KernelType, value: Any, name: str) -> Any:
    made = cgutils.create_struct_proxy(kind.tables[name])(context, builder)
    spec = TABLES[name]
    made.data = _load_word(builder, value, 2 * spec.index)
    if CHECKED:
        made.length = _load_word(builder, value, 2 * spec.index + 1)
        made.error = _load_word(builder, value, 2 * TABLES["error"].index)
    return made._getvalue()


# -- fields of a record ----------------------------------------------------------------------------------------------


@infer_getattr
class _RowAttributes(AttributeTemplate):  # type: ignore[misc]
    key = RowType

    def generic_resolve(self, kind: RowType, name: str) -> Any:
        found = kind.field(name)
        return found[0] if found else None


def _field_pointer(context: Any, builder: Any, kind: RowType, row: Any, name: str) -> tuple[Any, Any]:
    found = kind.field(name)
    assert found is not None
    item, offset = found
    return item, builder.gep(row, [ir.Constant(I64, offset)])


@lower_getattr_generic(RowType)  # type: ignore[untyped-decorator]
def _get_field(context: Any, builder: Any, kind: RowType, row: Any, name: str) -> Any:
    item, pointer = _field_pointer(context, builder, kind, row, name)
    if isinstance(item, TableType):
        made = cgutils.create_struct_proxy(item)(context, builder)
        made.data = builder.ptrtoint(pointer, I64)
        if CHECKED:
            made.length = made.error = ir.Constant(I64, 0)
        return made._getvalue()
    access = builder.load(builder.bitcast(pointer, context.get_data_type(item).as_pointer()))
    return _tag(builder, access, f"{kind.label}.{name}")


@lower_setattr_generic(RowType)  # type: ignore[untyped-decorator]
def _set_field(context: Any, builder: Any, sig: Any, args: Any, name: str) -> None:
    kind = sig.args[0]
    row, value = args
    item, pointer = _field_pointer(context, builder, kind, row, name)
    access = builder.store(value, builder.bitcast(pointer, context.get_data_type(item).as_pointer()))
    _tag(builder, access, f"{kind.label}.{name}")


# -- rows of a table -------------------------------------------------------------------------------------------------


@infer_global(operator.getitem)
class _GetRow(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        rows, index = args
        if isinstance(rows, TableType) and isinstance(index, types.Integer):
            return signature(rows.item, rows, types.intp)
        return None


@infer_global(operator.setitem)
class _SetRow(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        rows, index, _value = args
        if isinstance(rows, TableType) and isinstance(index, types.Integer):
            return signature(types.none, rows, types.intp, rows.item)
        return None


def _checked_index(builder: Any, index: Any, length: Any, error: Any, table: int) -> Any:
    """``index`` if it is inside, else 0 after noting the first such access in the error record."""
    bad = builder.icmp_unsigned(">=", index, length)
    with builder.if_then(bad, likely=False):
        words = builder.inttoptr(error, I64.as_pointer())
        first = builder.icmp_signed("==", builder.load(words), ir.Constant(I64, 0))
        with builder.if_then(first):
            for at, word in enumerate((ir.Constant(I64, INDEX_ERROR), ir.Constant(I64, table), index, length)):
                builder.store(word, builder.gep(words, [ir.Constant(I32, at)]))
    return builder.select(bad, ir.Constant(I64, 0), index)


def _row_address(context: Any, builder: Any, kind: TableType, rows: Any, index: Any) -> Any:
    view = cgutils.create_struct_proxy(kind)(context, builder, rows)
    if CHECKED and kind.index != UNCHECKED:
        index = _checked_index(builder, index, view.length, view.error, kind.index)
    return builder.add(view.data, builder.mul(index, ir.Constant(I64, kind.item_size)))


@lower_builtin(operator.getitem, TableType, types.intp)  # type: ignore[untyped-decorator]
def _lower_get_row(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    table = sig.args[0]
    address = _row_address(context, builder, table, *args)
    if isinstance(table.item, RowType):
        return builder.inttoptr(address, I8.as_pointer())
    pointer = builder.inttoptr(address, context.get_data_type(table.item).as_pointer())
    return _tag(builder, builder.load(pointer), table.label)


@lower_builtin(operator.setitem, TableType, types.intp, types.Any)  # type: ignore[untyped-decorator]
def _lower_set_row(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    rows, index, value = args
    address = _row_address(context, builder, sig.args[0], rows, index)
    pointer = builder.inttoptr(address, context.get_data_type(sig.args[0].item).as_pointer())
    _tag(builder, builder.store(value, pointer), sig.args[0].label)
    return context.get_dummy_value()


@cache
def private_rows(owned: PrivateTable) -> Any:
    """The compiled form of a driver's private table: ``(k, dev, index) -> record``."""
    item = RowType(owned.dtype, owned.name)
    slot, spec = owned.slot, TABLES["private"]

    @intrinsic  # type: ignore[untyped-decorator]
    def rows(_context: Any, k: Any, dev: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
            kernel, device, row = args
            words = builder.inttoptr(_load_word(builder, kernel, 2 * spec.index), I64.as_pointer())
            pair = builder.add(builder.mul(device, ir.Constant(I64, 2 * PRIVATE_SLOTS)), ir.Constant(I64, 2 * slot))
            if CHECKED:
                error = _load_word(builder, kernel, 2 * TABLES["error"].index)
                pairs = ir.Constant(I64, 2 * PRIVATE_SLOTS * MAX_DEVICES)
                pair = _checked_index(builder, pair, pairs, error, spec.index)
                length = _tag(
                    builder, builder.load(builder.gep(words, [builder.add(pair, ir.Constant(I64, 1))])), "private"
                )
                row = _checked_index(builder, row, length, error, -1 - slot)
            base = _tag(builder, builder.load(builder.gep(words, [pair])), "private")
            if CHECKED:
                missing = builder.icmp_signed("==", base, ir.Constant(I64, 0))
                scratch = _load_word(builder, kernel, 2 * TABLES["scratch"].index)
                base = builder.select(missing, scratch, base)
            address = builder.add(base, builder.mul(row, ir.Constant(I64, owned.dtype.itemsize)))
            return builder.inttoptr(address, I8.as_pointer())

        return item(kernel_type(), types.int64, types.int64), generate

    return rows


@contextmanager
def checked_indices() -> Iterator[None]:
    """Compile what is inside with a check on every index, whatever the rest of the engine does."""
    global CHECKED
    before, CHECKED = CHECKED, True
    try:
        yield
    finally:
        CHECKED = before


@contextmanager
def for_inlining(made: Any) -> Iterator[None]:
    """Compile an inner function no further than to the form that its callers link in.

    Numba would optimise every function, and emit machine code for it, with all that it calls, again on each
    level of a call chain.  Only entry points are ever run, and they are optimised as a whole.
    """

    def keep_as_bitcode(library: Any, _descriptor: Any, _environment: Any) -> object:
        def finalize() -> None:
            library._finalize_dynamic_globals()
            library._finalized = True

        library._optimize_final_module = lambda: None
        library._finalize_final_module = finalize
        nowhere: list[object] = []
        return nowhere.append  # a callable of its own that callers look the function up by; it is never called

    target = made.targetctx
    target.get_executable = keep_as_bitcode
    try:
        yield
    finally:
        del target.get_executable


@intrinsic  # type: ignore[untyped-decorator]
def indirect(_context: Any, k: Any, address: Any, a: Any, b: Any, c: Any) -> Any:
    """Call the function whose address is ``address`` as ``f(k, a, b, c) -> int64`` (C convention)."""

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        kernel, target, *rest = args
        kind = ir.FunctionType(I64, [I64.as_pointer(), I64, I64, I64])
        return builder.call(builder.inttoptr(target, kind.as_pointer()), [kernel, *rest])

    return types.int64(kernel_type(), types.int64, types.int64, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def call_python(_context: Any, k: Any, function: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Call the Python object at the address ``function`` with four integers.

    0 if it raises, which Python reports; the least integer if it answers one that does not fit.
    """

    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        api = context.get_python_api(builder)
        _kernel, address, *integers = args
        answer = cgutils.alloca_once_value(builder, ir.Constant(I64, 0))
        held = api.gil_ensure()
        callee = builder.inttoptr(address, api.pyobj)
        given = [api.long_from_longlong(value) for value in integers]
        result = api.call_function_objargs(callee, given)
        for value in given:
            api.decref(value)
        with builder.if_else(cgutils.is_not_null(builder, result)) as (answered, raised):
            with answered:
                builder.store(api.long_as_longlong(result), answer)
                api.decref(result)
                with builder.if_then(cgutils.is_not_null(builder, api.err_occurred()), likely=False):
                    api.err_clear()
                    builder.store(ir.Constant(I64, -(1 << 63)), answer)
            with raised:
                api.err_write_unraisable(callee)
        api.gil_release(held)
        return builder.load(answer)

    return types.int64(kernel_type(), *[types.int64] * 5), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_context: Any, rows: Any, index: Any) -> Any:
    """Fetch the beginning of a row into the cache, for writing."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.args[0]
        view = cgutils.create_struct_proxy(kind)(context, builder, args[0])
        address = builder.add(view.data, builder.mul(args[1], ir.Constant(I64, kind.item_size)))
        place = builder.inttoptr(address, I8.as_pointer())
        hint = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32]), "llvm.prefetch.p0"
        )
        builder.call(hint, [place, *(ir.Constant(I32, word) for word in (FOR_WRITING, KEEP_CLOSE, DATA))])
        return context.get_dummy_value()

    return types.none(rows, types.int64), generate


FOR_WRITING, KEEP_CLOSE, DATA = 1, 3, 1
"""Operands of LLVM's prefetch."""
