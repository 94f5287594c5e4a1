"""Python files that users write: running one, and what is said of a mistake in it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from zlib import crc32

from ..errors import UsageError


def run_user_file(path: Path, kind: str, *, shown: Path) -> ModuleType:
    """Run the file at ``path`` (absolute), a ``kind`` that messages call ``shown``.

    Raises UsageError with the file, the line and the reason.
    """
    name = f"netemu_{kind.lower().replace(' ', '_')}_{path.stem}_{crc32(bytes(path)):08x}"  # one for each file
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"{kind} file {shown}: there is no such file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(f"{kind} file {error.filename}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        raise UsageError(f"{kind} file {shown}{line_in(error, path)}: {reason_of(error)}") from error
    return module


def line_in(error: BaseException, file: Path) -> str:
    """``", line N"``: the innermost place in ``file`` that an exception came through or that the compiler points at."""
    line = getattr(getattr(error, "loc", None), "line", 0)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""


def reason_of(error: BaseException) -> str:
    """The line of an exception's text that says what is wrong; the compiler puts others around it."""
    lines = [line for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Failed in ")] or [""]
    plain = re.sub(r"\b\w+\((\w+), \{.*", r"\1", telling[0])  # a record type, spelt out field by field
    return f"{type(error).__name__}: {plain}"
