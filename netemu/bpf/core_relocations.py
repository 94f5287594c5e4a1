"""CO-RE: where a program asks for the layout of the running kernel's structures.

Structures of packets and of the kernel's public interface are the same everywhere, so what the compiler put in
already holds.  Private ones have no meaning here: there is no kernel whose layout could be asked.
"""

from __future__ import annotations

from .btf import Btf, Relocation
from .errors import BpfError, Unsupported
from .helper_table import HELPERS

FIELD_KINDS = range(6)
TYPE_ID_LOCAL, TYPE_EXISTS, TYPE_SIZE, ENUMVAL_EXISTS, ENUMVAL_VALUE, TYPE_MATCHES = 6, 8, 9, 10, 11, 12

PUBLIC_STRUCTURES = frozenset({
    "xdp_md", "ethhdr", "arphdr", "vlan_hdr", "vlan_ethhdr", "iphdr", "ip_auth_hdr", "ip_esp_hdr", "ipv6hdr",
    "ipv6_opt_hdr", "ipv6_rt_hdr", "frag_hdr", "rt0_hdr", "tcphdr", "udphdr", "icmphdr", "icmp6hdr", "igmphdr",
    "sctphdr", "dccp_hdr", "gre_base_hdr", "gre_full_hdr", "vxlanhdr", "genevehdr", "mpls_label", "mpls_shim_hdr",
    "pppoe_hdr", "in_addr", "in6_addr", "bpf_fib_lookup", "bpf_map_def", "bpf_spin_lock",
    "bpf_devmap_val", "bpf_cpumap_val",
})  # fmt: skip


def settle(relocation: Relocation, btf: Btf) -> int | None:
    """The value to put into the instruction, or None to leave what the compiler put there."""
    kind = relocation.kind
    name = btf.resolve(relocation.type).name.split("___")[0]
    if kind == TYPE_ID_LOCAL:
        return None
    if kind in (ENUMVAL_EXISTS, ENUMVAL_VALUE):
        if name != "bpf_func_id":
            raise Unsupported(f"asks the running kernel for values of enum {name}, which netemu does not have")
        if kind == ENUMVAL_VALUE:
            return None
        try:
            return int(btf.enum_value(relocation.type, int(relocation.access))[1] in HELPERS)
        except ValueError:
            raise BpfError("a CO-RE relocation that is malformed") from None
    if (kind in FIELD_KINDS or kind in (TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES)) and name in PUBLIC_STRUCTURES:
        return None
    raise Unsupported(f"asks the running kernel for the layout of struct {name}, which is private to a kernel")
