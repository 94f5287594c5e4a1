"""Who runs the points: processes of this machine, or a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Protocol

from ..errors import NetemuError, UsageError
from .measure import Row, measure, start_worker
from .spec import Point


class Workers(Protocol):
    """Runs points in any order."""

    def run(self, points: Sequence[Point]) -> Iterator[tuple[Point, Row]]: ...

    def stop(self) -> None:
        """Start no further point; those under way are still finished and given."""


class Processes:
    """``jobs`` processes of this machine."""

    def __init__(self, jobs: int | None) -> None:
        self.jobs = jobs or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: list[Any] = []

    def run(self, points: Sequence[Point]) -> Iterator[tuple[Point, Row]]:
        jobs = min(self.jobs, len(points))
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=start_worker) as self._pool:
            asked = {self._pool.submit(measure, point.words): point for point in points}
            self._waiting = list(asked)
            try:
                for done in as_completed(asked):
                    if not done.cancelled():
                        yield asked[done], done.result()
            except BrokenProcessPool:
                raise NetemuError(
                    "a worker process was killed (out of memory?); run the same command again to go on"
                ) from None
            finally:
                self.stop()

    def stop(self) -> None:
        for future in self._waiting:
            future.cancel()


class Dask:
    """A Dask cluster: the scheduler at ``address``, or one started here for ``local``."""

    def __init__(self, address: str, jobs: int | None) -> None:
        self.address = address
        self.jobs = jobs or len(os.sched_getaffinity(0))
        self._waiting: list[Any] = []

    def run(self, points: Sequence[Point]) -> Iterator[tuple[Point, Row]]:
        try:
            from distributed import Client, LocalCluster
            from distributed import as_completed as finished
        except ImportError:
            raise UsageError("--dask needs Dask: install netemu-kernel[dask]") from None
        cluster: Any = self.address
        if self.address == "local":
            cluster = LocalCluster(
                n_workers=min(self.jobs, len(points)), threads_per_worker=1, dashboard_address=None, silence_logs=50
            )
        try:
            client = Client(cluster, timeout="10s")
        except OSError:
            raise NetemuError(f"no Dask scheduler answers at {self.address}") from None
        try:
            asked = {client.submit(measure, point.words, pure=False): point for point in points}
            self._waiting = list(asked)
            for done in finished(self._waiting):
                if not done.cancelled():
                    yield asked[done], done.result()
        finally:
            client.close()
            if self.address == "local":
                cluster.close()

    def stop(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.cancel()
