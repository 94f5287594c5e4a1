"""LLVM text to machine code, kept on disk.

Through llvmlite alone: no compiler needs to be installed.  What is compiled is named by the content it was made of, so
a second load of the same program is a read of a file.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ..engine.jit import base_directory

# Beyond this many instructions the loop passes of the full pipeline cost more than they gain.
FULL_PIPELINE_LIMIT = 600
# Beyond this many, with a check on each access or without, allocating registers well takes many seconds.
FAST_EMISSION_LIMIT = {True: 2500, False: 8000}
_KEPT_OBJECTS = 512


@cache
def binding() -> Any:
    """llvmlite, ready for this processor."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@cache
def _processor() -> tuple[str, str]:
    llvm = binding()
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _target_machine(level: int = 2) -> Any:
    """A new one each time: the execution engine takes it over.  ``level``: of optimisation when code is emitted."""
    llvm = binding()
    name, features = _processor()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=name, features=features, opt=level, reloc="pic", codemodel="jitdefault")


@cache
def _sources_key() -> str:
    """Content of everything that decides what a program compiles to."""
    import llvmlite

    mixed = hashlib.sha256(f"{llvmlite.__version__} {_processor()}".encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        mixed.update(file.read_bytes())
    return mixed.hexdigest()


def _close(engine: Any, context: Any) -> None:
    """In this order: the engine holds a module of the context."""
    engine.close()
    context.close()


class Code:
    """Machine code in memory for as long as this object lives."""

    def __init__(self, image: bytes) -> None:
        llvm = binding()
        context = llvm.create_context()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly("", context), _target_machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(image))
        self._engine.finalize_object()
        weakref.finalize(self, _close, self._engine, context).atexit = False

    def address(self, name: str) -> int:
        return int(self._engine.get_function_address(name))


def compiled(
    ingredients: bytes, text: Callable[[], str], *, instructions: int = 0, every_access_checked: bool = False
) -> Code:
    """Machine code for an LLVM module.

    Args:
        ingredients: all that ``text`` depends on, besides netemu's sources: the name under which the result is kept.
        text: makes the module's text; called only if the result is not on disk.
        instructions: of eBPF; decides how hard to optimise.
        every_access_checked: the text has a branch for each access to memory.
    """
    key = hashlib.sha256(_sources_key().encode() + ingredients).hexdigest()[:40]
    file = _cache_file(key)
    if file is not None:
        try:
            return Code(_verified(file.read_bytes()))
        except (OSError, ValueError):
            pass
    image = _compile(text(), instructions, every_access_checked)
    if file is not None:
        _keep(file, image)
    return Code(image)


def _compile(text: str, instructions: int, every_access_checked: bool) -> bytes:
    llvm = binding()
    # A context of its own: the global one keeps every name and constant for ever.  It goes last.
    with llvm.create_context() as context, llvm.parse_assembly(text, context) as module:
        machine = _target_machine(0 if instructions > FAST_EMISSION_LIMIT[every_access_checked] else 2)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        if os.environ.get("NETEMU_CHECKED") == "1":
            module.verify()
        _optimise(module, machine, full=instructions <= FULL_PIPELINE_LIMIT)
        return bytes(machine.emit_object(module))


def _optimise(module: Any, machine: Any, *, full: bool) -> None:
    llvm = binding()
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = False
    tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    if full:
        passes = builder.getModulePassManager()
    else:
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.add_global_dead_code_eliminate_pass()
        passes.add_sroa_pass()
        passes.add_sccp_pass()
        for _ in range(2):
            passes.add_instruction_combine_pass()
            passes.add_simplify_cfg_pass()
    with passes, builder:
        passes.run(module, builder)


def _cache_file(key: str) -> Path | None:
    try:
        directory = base_directory() / "bpf"
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return directory / f"{key}.o"


def _verified(data: bytes) -> bytes:
    """The object inside a cache file: a torn or damaged one must not reach the linker, which would abort."""
    digest, image = data[:32], data[32:]
    if hashlib.sha256(image).digest() != digest:
        raise ValueError("damaged")
    return image


def _keep(file: Path, image: bytes) -> None:
    temporary = file.with_suffix(f".{os.getpid()}")
    try:
        temporary.write_bytes(hashlib.sha256(image).digest() + image)
        temporary.replace(file)
        others = list(file.parent.glob("*.o"))
        if len(others) > 2 * _KEPT_OBJECTS:
            others.sort(key=lambda f: f.stat().st_mtime)
            for stale in others[:-_KEPT_OBJECTS]:
                stale.unlink(missing_ok=True)
    except OSError:
        temporary.unlink(missing_ok=True)


def function(code: Code, name: str, words: int) -> Any:
    """A compiled routine as a Python function of ``vm``, ``base`` and ``words`` integers; it runs without the GIL."""
    signature = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_uint64] * words)
    return signature(code.address(name))
