"""Packets that leave their driver below the stack: struct xdp_frame, and how their memory finds its way home.

Source: net/core/xdp.c, include/net/xdp.h (convert_to_xdp_frame, xdp_return_frame, xdp_rxq_info_reg_mem_model), v4.19
to v6.12.
"""

from __future__ import annotations

from ..engine.faults import fault, fault_code
from ..engine.kernel import inlined, kernel_function
from ..engine.layout import Kernel
from ..engine.log import message, printk
from ..mm.layout import NONE, PAGE_SIZE
from ..mm.page_alloc import put_page
from ..mm.page_frag import page_frag_free
from .page_pool import EVERYTHING, page_pool_put_page, page_pool_put_page_bulk
from .page_pool_shutdown import page_pool_destroy, page_pool_use_xdp_mem
from .skb_layout import SHARED_INFO_SIZE
from .xdp_layout import (
    FRAME_STRUCT,
    MAX_MEM_ID,
    MEM_TYPE_PAGE_ORDER0,
    MEM_TYPE_PAGE_POOL,
    MEM_TYPE_PAGE_SHARED,
    NR_MEM_TYPES,
    REG_STATE_REGISTERED,
    REG_STATE_UNREGISTERED,
    SMALL_FRAME_STRUCT,
    XDP_BULK_QUEUE_SIZE,
    XDP_FRAMES,
)

EFAULT = -14
EINVAL = -22
ENOSPC = -28
EOPNOTSUPP = -95

FRAMES_RUN_OUT = fault_code("XD-06", "{a} XDP frames are in flight, more than a machine has room for")
FRAME_DEAD = fault_code("XD-05", "XDP frame {a} is returned or sent, but it is not in flight")
MEM_ID_GONE = fault_code("XD-07", "page {a} is returned to memory model {b}, which is not registered any more")

NO_TAILROOM = message("xdp_no_tailroom", "Driver BUG: missing reserved tailroom: the packet ends {a} bytes too far")
REG_TWICE = message("xdp_reg_twice", "Missing unregister, handled but fix driver: receive queue {a}")
UNREG_UNREGISTERED = message("xdp_unreg", "Driver BUG: receive queue {a} is not registered")
MODEL_BEFORE_QUEUE = message("xdp_model_before_queue", "Missing register, driver bug: receive queue {a}")


# -- memory models of receive queues ---------------------------------------------------------------------------------


@kernel_function(traced=False, entry=True, rare=True)
def xdp_rxq_info_reg(k: Kernel, cpu: int, rxq: int, frag_size: int) -> int:
    """Register a receive queue; one that is registered already is unregistered first, with a warning."""
    info = k.xdp_rxq[rxq]
    if info.state == REG_STATE_REGISTERED:
        printk(k, cpu, REG_TWICE, rxq, 0)
        xdp_rxq_info_unreg(k, cpu, rxq)
    info.state = REG_STATE_REGISTERED
    info.mem_type = MEM_TYPE_PAGE_SHARED
    info.mem_id = 0
    info.frag_size = frag_size
    return 0


@kernel_function(traced=False, entry=True)
def xdp_rxq_info_unreg(k: Kernel, cpu: int, rxq: int) -> int:
    """The queue goes away: its memory model is disconnected, and the pool loses a user."""
    info = k.xdp_rxq[rxq]
    if info.state != REG_STATE_REGISTERED:
        printk(k, cpu, UNREG_UNREGISTERED, rxq, 0)
        return EINVAL
    mem = info.mem_id
    if mem != 0:
        pool = k.xdp_mem[mem] - 1
        k.xdp_mem[mem] = 0
        info.mem_id = 0
        if k.era[0].pool_users != 0:  # before v5.3 the driver alone destroys its pool
            page_pool_destroy(k, cpu, pool)
    info.state = REG_STATE_UNREGISTERED
    return 0


@kernel_function(traced=False, entry=True)
def xdp_rxq_info_reg_mem_model(k: Kernel, cpu: int, rxq: int, mem_type: int, pool: int) -> int:
    """Say where the pages of this queue are from: 0, or a negative error number."""
    info = k.xdp_rxq[rxq]
    if info.state != REG_STATE_REGISTERED:
        printk(k, cpu, MODEL_BEFORE_QUEUE, rxq, 0)
        return EFAULT
    if mem_type < 0 or mem_type >= NR_MEM_TYPES:
        return EOPNOTSUPP
    info.mem_type = mem_type
    if pool == NONE:
        return EINVAL if mem_type == MEM_TYPE_PAGE_POOL else 0
    mem = k.xdp[0].next_mem_id
    for _ in range(MAX_MEM_ID):
        mem = mem + 1 if mem < MAX_MEM_ID else 1
        if k.xdp_mem[mem] == 0:
            break
    if k.xdp_mem[mem] != 0:
        return ENOSPC
    k.xdp[0].next_mem_id = mem
    k.xdp_mem[mem] = pool + 1
    info.mem_id = mem
    if k.era[0].pool_users != 0:
        page_pool_use_xdp_mem(k, cpu, pool)
    return 0


# -- frames ----------------------------------------------------------------------------------------------------------


@inlined
def frame_take(k: Kernel, cpu: int) -> int:
    """A free row for a frame.  NONE: there is none, which is noted as a fault."""
    s = k.xdp[0]
    frame = s.frame_free - 1
    if frame != NONE:
        s.frame_free = k.xdp_frame[frame].next
    elif s.frame_made == XDP_FRAMES:
        fault(k, cpu, FRAMES_RUN_OUT, XDP_FRAMES, 0)
        return NONE
    else:
        frame = s.frame_made
        s.frame_made += 1
    k.xdp_frame[frame].live = 1
    s.live += 1
    return frame


@inlined
def frame_forget(k: Kernel, cpu: int, frame: int) -> bool:
    """The frame is no more: its memory belongs to somebody else.  False: it was not in flight (noted as a fault)."""
    f = k.xdp_frame[frame]
    if f.live == 0:
        fault(k, cpu, FRAME_DEAD, frame, 0)
        return False
    f.live = 0
    f.next = k.xdp[0].frame_free
    k.xdp[0].frame_free = frame + 1
    k.xdp[0].live -= 1
    return True


@kernel_function(inline=True)
def xdp_convert_buff_to_frame(k: Kernel, cpu: int, xdp: int) -> int:
    """Write down what there is to know of the packet in its own headroom.  NONE: no room for that."""
    x = k.xdp_buff[xdp]
    size = SMALL_FRAME_STRUCT if k.era[0].xdp_frame_struct == 0 else FRAME_STRUCT
    metasize = max(x.data - x.data_meta, 0)
    headroom = x.data - x.hard_start - metasize
    if headroom < size:
        return NONE
    if k.era[0].xdp_frame_sz != 0:
        end = x.hard_start + x.frame_sz - SHARED_INFO_SIZE
        if x.data_end > end:
            printk(k, cpu, NO_TAILROOM, x.data_end - end, 0)
            return NONE
    frame = frame_take(k, cpu)
    if frame == NONE:
        return NONE
    info = k.xdp_rxq[x.rxq]
    f = k.xdp_frame[frame]
    f.hard_start = x.hard_start
    f.data = x.data
    f.len = x.data_end - x.data
    f.headroom = headroom - size
    f.metasize = metasize
    f.frame_sz = x.frame_sz
    f.mem_type = info.mem_type
    f.mem_id = info.mem_id
    f.line = cpu + 1
    f.dev_rx = x.dev
    f.queue_rx = k.rxq[x.rxq].index
    f.packet = x.packet
    f.nr_frags = x.nr_frags
    f.frags_size = x.frags_size
    for i in range(x.nr_frags):
        f.frag_page[i] = x.frag_page[i]
        f.frag_offset[i] = x.frag_offset[i]
        f.frag_size[i] = x.frag_size[i]
    return frame


@inlined
def frame_page(k: Kernel, frame: int) -> int:
    """The page that a frame starts on."""
    return k.xdp_frame[frame].hard_start // PAGE_SIZE


# -- returning -------------------------------------------------------------------------------------------------------


@inlined
def pool_of_page(k: Kernel, mem_id: int, pfn: int) -> int:
    """The pool that a returned page belongs to.  NONE: there is none any more."""
    if k.era[0].xdp_mem_lookup == 2:
        return k.pages[pfn].pp - 1
    return k.xdp_mem[mem_id] - 1


@kernel_function
def __xdp_return(k: Kernel, cpu: int, mem_type: int, mem_id: int, pfn: int, direct: int) -> None:
    """Give a page back by the memory model of the queue that it was received on."""
    if mem_type == MEM_TYPE_PAGE_SHARED:
        page_frag_free(k, cpu, pfn)
    elif mem_type == MEM_TYPE_PAGE_ORDER0:
        put_page(k, cpu, pfn)
    else:
        pool = pool_of_page(k, mem_id, pfn)
        if pool != NONE:
            page_pool_put_page(k, cpu, pool, pfn, EVERYTHING, direct)
        elif k.era[0].xdp_mem_lookup == 0:
            put_page(k, cpu, pfn)  # its DMA mapping is lost
        else:
            fault(k, cpu, MEM_ID_GONE, pfn, mem_id)


@kernel_function(inline=True)
def xdp_return_buff(k: Kernel, cpu: int, xdp: int) -> None:
    """A driver drops a packet: its buffers go back, directly."""
    x = k.xdp_buff[xdp]
    info = k.xdp_rxq[x.rxq]
    for i in range(x.nr_frags):
        __xdp_return(k, cpu, info.mem_type, info.mem_id, x.frag_page[i], 1)
    __xdp_return(k, cpu, info.mem_type, info.mem_id, x.hard_start // PAGE_SIZE, 1)


@inlined
def return_frame(k: Kernel, cpu: int, frame: int, direct: int) -> None:
    """Fragments first, then the head; the frame is no more."""
    f = k.xdp_frame[frame]
    mem_type = f.mem_type
    mem_id = f.mem_id
    if not frame_forget(k, cpu, frame):
        return
    for i in range(f.nr_frags):
        __xdp_return(k, cpu, mem_type, mem_id, f.frag_page[i], direct)
    __xdp_return(k, cpu, mem_type, mem_id, frame_page(k, frame), direct)


@kernel_function(entry=True, rare=True)
def xdp_return_frame(k: Kernel, cpu: int, frame: int) -> None:
    """Done with a frame, from any context."""
    return_frame(k, cpu, frame, 0)


@kernel_function(entry=True)
def xdp_return_frame_rx_napi(k: Kernel, cpu: int, frame: int) -> None:
    """Done with a frame in the NAPI that received it: its pages may go where the pool needs no lock."""
    return_frame(k, cpu, frame, 1)


@kernel_function(traced=False, entry=True)
def xdp_flush_frame_bulk(k: Kernel, cpu: int) -> None:
    """Give the collected pages back to their pool."""
    c = k.xdp_cpu[cpu]
    count = c.returned
    if count == 0:
        return
    c.returned = 0
    for i in range(count):
        k.page_array[i] = c.returned_page[i]
    page_pool_put_page_bulk(k, cpu, c.returned_pool, count)


@inlined
def collect_page(k: Kernel, cpu: int, pool: int, pfn: int) -> None:
    """One more page for :func:`xdp_flush_frame_bulk`; a full queue or another pool flushes it first."""
    c = k.xdp_cpu[cpu]
    if c.returned == XDP_BULK_QUEUE_SIZE or (c.returned > 0 and c.returned_pool != pool):
        xdp_flush_frame_bulk(k, cpu)
    c.returned_pool = pool
    c.returned_page[c.returned] = pfn
    c.returned += 1


@kernel_function(entry=True)
def xdp_return_frame_bulk(k: Kernel, cpu: int, frame: int) -> None:
    """Done with a frame after transmission: collected, where the era does that (v5.11)."""
    f = k.xdp_frame[frame]
    if k.era[0].xdp_return == 0 or f.mem_type != MEM_TYPE_PAGE_POOL:
        return_frame(k, cpu, frame, 0)
        return
    pool = pool_of_page(k, f.mem_id, frame_page(k, frame))
    if pool == NONE:
        return_frame(k, cpu, frame, 0)
        return
    if not frame_forget(k, cpu, frame):
        return
    for i in range(f.nr_frags):
        collect_page(k, cpu, pool, f.frag_page[i])
    collect_page(k, cpu, pool, frame_page(k, frame))
