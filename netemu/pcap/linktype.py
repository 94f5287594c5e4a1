"""Link types: what the bytes of a packet start with (the LINKTYPE registry of tcpdump.org)."""

from __future__ import annotations

ETHERNET = 1

_NAMES = {
    0: "NULL (BSD loopback)",
    1: "ETHERNET",
    6: "IEEE802_5 (Token Ring)",
    8: "SLIP",
    9: "PPP",
    10: "FDDI",
    12: "RAW (IP)",
    14: "RAW (IP)",
    50: "PPP_HDLC",
    51: "PPP_ETHER",
    101: "RAW (IP)",
    104: "C_HDLC",
    105: "IEEE802_11",
    107: "FRELAY",
    108: "LOOP (OpenBSD loopback)",
    113: "LINUX_SLL (Linux cooked capture)",
    117: "PFLOG",
    119: "IEEE802_11_PRISM",
    127: "IEEE802_11_RADIOTAP",
    143: "DOCSIS",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    192: "PPI",
    195: "IEEE802_15_4_WITHFCS",
    197: "ERF",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR",
    220: "USB_LINUX_MMAPPED",
    227: "CAN_SOCKETCAN",
    228: "IPV4",
    229: "IPV6",
    230: "IEEE802_15_4_NOFCS",
    239: "NFLOG",
    247: "INFINIBAND",
    249: "USBPCAP",
    251: "BLUETOOTH_LE_LL",
    252: "WIRESHARK_UPPER_PDU",
    253: "NETLINK",
    276: "LINUX_SLL2 (Linux cooked capture)",
}


def describe(linktype: int) -> str:
    """The number, with its name if it is a common one."""
    name = _NAMES.get(linktype)
    return str(linktype) if name is None else f"{linktype}, {name}"
