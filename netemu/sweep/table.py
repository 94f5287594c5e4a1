"""The table of a sweep: a row for each point: its place in the grid, its figures, the command that repeats it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .spec import Point

Row = Mapping[str, Any]


def assemble(points: Sequence[Point], measured: Mapping[int, Row]) -> list[dict[str, Any]]:
    """Rows in the order of the grid, all with the same columns."""
    figures = list(dict.fromkeys(name for number in sorted(measured) for name in measured[number]))
    return [
        {
            "point": point.number,
            **point.place,
            **{name: measured[point.number].get(name) for name in figures},
            "command": point.command,
        }
        for point in points
        if point.number in measured
    ]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Comma-separated, an empty cell where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _replace(path, text.getvalue().encode())


def write_parquet(rows: Sequence[Row], path: Path) -> bool:
    """Parquet; False when pyarrow is not installed."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return False
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    sink = io.BytesIO()
    parquet.write_table(pa.table({name: _array(pa, values) for name, values in columns.items()}), sink)
    _replace(path, sink.getvalue())
    return True


def _array(pa: Any, values: list[Any]) -> Any:
    """A column: of whole numbers, of numbers, or of texts where kinds are mixed."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or as it was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
