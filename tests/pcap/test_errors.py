"""Everything that can be wrong with a capture: one line, with the offset, after the packets before it."""

import gzip
import io
import os

import pytest

from netemu.pcap import MAX_CAPLEN, Batch, CaptureError, open_capture
from tests.pcap import captures
from tests.pcap.reading import read_all

HEAD = captures.classic_header()
RECORD = captures.classic_record(b"x" * 20)
START = captures.section() + captures.interface()
PACKET = captures.enhanced(b"x" * 20)

NOT_A_CAPTURE = {
    "empty": (b"", "is empty"),
    "text": (b"hello, this is no capture", "starts with 68 65 6c 6c"),
    "three bytes": (b"\xd4\xc3\xb2", "starts with d4 c3 b2"),
    "gzip": (gzip.compress(HEAD), "gzip -d"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(30), "zstd -d"),
    "xz": (b"\xfd7zXZ\0" + bytes(30), "xz -d"),
    "snoop": (b"snoop\0\0\0" + bytes(30), "snoop"),
    "ERF": (bytes(8) + b"\x02\x04\x00\x50\x00\x00\x00\x3c" + bytes(64), "ERF"),
    "cut in the pcap header": (HEAD[:23], "file header is cut: 23 bytes"),
    "cut in the pcapng header": (START[:11], "file header is cut: 11 bytes"),
    "no byte-order mark": (captures.section(mark=0x12345678), "byte-order mark"),
}


@pytest.mark.parametrize("name", NOT_A_CAPTURE)
def test_what_is_no_capture_is_refused_when_it_is_opened(name):
    content, words = NOT_A_CAPTURE[name]
    with pytest.raises(CaptureError, match=words) as caught:
        open_capture(io.BytesIO(content))
    assert caught.value.offset == 0
    assert caught.value.packet == 0
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "offset", "words"),
    [
        (captures.classic_header(linktype=101), 20, "link type 101, RAW"),
        (captures.classic_header(">", linktype=60_001), 20, "link type 60001 is not Ethernet"),
        (HEAD[:4] + b"\x03" + HEAD[5:], 4, "version 3.4"),
    ],
)
def test_a_header_of_another_kind_is_refused_when_it_is_opened(content, offset, words):
    with pytest.raises(CaptureError, match=words) as caught:
        open_capture(io.BytesIO(content))
    assert caught.value.offset == offset


# What follows two whole packets, how far behind them the fault lies, and words of the message.
DAMAGED_RECORDS = {
    "cut in a packet header": (RECORD[:15], 0, "ends inside a packet header: 15 bytes of at least 16"),
    "cut after a packet header": (RECORD[:16], 0, "ends inside a packet: 16 bytes of at least 36"),
    "cut in a packet": (RECORD * 3 + RECORD[:-1], 3 * len(RECORD), "ends inside a packet: 35 bytes of at least 36"),
    "absurd stored length": (
        captures.classic_record(b"", caplen=MAX_CAPLEN + 1),
        0,
        f"absurd length: {MAX_CAPLEN + 1} bytes stored",
    ),
    "largest stored length": (captures.classic_record(b"", caplen=2**32 - 1), 0, "absurd length: 4294967295"),
    "absurd wire length": (captures.classic_record(b"", wirelen=2**31), 0, "2147483648 bytes on the wire"),
}

DAMAGED_BLOCKS = {
    "cut in a block's start": (PACKET[:7], 0, "ends inside a block: 7 bytes"),
    "cut in a packet": (PACKET[:-1], 0, f"ends inside a block: {len(PACKET) - 1} bytes of at least {len(PACKET)}"),
    "cut in a packet's fixed part": (PACKET[:20], 0, "ends inside a block: 20 bytes of at least 28"),
    "cut in another block": (captures.block(5, bytes(40))[:30], 0, "ends inside a block: 30 bytes of at least 52"),
    "cut in a section header": (START[:20], 0, "ends inside a block: 20 bytes"),
    "cut in a section's options": (captures.section(extra=bytes(40))[:50], 0, "ends inside a block: 50 bytes"),
    "length below 12": (captures.block(5, b"", total=8), 0, "absurd length 8"),
    "length zero": (captures.block(6, bytes(60), total=0), 0, "absurd length 0"),
    "length no multiple of 4": (captures.block(5, bytes(8), total=19), 0, "absurd length 19"),
    "section of absurd length": (START[:4] + bytes(4) + START[8:28], 0, "section header has the absurd length 0"),
    "section of another version": (captures.section(major=2), 0, "version 2.0"),
    "section without mark": (captures.section(mark=1), 0, "byte-order mark but 01 00 00 00"),
    "other trailing length": (captures.block(5, bytes(8), trailer=24), 0, "starts with length 20 and ends with 24"),
    "other trailing length of a packet": (PACKET[:-4] + bytes(4), 0, "starts with length 52 and ends with 0"),
    "other trailing length of an interface": (
        captures.interface()[:-4] + bytes(4),
        0,
        "starts with length 20 and ends with 0",
    ),
    "other trailing length of a section": (captures.section()[:-4] + bytes(4), 0, "length 28 and ends with 0"),
    "packet longer than its block": (captures.enhanced(b"x" * 20, caplen=21), 0, "52 bytes is too short"),
    "packet block without fixed part": (captures.block(6, bytes(12)), 0, "24 bytes is too short"),
    "interface without fixed part": (captures.block(1, b""), 0, "12 bytes is too short"),
    "simple packet longer than its block": (captures.simple(bytes(8), wirelen=9), 0, "24 bytes is too short"),
    "absurd stored length": (captures.enhanced(b"", caplen=2**32 - 1), 0, "absurd length: 4294967295 bytes stored"),
    "absurd wire length": (captures.enhanced(b"", wirelen=2**32 - 1), 0, "4294967295 bytes on the wire"),
    "interface out of range": (PACKET + captures.enhanced(b"", number=1), len(PACKET), "interface 1, which"),
    "interface far out of range": (captures.enhanced(b"", number=2**32 - 1), 0, "interface 4294967295, which"),
    "interface of the section before": (captures.section() + PACKET, 28, "interface 0, which"),
    "other link type": (
        captures.interface(linktype=276) + captures.enhanced(b"", number=1),
        20,
        "link type 276, LINUX_SLL2",
    ),
    "time out of range": (captures.enhanced(b"", ticks=2**64 - 1), 0, "outside the years"),
    "option beyond its interface": (captures.interface(extra=b"\x09\0\xff\0"), 0, "option 9 of 255 bytes"),
    "option cut off": (captures.block(1, bytes(8) + b"\x02\0\x04\0name\x05\0\x04\0"), 0, "option 5 of 4 bytes"),
    "option of wrong length": (captures.interface(extra=b"\x09\0\x02\0\x06\0\0\0"), 0, "if_tsresol has 2 bytes"),
    "interface of absurd length": (
        captures.block(1, bytes(16), total=2**31),
        0,
        "interface description of absurd length 2147483648",
    ),
}

CASES = [
    pytest.param(before, *case, id=f"{form}: {name}")
    for form, before, cases in (
        ("pcap", HEAD + RECORD * 2, DAMAGED_RECORDS),
        ("pcapng", START + PACKET * 2, DAMAGED_BLOCKS),
    )
    for name, case in cases.items()
]


@pytest.mark.parametrize(("before", "rest", "behind", "words"), CASES)
def test_damage_is_told_after_the_packets_before_it(before, rest, behind, words):
    found, fault = read_all(before + rest)
    assert fault is not None
    assert words in str(fault)
    assert fault.offset == len(before) + behind
    assert fault.packet == len(found) >= 2
    assert f"at byte {fault.offset} after packet {fault.packet}; " in str(fault)
    assert "\n" not in str(fault)


def test_the_error_comes_again_and_says_the_same():
    with open_capture(io.BytesIO(HEAD + RECORD + RECORD[:5])) as reader:
        batch = Batch()
        assert reader.read_into(batch) == 1
        for _ in range(3):
            with pytest.raises(CaptureError, match="inside a packet header"):
                reader.read_into(batch)
            assert batch.count == 0
            assert reader.offset == len(HEAD + RECORD)


def test_a_wrong_length_after_a_huge_block_is_told_with_the_start_of_the_block():
    content = START + PACKET + captures.block(10, bytes(2_000_000), trailer=20)
    fault = read_all(content)[1]
    assert fault is not None
    assert fault.offset == len(START + PACKET)
    assert "starts with length 2000012 and ends with 20" in str(fault)


def test_an_end_inside_a_huge_block_is_told_with_the_start_of_the_block():
    content = START + PACKET + captures.block(10, bytes(2_000_000))[:1_500_000]
    fault = read_all(content)[1]
    assert fault is not None
    assert fault.offset == len(START + PACKET)
    assert "1500000 bytes of at least 2000012" in str(fault)


def test_more_interfaces_than_anyone_has_are_refused():
    content = captures.section() + captures.interface() * 65_537
    fault = read_all(content)[1]
    assert fault is not None
    assert fault.offset == 28 + 20 * 65_536
    assert "more than 65536 interfaces" in str(fault)


def test_a_missing_file_and_a_directory_are_told(tmp_path):
    with pytest.raises(CaptureError, match="no such file; check the name") as caught:
        open_capture(tmp_path / "missing.pcap")
    assert caught.value.path == str(tmp_path / "missing.pcap")
    assert caught.value.offset is None
    with pytest.raises(CaptureError, match="is a directory"):
        open_capture(tmp_path)
    with pytest.raises(CaptureError, match="cannot be opened"):
        open_capture("nul\0byte.pcap")


def test_no_permission_is_told(tmp_path, monkeypatch):
    path = tmp_path / "secret.pcap"
    path.write_bytes(HEAD)
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read it all the same

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(io, "FileIO", refuse)
    with pytest.raises(CaptureError, match="no permission to read it"):
        open_capture(path)


def test_a_name_that_cannot_be_printed_stays_on_one_line(tmp_path):
    with pytest.raises(CaptureError) as caught:
        open_capture(tmp_path / "two\nlines.pcap")
    assert "\n" not in str(caught.value)


def test_a_source_that_fails_or_does_not_wait_is_told():
    class Failing(captures.Pipe):
        def readinto(self, into):
            if len(into) > 24:
                raise OSError(5, "Input/output error")
            return super().readinto(into)

    class Hasty(captures.Pipe):
        def readinto(self, into):
            return super().readinto(into) or None

    assert "reading failed: Input/output error, at byte 24" in str(read_all(Failing(HEAD + RECORD, [100]))[1])
    assert "does not wait, at byte 60" in str(read_all(Hasty(HEAD + RECORD, [100]))[1])


def test_a_cut_gzip_stream_is_told():
    cut = gzip.compress(HEAD + RECORD * 100)[:-12]
    with gzip.open(io.BytesIO(cut)) as stream:
        fault = read_all(stream)[1]
    assert fault is not None
    assert "reading failed" in str(fault)


def test_what_is_neither_path_nor_file_is_a_mistake_of_the_caller():
    with pytest.raises(TypeError, match="not int"):
        open_capture(3)
