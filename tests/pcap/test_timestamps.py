"""Ticks to nanoseconds and back: exact wherever the result fits."""

from hypothesis import example, given
from hypothesis import strategies as st

from netemu.pcap.blocks import Interface
from netemu.pcap.timestamps import MOST_BINARY_DIGITS, MOST_DECIMAL_DIGITS, nanoseconds, ticks, ticks_per_second
from tests.pcap.model import model_nanoseconds

TICKS = st.integers(0, 2**64 - 1) | st.integers(0, 2**32)
OFFSETS = st.just(0) | st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**34), 2**34)


@given(count=TICKS, tsresol=st.integers(0, 255), offset_s=OFFSETS)
@example(count=2**64 - 1, tsresol=0, offset_s=-(2**63))
@example(count=2**64 - 1, tsresol=0x80, offset_s=-(2**63))
@example(count=9_223_372_036_854_775_807, tsresol=9, offset_s=0)
@example(count=9_223_372_036_854_775_808, tsresol=9, offset_s=0)
@example(count=145_224_192, tsresol=9, offset_s=-9_223_372_037)
@example(count=145_224_191, tsresol=9, offset_s=-9_223_372_037)
@example(count=2**64 - 1, tsresol=0x80 | 63, offset_s=0)
@example(count=2**64 - 1, tsresol=0x80 | 64, offset_s=0)
@example(count=2**64 - 1, tsresol=0x80 | 93, offset_s=0)
@example(count=2**64 - 1, tsresol=0x80 | 127, offset_s=0)
@example(count=2**64 - 1, tsresol=28, offset_s=0)
@example(count=2**64 - 1, tsresol=29, offset_s=0)
def test_conversion_is_exact_or_refused(count, tsresol, offset_s):
    expected = model_nanoseconds(count, tsresol, offset_s)
    fits, found = nanoseconds(count >> 32, count & 0xFFFF_FFFF, tsresol, offset_s)
    if -(2**63) <= expected < 2**63:
        assert (fits, found) == (1, expected)
    else:
        assert fits == 0


@given(count=TICKS, tsresol=st.integers(0, 255), offset_s=OFFSETS)
def test_the_quick_conversion_is_the_exact_one_wherever_it_is_used(count, tsresol, offset_s):
    factor, limit, offset_ns = Interface(1, 0, tsresol, tsoffset=offset_s).quick_clock
    for tick in {count, limit, max(limit, 0)}:
        if 0 <= tick <= limit:
            quick = tick * factor + offset_ns
            assert tick * factor < 2**63
            assert -(2**63) <= quick < 2**63
            assert quick == model_nanoseconds(tick, tsresol, offset_s)


CLOCKS = st.integers(0, MOST_DECIMAL_DIGITS) | st.integers(0, MOST_BINARY_DIGITS).map(lambda n: 0x80 | n)


@given(ts_ns=st.integers(0, 2**63 - 1) | st.integers(0, 10**10), tsresol=CLOCKS)
@example(ts_ns=1, tsresol=0x80 | 30)
@example(ts_ns=1, tsresol=0x80 | 29)
@example(ts_ns=999_999_999, tsresol=0x80 | MOST_BINARY_DIGITS)
@example(ts_ns=2**63 - 1, tsresol=10)
def test_a_time_reads_back_to_the_resolution_of_the_clock(ts_ns, tsresol):
    high, low = (int(half) for half in ticks(ts_ns, tsresol))
    per_second = ticks_per_second(tsresol)
    if high < 0:
        assert ts_ns * per_second // 10**9 + 1 >= 2**64
        return
    count = high << 32 | low
    if per_second >= 10**9:
        assert model_nanoseconds(count, tsresol, 0) == ts_ns
    else:
        assert count == ts_ns * per_second // 10**9


@given(ts_ns=st.integers(-(2**63), -1), tsresol=CLOCKS)
def test_times_before_1970_have_no_ticks(ts_ns, tsresol):
    assert ticks(ts_ns, tsresol)[0] == -1
