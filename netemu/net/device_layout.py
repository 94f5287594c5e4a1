"""State of network devices: queues, completion rings, NAPI contexts, the wire, and the published driver operations."""

from __future__ import annotations

from ..engine.layout import table

MAX_QUEUES = 512
"""Receive (and transmit) queues of all devices of a machine."""
NAPI_POLL_WEIGHT = 64
NETDEV_BUDGET = 300
PICOSECONDS = 1000  # per nanosecond
WITH_VLAN = 18
"""Ethernet header and one VLAN tag: what a frame may have on top of the MTU when it is forwarded."""
WIRE_OVERHEAD = 24
"""Preamble, frame check sequence and inter-frame gap: bytes on the wire beyond the captured frame."""
NEVER = 2**62

# The operations a driver supplies, each called as op(k, cpu, queue, argument) -> int.
OP_HW_RECEIVE = 0  # the NIC takes the arriving frame: RECEIVED or a reason for not doing so
OP_RX_POLL_ONE = 1  # process one received packet
OP_RX_REFILL = 2  # give the NIC one more buffer; 1: call again, 0: nothing more to do, -1: out of memory, poll again
OP_XMIT = 3  # transmit skb `argument`: 0 taken, 1 no room
OP_TX_POLL_ONE = 4  # clean one completed transmission
OP_XDP_XMIT = 5  # ndo_xdp_xmit, called as op(k, cpu, dev, row of k.xdp_bulk): frames sent, or a negative error number
NR_OPS = 6

RECEIVED = 0
NO_DESCRIPTOR = 1
OVERSIZE = 2
NR_RECEIVE_RESULTS = 3

# napi.phase
PHASE_NONE = 0
PHASE_TX = 1
PHASE_RX = 2
PHASE_REFILL = 3

# txq.xoff: why a transmit queue is stopped
XOFF_DRIVER = 1  # no room in the ring
XOFF_STACK = 2  # byte queue limits

# netdev.xps: which transmit queue a packet takes
XPS_CPU = 0  # that of the CPU, or of the one xps_shift further
XPS_RXQ = 1  # that of the receive queue it came in by

# softirq.running
NET_TX_ACTION = 1
NET_RX_ACTION = 2

# txd.kind
TX_SKB = 0
TX_XDP = 1  # XDP_TX: the frame is on a page of this device
TX_XDP_NDO = 2  # a redirected frame

table("ops", "i8")  # [device * NR_OPS + op] -> address for indirect(), 0: none
table(
    "netdev",
    [
        ("alive", "i4"),
        ("mtu", "i4"),
        ("hw_mtu", "i4"),  # longest frame that the NIC takes, FCS included
        ("queues", "i4"),
        ("rxq0", "i4"),
        ("txq0", "i4"),
        ("ps_per_byte", "i8"),  # of the link
        ("tx_wire_free", "i8"),  # when the outgoing wire is idle again, ps
        ("egress", "i4"),  # device that forwarded packets leave through
        ("cable", "i4"),  # device at the other end of its cable, + 1; 0: it has none
        ("rx_usecs", "i8"),  # interrupt moderation (ethtool -C), the times in ps
        ("rx_frames", "i4"),
        ("tx_usecs", "i8"),
        ("tx_frames", "i4"),
        ("bql", "i4"),  # 1: byte queue limits
        ("xps", "i4"),
        ("xps_shift", "i4"),
        ("fn_poll", "i4"),  # call-path numbers of the driver's poll function and its parts
        ("fn_tx", "i4"),
        ("fn_rx", "i4"),
        ("fn_refill", "i4"),
        ("tx_cq_budget", "i4"),
        ("tx_in_budget", "i4"),  # 1: its poll function looks for both in turn, and cleaned transmissions count too
        ("xdp_prog", "i8"),  # address of the XDP program, for indirect(); 0: none
        ("xdp_python", "i8"),  # what xdp_guarded and xdp_batched call, for call_python()
        ("xdp_strict", "i4"),  # 1: a verdict that there is not is a fault, as xdp_checked has it
        ("xdp_looks", "i4"),  # 1: the program looks at the bytes of packets
        ("xdp_gathers", "i4"),  # 1: ndo_xdp_xmit takes frames of several buffers
        ("rx_packets", "i8"),
        ("rx_bytes", "i8"),
        ("tx_packets", "i8"),
        ("tx_bytes", "i8"),
    ],
)
table(
    "rxq",
    [
        ("dev", "i4"),
        ("index", "i4"),
        ("napi", "i4"),
        ("pool", "i4"),
        ("cq_base", "i4"),  # ring of received packets: cq_size rows of k.cqe
        ("cq_mask", "i4"),
        ("cq_head", "i8"),  # next to process
        ("cq_tail", "i8"),  # next to write
        ("packets", "i8"),
        ("bytes", "i8"),
        ("batched", "i8"),  # completions before this one have a verdict of a batch program
        ("out_of_buffer", "i8"),  # frames that met no descriptor
        ("oversize", "i8"),
        ("parked_first", "i4"),  # forced recycling: FIFO of pages, + 1; 0: empty
        ("parked_last", "i4"),
        ("parked", "i4"),
    ],
    whole_lines=True,
)
table(
    "cqe",  # completions of received frames
    [
        ("buffer", "i4"),
        ("offset", "i4"),
        ("length", "i4"),
        ("aux", "i4"),
        ("packet", "i8"),
    ],
)
table(
    "cqe_contents",  # [cqe], if bytes are kept
    [
        ("address", "i8"),  # where the frame starts in k.memory, and how much of it lies there
        ("linear", "i4"),
        ("verdict", "i8"),  # of a program that was given several completions at once
    ],
)
table(
    "txq",
    [
        ("dev", "i4"),
        ("index", "i4"),
        ("napi", "i4"),
        ("base", "i4"),  # ring of posted transmissions: size rows of k.txd
        ("mask", "i4"),
        ("limit", "i4"),  # most that may be posted at a time
        ("xdp_tx", "i4"),  # + 1: this channel's send queue for XDP_TX, and the one for redirected frames
        ("xdp_redirect", "i4"),
        ("next", "i4"),  # + 1: another queue that the same NAPI cleans, for XDP
        ("fn_poll", "i4"),  # such a queue: call-path number of the part of the poll function that cleans it
        ("head", "i8"),  # next to clean
        ("tail", "i8"),  # next to post
        ("more", "i8"),  # descriptors in use, beyond the one of each packet
        ("packets", "i8"),
        ("bytes", "i8"),
        ("stopped", "i8"),
        ("full", "i8"),
        ("cqes", "i8"),
        ("completed_bytes", "i8"),  # cleaned in this poll and not yet accounted
        ("xoff", "i4"),
        ("qlen", "i4"),  # packets in the qdisc: a list by skb.next
        ("qdisc_head", "i4"),  # + 1
        ("qdisc_tail", "i4"),  # + 1
        ("scheduled", "i4"),  # for net_tx_action
        ("output_next", "i4"),  # + 1: next queue scheduled on the same CPU
    ],
    whole_lines=True,
)
table(
    "dql",  # byte queue limits of each txq
    [
        ("num_queued", "i8"),
        ("num_completed", "i8"),
        ("last_obj_cnt", "i8"),
        ("limit", "i8"),
        ("adj_limit", "i8"),
        ("prev_ovlimit", "i8"),
        ("prev_num_queued", "i8"),
        ("prev_last_obj_cnt", "i8"),
        ("lowest_slack", "i8"),
        ("slack_start_time", "i8"),  # ps
    ],
    whole_lines=True,
)
table("txd", [("done", "i8"), ("skb", "i4"), ("bytes", "i4"), ("kind", "i4"), ("page", "i4")])
table(
    "napi",  # one per queue, same number as the rxq
    [
        ("dev", "i4"),
        ("cpu", "i4"),
        ("rxq", "i4"),
        ("txq", "i4"),
        ("next_on_cpu", "i4"),  # + 1: another NAPI of the same CPU
        ("scheduled", "i4"),
        ("phase", "i4"),
        ("work", "i4"),
        ("tx_work", "i4"),  # of the queue at hand
        ("tx_cleaned", "i4"),  # in this poll, of all its queues
        ("round", "i4"),  # tx_in_budget: what this poll had done when it last began with transmissions
        ("tx_busy", "i4"),  # a queue had more completions than its budget
        ("cleaning", "i4"),  # transmit queue being cleaned
        ("refill_short", "i4"),
        ("poll_node", "i4"),  # call paths to resume at
        ("phase_node", "i4"),
        ("irq_due", "i8"),  # when its interrupt fires, ps; NEVER: nothing has completed
        ("rx_pending", "i4"),  # frames received since the interrupt was armed
        ("started", "i8"),  # when the poll that runs began
        ("polls", "i8"),
        ("arms", "i8"),
        ("events", "i8"),
    ],
    whole_lines=True,
)
table(
    "softirq",  # per CPU
    [
        ("running", "i4"),
        ("first_napi", "i4"),  # + 1: of this CPU's NAPIs
        ("budget", "i4"),
        ("napi", "i4"),  # being polled, + 1; 0: none
        ("list_head", "i4"),  # FIFO of scheduled NAPIs in k.poll_list
        ("list_count", "i4"),
        ("unpolled", "i4"),  # those at its head that this net_rx_action is still to poll
        ("repolled", "i4"),  # NAPIs that it has found busy, in k.repoll_list
        ("rounds", "i4"),  # actions that may follow before the process context gets a turn
        ("node", "i4"),  # call path of net_rx_action or net_tx_action
        ("output_queue", "i4"),  # transmit queues scheduled for net_tx_action: the last one + 1
        ("tx_quota", "i4"),  # packets sent from the qdisc at hand
        ("deferred", "i4"),  # packets that other CPUs left to this one and that are being freed: the next one + 1
        ("deferred_node", "i4"),  # call path of skb_defer_free_flush
        ("irq_due", "i8"),  # earliest interrupt of this CPU's NAPIs, ps
        ("yield_to_process", "i4"),
        ("was_idle", "i4"),  # the process context had nothing to do when the softirq began
        ("rounds_end", "i8"),  # when it gets its turn at the latest, ps
        ("started", "i8"),
        ("deadline", "i8"),
        ("time_squeeze", "i8"),
        ("runs", "i8"),
        ("held_head", "i8"),  # FIFO of packets held by the local consumer in k.held
        ("held_tail", "i8"),
        ("delivered", "i8"),
    ],
    whole_lines=True,
)
table("poll_list", "i4")  # [cpu * MAX_QUEUES + i] -> napi
table("repoll_list", "i4")  # the same
table("held", "i4")  # [cpu * held_rows + i] -> skb
table(
    "wire",  # [device]: where its packets come from
    [
        ("eof", "i4"),  # nothing comes after the rows at hand
        ("next", "i4"),  # row of k.feed that arrives next
        ("end", "i4"),  # the row after the last that is filled
        ("rxq", "i4"),  # target of the next packet, + 1; 0: not computed
        ("blocked", "i4"),  # lossless source: waiting for a descriptor on this rxq, + 1
        ("closed", "i4"),  # waiting for the window of this stream, + 1
        ("lossless", "i4"),  # 1: as fast as the receiver takes it
        ("mode", "i4"),
        ("arrival", "i8"),  # when the next packet has arrived, ps
        ("free", "i8"),  # when the incoming wire is idle again
        ("quiet_until", "i8"),  # ps: what is not at hand yet does not arrive before
        ("gap", "i8"),  # fixed rate: ps between packets
        ("speed_num", "i8"),  # recorded times are divided by speed_num / speed_den
        ("speed_den", "i8"),
        ("packets", "i8"),  # offered so far
        ("bytes", "i8"),
    ],
)
table(
    "feed",  # the packets at hand: filled by the capture reader
    [
        ("ts_ns", "i8"),
        ("offset", "i8"),
        ("caplen", "i4"),
        ("wirelen", "i4"),
        ("interface", "i4"),
        ("reserved", "i4"),
    ],
)
table("feed_data", "u1")
table("stream", [("outstanding", "i8")])  # packets on their way to the consumer, or unread
table("memory", "u1")  # contents of pages, then of small objects; one byte when contents are not kept
table(
    "run",
    [
        ("action", "i4"),
        ("keep_contents", "i4"),
        ("record_output", "i4"),
        ("held_mask", "i4"),
        ("arriving", "i4"),  # row of k.feed that a NIC is taking
        ("landed", "i8"),  # where the start of that frame went in k.memory, and how many bytes of it; if bytes are kept
        ("landed_bytes", "i4"),
        ("arrived", "i8"),  # frames that came in so far, on all wires
        ("start_ns", "i8"),  # time stamp at which virtual time is 0
        ("limit", "i8"),  # ps: nothing is done from here on
        ("next_at", "i8"),  # ps: what could be done next when input was needed or the limit was met
        ("hold", "i8"),  # ps that local delivery holds a packet
        ("consumer_shift", "i4"),  # the consumer runs so many CPUs further than the queue
        ("window", "i4"),  # packets of a stream that may be on their way; 0: any number
        ("streams", "i4"),  # the packets belong to them in turn
        ("netdev_budget", "i4"),
        ("forwarded", "i8"),
        ("delivered", "i8"),
        ("dropped_by_consumer", "i8"),
        ("dropped_by_qdisc", "i8"),
        ("dropped_no_skb", "i8"),
        ("out_count", "i8"),
        ("out_bytes", "i8"),
    ],
)
table(
    "out",  # transmitted frames, waiting to be written
    [
        ("ts_ns", "i8"),
        ("offset", "i8"),
        ("caplen", "i4"),
        ("wirelen", "i4"),
        ("interface", "i4"),
        ("reserved", "i4"),
    ],
)
table("out_data", "u1")
table(
    "recycle",
    [
        ("forced", "i4"),
        ("threshold", "i8"),  # of 2**32: how often a forced recycle succeeds
        ("state", "i8"),  # random generator
        ("kept", "i8"),
        ("refused", "i8"),
        ("reused", "i8"),  # kept pages that were handed out again
    ],
)
table("rss_table", "i4")  # indirection: [device * 128 + (hash & 127)] -> queue
table("toeplitz", "u4")  # [byte position * 256 + byte] -> contribution to the hash

ACTION_FORWARD = 0
ACTION_LOCAL = 1
ACTION_DROP = 2
ACTION_GENERIC_XDP_DROP = 3
