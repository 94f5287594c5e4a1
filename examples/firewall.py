"""A firewall: some networks are blocked, some UDP ports are closed, everything else goes to the stack.

``netemu replay traces/router-imix.pcap --xdp examples/firewall.py:firewall``, or run this file for its counters.
"""

import netemu
from netemu import XDP_DROP, XDP_PASS, ArrayMap, HashMap, LpmMap, XdpPacket, xdp

ALLOW, BLOCK = 1, 2

networks = LpmMap(1024)
networks["0.0.0.0/0"] = ALLOW
networks["10.0.0.0/12"] = BLOCK
networks["10.7.0.0/16"] = ALLOW

closed_ports = HashMap(64)
closed_ports[4500] = 0  # how many were dropped

BLOCKED, CLOSED, PASSED, OTHER = 0, 1, 2, 3
counters = ArrayMap(4)


@xdp
def firewall(packet: XdpPacket) -> int:
    """The verdict of the rules for one packet."""
    ip = packet.ipv4()
    if ip < 0:
        counters[OTHER] += 1
        return XDP_PASS
    if networks.lookup(packet.u32(ip + 12), ALLOW) == BLOCK:
        counters[BLOCKED] += 1
        return XDP_DROP
    udp = packet.udp()
    if udp >= 0 and packet.u16(udp + 2) in closed_ports:
        closed_ports[packet.u16(udp + 2)] += 1
        counters[CLOSED] += 1
        return XDP_DROP
    counters[PASSED] += 1
    return XDP_PASS


def main() -> None:
    """Replay a trace and show the counters."""
    result = netemu.replay("traces/router-imix.pcap", xdp=firewall, action="local")
    for name, count in zip(("blocked", "closed", "passed", "not IPv4"), counters, strict=True):
        print(f"{name:10}{count:8}")
    print(f"leaked pages: {len(result['leaks'])}")


if __name__ == "__main__":
    main()
