"""Byte queue limits: how many bytes of a transmit queue may wait in the NIC, found by watching it run dry.

Source: lib/dynamic_queue_limits.c (dql_queued, dql_avail, dql_completed, dql_reset) and include/linux/netdevice.h
(netdev_tx_sent_queue, netdev_tx_completed_queue, netdev_tx_reset_queue), v4.19 to v6.12.  Counters do not wrap here.
"""

from __future__ import annotations

from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from .device_layout import XOFF_STACK

DQL_MAX_LIMIT = (2**32 - 1) // 2 - (2**32 - 1) // 16
SLACK_HOLD_PS = 10**12
"""One second: how long slack is watched before the limit is lowered."""
NO_SLACK_YET = 2**32 - 1


@inlined
def netdev_tx_sent_queue(k: Kernel, txq: int, count: int) -> None:
    """``count`` more bytes are in the NIC's hands; past the limit the queue stops."""
    q = k.dql[txq]
    q.last_obj_cnt = count
    q.num_queued += count
    if q.adj_limit - q.num_queued < 0:
        k.txq[txq].xoff |= XOFF_STACK


@kernel_function(traced=False)
def netdev_tx_completed_queue(k: Kernel, cpu: int, txq: int, count: int) -> None:
    """``count`` bytes have been sent: find the new limit, and let the queue go on if it is below it."""
    if count == 0:
        return
    dql_completed(k, cpu, txq, count)
    q = k.dql[txq]
    if q.adj_limit - q.num_queued >= 0:
        k.txq[txq].xoff &= ~XOFF_STACK


@kernel_function(traced=False, entry=True, rare=True)
def netdev_tx_reset_queue(k: Kernel, cpu: int, txq: int) -> None:
    """The device has been stopped: nothing is under way any more, and the limit is found anew."""
    q = k.dql[txq]
    q.limit = 0
    q.adj_limit = 0
    q.num_queued = 0
    q.num_completed = 0
    q.last_obj_cnt = 0
    q.prev_num_queued = 0
    q.prev_last_obj_cnt = 0
    q.prev_ovlimit = 0
    q.lowest_slack = NO_SLACK_YET
    q.slack_start_time = k.cpu[cpu].clock
    k.txq[txq].xoff &= ~XOFF_STACK


@kernel_function(traced=False)
def dql_completed(k: Kernel, cpu: int, txq: int, count: int) -> None:
    """Raise the limit when the NIC has run dry while the queue was stopped; lower it by slack seen for a second."""
    q = k.dql[txq]
    now = k.cpu[cpu].clock
    completed = q.num_completed + count
    limit = q.limit
    ovlimit = max(q.num_queued - q.num_completed - limit, 0)
    inprogress = q.num_queued - completed
    prev_inprogress = q.prev_num_queued - q.num_completed
    all_prev_completed = completed >= q.prev_num_queued
    if (ovlimit > 0 and inprogress == 0) or (q.prev_ovlimit > 0 and all_prev_completed):
        limit += max(completed - q.prev_num_queued, 0) + q.prev_ovlimit
        q.slack_start_time = now
        q.lowest_slack = NO_SLACK_YET
    elif inprogress > 0 and prev_inprogress > 0 and not all_prev_completed:
        slack = max(limit + q.prev_ovlimit - 2 * (completed - q.num_completed), 0)
        if q.prev_ovlimit > 0:
            slack = max(slack, q.prev_last_obj_cnt - q.prev_ovlimit)
        if slack < q.lowest_slack:
            q.lowest_slack = slack
        if now > q.slack_start_time + SLACK_HOLD_PS:
            limit = max(limit - q.lowest_slack, 0)
            q.slack_start_time = now
            q.lowest_slack = NO_SLACK_YET
    limit = min(limit, DQL_MAX_LIMIT)
    if limit != q.limit:
        q.limit = limit
        ovlimit = 0
    q.adj_limit = limit + completed
    q.prev_ovlimit = ovlimit
    q.prev_last_obj_cnt = q.last_obj_cnt
    q.num_completed = completed
    q.prev_num_queued = q.num_queued
