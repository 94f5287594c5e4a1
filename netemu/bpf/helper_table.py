"""The helpers that netemu has, by the numbers that programs call them by (``enum bpf_func_id``)."""

from __future__ import annotations

HELPERS = {
    1: "map_lookup_elem",
    2: "map_update_elem",
    3: "map_delete_elem",
    5: "ktime_get_ns",
    6: "trace_printk",
    7: "get_prandom_u32",
    8: "get_smp_processor_id",
    12: "tail_call",
    23: "redirect",
    25: "perf_event_output",
    28: "csum_diff",
    44: "xdp_adjust_head",
    51: "redirect_map",
    54: "xdp_adjust_meta",
    65: "xdp_adjust_tail",
    69: "fib_lookup",
    93: "spin_lock",
    94: "spin_unlock",
    118: "jiffies64",
    125: "ktime_get_boot_ns",
    160: "ktime_get_coarse_ns",
    163: "check_mtu",
    177: "trace_vprintk",
    188: "xdp_get_buff_len",
    189: "xdp_load_bytes",
    190: "xdp_store_bytes",
}
