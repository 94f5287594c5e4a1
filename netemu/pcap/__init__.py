"""Reading and writing packet captures: pcap and pcapng, at compiled speed and in constant memory."""

from netemu.pcap.batch import LARGEST_WHOLE, MAX_CAPLEN, PACKET, Batch
from netemu.pcap.blocks import Interface
from netemu.pcap.errors import CaptureError
from netemu.pcap.reader import CaptureReader, open_capture, packets
from netemu.pcap.writer import CaptureWriter, PcapngWriter, PcapWriter, check_ending, open_writer

__all__ = [
    "LARGEST_WHOLE",
    "MAX_CAPLEN",
    "PACKET",
    "Batch",
    "CaptureError",
    "CaptureReader",
    "CaptureWriter",
    "Interface",
    "PcapWriter",
    "PcapngWriter",
    "check_ending",
    "open_capture",
    "open_writer",
    "packets",
]
