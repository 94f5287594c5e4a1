"""What a driver is: the operations it supplies to the engine, and how its state is set up and taken down.

A driver subclasses :class:`Driver` and puts one instance where netemu finds it: the entry point group
``netemu.drivers``, or the name ``DRIVER`` in a file given by path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..engine.kernel import cost_point
from ..engine.layout import Kernel, PrivateTable
from ..errors import UsageError
from ..mm.layout import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..engine.watch import Watch

Operation = Callable[..., int]
"""A kernel function ``(k, cpu, queue, argument) -> int``, declared with ``entry=True``."""


class Nic:
    """A device as its driver sees it while it is set up, torn down or looked at.

    ``k`` and ``dev`` go to kernel functions; ``queues`` receive and transmit queues exist, ``rxq(i)`` and
    ``txq(i)`` are their numbers in the machine.
    """

    def __init__(self, k: Kernel, dev: int, queues: int, mtu: int, options: Mapping[str, str]) -> None:
        self.k = k
        self.dev = dev
        self.queues = queues
        self.mtu = mtu
        self.options = dict(options)
        self.xdp = False
        """Is a program attached?  Set before the driver opens the device."""
        row = k.netdev[dev]
        self._rxq0, self._txq0 = row.rxq0, row.txq0

    def rxq(self, index: int) -> int:
        """Machine-wide number of receive queue ``index``."""
        return self._rxq0 + index

    def txq(self, index: int) -> int:
        """Machine-wide number of transmit queue ``index``."""
        return self._txq0 + index

    def cpu(self, index: int) -> int:
        """CPU that polls queue ``index``."""
        cpu: int = self.k.napi[self.rxq(index)].cpu
        return cpu

    @property
    def page_parts(self) -> int:
        """Buffers that a receive page is cut into by the recycle policy of the machine; 1: none are."""
        return max(int(self.k.policy[0].parts), 1)

    def add_private(self, owned: PrivateTable, rows: int) -> npt.NDArray[Any]:
        """Memory for one of the driver's private tables."""
        return self.k.add_private(self.dev, owned, rows)

    def private(self, owned: PrivateTable) -> npt.NDArray[Any]:
        """A private table as a numpy array."""
        return self.k.private_array(self.dev, owned)

    def create_page_pool(self, index: int, *, names_napi: int = 1, **params: int) -> int:
        """A page_pool for receive queue ``index``; parameters as :meth:`netemu.Machine.page_pool`.

        ``names_napi``: 1 when the driver names its NAPI as the consumer: pages of packets that are freed while it polls
        go to the pool's cache then (from v6.4 on).
        """
        from .pool_setup import create_page_pool

        napi = self.rxq(index) if names_napi else NONE
        pool = create_page_pool(self.k, self.cpu(index), napi_cpu=self.cpu(index), napi=napi, **params)
        self.k.rxq[self.rxq(index)].pool = pool
        self.k.pool[pool].rxq = self.rxq(index) + 1
        return pool

    def add_completion_ring(self, index: int, entries: int) -> None:
        """Room for ``entries`` received but unprocessed frames of queue ``index``, rounded up to a power of two."""
        from .pool_setup import grow

        size = 1 << max(entries - 1, 1).bit_length()
        row = self.k.rxq[self.rxq(index)]
        row.cq_base = grow(self.k, "cqe", size)
        grow(self.k, "cqe_contents", size)
        row.cq_mask = size - 1

    def add_tx_ring(self, index: int, entries: int, limit: int) -> None:
        """Room for ``entries`` posted transmissions of queue ``index``, of which ``limit`` may be in use."""
        from .pool_setup import grow

        size = 1 << max(entries - 1, 1).bit_length()
        row = self.k.txq[self.txq(index)]
        row.base = grow(self.k, "txd", size)
        row.mask = size - 1
        row.limit = limit

    def register_xdp(self, index: int, mem_type: int, pool: int = NONE, frag_size: int = 0) -> None:
        """xdp_rxq_info of receive queue ``index``: its memory model, and the pool behind it if there is one."""
        from .xdp_setup import register_rxq

        register_rxq(self.k, self.cpu(index), self.rxq(index), mem_type, pool, frag_size)

    def unregister_xdp(self, index: int) -> None:
        """The opposite, before the pool is destroyed."""
        from .xdp_setup import unregister_rxq

        unregister_rxq(self.k, self.cpu(index), self.rxq(index))

    def add_xdp_queue(self, index: int, which: str, entries: int, limit: int, fn_poll: int) -> int:
        """A send queue of channel ``index`` for ``xdp_tx`` or ``xdp_redirect``, cleaned by the same NAPI; its row."""
        from .xdp_setup import add_xdp_queue

        return add_xdp_queue(self.k, self.txq(index), which, entries, limit, fn_poll)


class Driver(ABC):
    """Base of every emulated driver.

    ``name``, ``link_gbps``, ``max_mtu`` and ``max_queues`` describe the device; ``options`` lists what
    ``--driver-option`` takes (name -> possible values, the first is the default).  ``poll``, ``poll_tx``,
    ``poll_rx`` and ``refill`` name the parts of the driver's poll function in call graphs.  ``tx_cq_budget``:
    transmissions cleaned per poll.  ``rx_usecs``, ``rx_frames``, ``tx_usecs``, ``tx_frames``: the interrupt moderation
    that it starts with (us, frames).
    """

    name: ClassVar[str]
    link_gbps: ClassVar[float]
    max_mtu: ClassVar[int]
    max_queues: ClassVar[int]
    tx_cq_budget: ClassVar[int]
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    splits_pages: ClassVar[bool] = False
    """Does it place its buffers where :func:`netemu.net.policy.next_part` says, as policies with ``PARTS`` need?"""
    rx_usecs: ClassVar[float] = 0.0
    rx_frames: ClassVar[int] = 1
    tx_usecs: ClassVar[float] = 0.0
    tx_frames: ClassVar[int] = 1

    poll: ClassVar[int]
    poll_tx: ClassVar[int]
    poll_rx: ClassVar[int]
    refill: ClassVar[int]

    hw_receive: ClassVar[Operation]
    rx_poll_one: ClassVar[Operation]
    rx_refill: ClassVar[Operation]
    xmit: ClassVar[Operation]
    tx_poll_one: ClassVar[Operation]
    xdp_xmit: ClassVar[Operation | None] = None
    """ndo_xdp_xmit, called with a device and a row of ``k.xdp_bulk``; None: frames cannot be redirected to it."""
    xdp_gathers: ClassVar[bool] = False
    """Does ``xdp_xmit`` take frames of several buffers?"""

    def check_options(self, given: Mapping[str, str]) -> dict[str, str]:
        """The options in force: defaults overridden by ``given``.  Raises UsageError for a wrong name or value."""
        chosen = {name: values[0] for name, values in self.options.items()}
        for name, value in given.items():
            if name not in chosen:
                known = ", ".join(chosen) or "none"
                raise UsageError(f"driver {self.name} has no option {name!r}; it has: {known}")
            if value not in self.options[name]:
                raise UsageError(
                    f"driver {self.name}: option {name} is one of {', '.join(self.options[name])}, not {value!r}"
                )
            chosen[name] = value
        return chosen

    def largest_frame(self, mtu: int) -> int:
        """Longest frame, with FCS, that the NIC takes at this MTU (hardware MTU)."""
        return mtu + 18

    def check_xdp(self, nic: Nic) -> None:
        """Can a program be attached to this device as it is?  Raises UsageError with the reason if not."""
        raise UsageError(f"driver {self.name} has no XDP")

    @abstractmethod
    def open(self, nic: Nic) -> None:
        """Size private tables, rings and pools for every queue.  The first buffers are posted by rx_refill."""

    @abstractmethod
    def stop(self, nic: Nic) -> None:
        """Give back every receive buffer and destroy the pools; transmissions have been cleaned already."""

    def statistics(self, nic: Nic) -> dict[str, int]:
        """Counters under their ethtool names (empty for a driver without ``ethtool -S``)."""
        return {}

    @abstractmethod
    def pages_held(self, nic: Nic) -> Iterator[int]:
        """Page numbers in receive buffers and private caches, a page once."""

    def breaches(self, nic: Nic) -> Iterator[tuple[str, str]]:
        """What does not agree in the driver's own rings and caches while nothing moves: rule and text (optional)."""
        yield from ()

    def follow(self, watch: Watch, report: Callable[[str, str], None]) -> None:  # noqa: B027
        """Put hooks around the driver's own functions on a watched machine, to ``report`` rule and text (optional)."""


def path_name(name: str) -> int:
    """A name for call graphs that is not itself a kernel function (a part of a poll loop)."""
    return cost_point(name)


def page_column(rows: npt.NDArray[Any], field: str = "page") -> Iterator[int]:
    """Page numbers stored + 1 in a column of a private table, empty ones left out."""
    for value in np.unique(rows[field]):
        if value > 0:
            yield int(value) - 1
