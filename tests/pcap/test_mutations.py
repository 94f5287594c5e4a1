"""Damaged captures of every kind: the reader finds the same packets and the same fault as the slow model.

``NETEMU_FUZZ`` sets how many; the damage depends only on the number of the capture.
"""

import os
import random

import pytest

from netemu.engine.jit import JIT
from netemu.pcap import LARGEST_WHOLE, Batch
from tests.pcap import captures
from tests.pcap.reading import model_all, read_all

COUNT = int(os.environ.get("NETEMU_FUZZ", "4000" if JIT else "600"))
PARTS = 8

EXTREMES = (
    0,
    1,
    3,
    4,
    11,
    12,
    28,
    32,
    0xFF,
    0xFFFF,
    1 << 18,
    (1 << 18) + 1,
    (1 << 31) - 1,
    1 << 31,
    0xFFFF_FFFC,
    (1 << 32) - 1,
)


def seeds() -> list[bytes]:
    made = []
    for order in "<>":
        for tsresol in (6, 9):
            made.append(
                captures.classic_header(order, tsresol)
                + b"".join(captures.classic_record(bytes(n * 7), order, n, n) for n in range(6))
            )
        made.append(
            captures.section(order, captures.options([(4, b"model")], order))
            + captures.interface(order, name="eth0", tsresol=9, tsoffset=-1)
            + captures.interface(order, linktype=101, snaplen=64)
            + captures.interface(order, snaplen=20, tsresol=0x80 | 33)
            + captures.enhanced(b"enhanced", order, ticks=2**60, extra=captures.options([(1, b"c")], order))
            + captures.obsolete(b"obsolete", order, ticks=2**50, number=2)
            + captures.block(5, bytes(20), order)
            + captures.simple(b"simple", 6, order)
            + captures.enhanced(b"enhanced again", order, ticks=2**60, number=2)
            + captures.section("<>"[order == "<"])
            + captures.interface("<>"[order == "<"])
            + captures.simple(b"other order", 11, "<>"[order == "<"])
        )
    return made


SEEDS = seeds()


def mutated(number: int) -> bytes:
    chance = random.Random(number)
    content = bytearray(chance.choice(SEEDS))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(content) + 1) if content else 0
        match chance.randrange(7):
            case 0:  # one bit
                if at < len(content):
                    content[at] ^= 1 << chance.randrange(8)
            case 1 | 2:  # a field of extreme value, mostly where fields are
                at = at // 4 * 4 if chance.random() < 0.9 else at
                order = "little" if chance.random() < 0.5 else "big"
                content[at : at + 4] = chance.choice(EXTREMES).to_bytes(4, order)
            case 3:  # cut
                del content[at:]
            case 4:  # a piece is missing
                del content[at : at + chance.choice((1, 4, chance.randrange(40)))]
            case 5:  # a piece comes twice
                piece = content[at : at + chance.choice((4, 16, chance.randrange(80)))]
                content[at:at] = piece
            case 6:  # a piece of another capture
                other = chance.choice(SEEDS)
                start = chance.randrange(len(other))
                content[at:at] = other[start : start + chance.randrange(80)]
    return bytes(content)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_damaged_capture_gives_the_packets_and_the_fault_of_the_model(part):
    batch = Batch(LARGEST_WHOLE, 64)
    faults = 0
    for number in range(part, COUNT, PARTS):
        content = mutated(number)
        found, fault = read_all(content, batch)
        expected, damaged_at = model_all(content)
        assert found == expected, number
        assert (None if fault is None else fault.offset) == damaged_at, number
        if fault is not None:
            faults += 1
            assert fault.packet == len(found), number
            assert "\n" not in str(fault), number
    assert 0.3 < faults / (COUNT / PARTS) < 1  # the damage is neither harmless nor hopeless


def test_damage_reaches_every_kind_of_fault():
    seen = set()
    for number in range(min(COUNT, 1500)):
        fault = read_all(mutated(number))[1]
        if fault is not None:
            seen.update(word for word in FAULT_WORDS if word in str(fault))
    if COUNT >= 1500:
        assert seen == set(FAULT_WORDS)


FAULT_WORDS = (
    "not a pcap or pcapng capture",
    "file header is cut",
    "inside a packet header",
    "inside a packet:",
    "inside a block",
    "bytes stored",
    "on the wire",
    "a block of absurd length",
    "and ends with",
    "too short",
    "which its section does not describe",
    "is not Ethernet",
    "outside the years",
    "byte-order mark",
    "interface description",
)
