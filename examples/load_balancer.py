"""A load balancer: connections to one address are spread over servers, by direct server return.

The packet goes back out with the hardware address of a server; what belongs to a connection goes where its first packet
went.  ``netemu replay traces/http.pcap --xdp examples/load_balancer.py:balance --out balanced.pcap``
"""

import netemu
from netemu import XDP_PASS, XDP_TX, ArrayMap, HashMap, XdpPacket, xdp

SERVICE = 0xCB007150  # 203.0.113.80
PORT = 80
OWN = 0x020000000001

servers = ArrayMap(3)  # their hardware addresses
for number in range(len(servers)):
    servers[number] = 0x020000000010 + number
SERVERS = len(servers)

connections = HashMap(4096)  # client address and port: number of the server
packets_to = ArrayMap(SERVERS)


@xdp
def balance(packet: XdpPacket) -> int:
    """Send what is for the service to one of its servers."""
    ip, tcp = packet.ipv4(), packet.tcp()
    if ip < 0 or tcp < 0 or packet.u32(ip + 16) != SERVICE or packet.u16(tcp + 2) != PORT:
        return XDP_PASS
    client = packet.u32(ip + 12) << 16 | packet.u16(tcp)
    server = connections.get(client, -1)
    if server < 0:
        server = len(connections) % SERVERS  # in turn
        connections[client] = server
    packets_to.add(server, 1)
    packet.set_u48(0, servers[server])
    packet.set_u48(6, OWN)
    return XDP_TX


def main() -> None:
    """Replay a trace and show who got what."""
    netemu.replay("traces/http.pcap", xdp=balance, action="local")
    for server, count in enumerate(packets_to):
        print(f"server {server}: {list(connections.values()).count(server)} connections, {count} packets")


if __name__ == "__main__":
    main()
