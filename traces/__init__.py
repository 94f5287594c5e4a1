"""Small sample captures, written by :mod:`netemu.traces.make_traces`.

Sizes in the descriptions are those on the wire, with the 4 bytes of frame check sequence; like most captures,
these leave the check sequence out, so a 64-byte frame is 60 bytes here.
"""

from pathlib import Path

DESCRIPTIONS = {
    "router-imix.pcap": "256 flows through a 10 Gbit/s router port at 60 % load: 64, 594 and 1518-byte frames, 7:4:1",
    "flood-64.pcap": "64-byte UDP flood from many sources, back to back at 10 Gbit/s line rate (14.88 Mpps)",
    "http.pcap": "24 HTTP-like TCP conversations: handshake, requests, full-size segments, delayed ACKs, close",
    "dns.pcap": "DNS queries and answers over UDP, some refused as unknown names",
    "mixed.pcapng": "VLAN, QinQ, IPv6 extension headers, fragments and ARP on three interfaces of different clocks",
    "jumbo.pcap": "9018-byte jumbo frames in bursts with 64-byte ACKs between them",
}
"""What each capture holds, by file name."""


def names() -> list[str]:
    """File names of the captures."""
    return list(DESCRIPTIONS)


def path(name: str) -> Path:
    """Where the capture ``name`` is.  Raises ``ValueError`` for a name that :func:`names` does not list."""
    if name not in DESCRIPTIONS:
        raise ValueError(f"no bundled capture {name!r}; there are {', '.join(DESCRIPTIONS)}")
    return Path(__file__).parent / name
