"""net_tx_action frees what interrupt handlers have left: structs of ordinary packets go to the CPU's cache."""

from __future__ import annotations

import pytest

from netemu import Machine
from netemu.profiles.eras import era_names


@pytest.mark.parametrize("era", era_names())
@pytest.mark.parametrize("packets", [3, 64])
def test_structs_go_through_the_cache_of_the_cpu_which_is_emptied_at_once_to_v5_11(era: str, packets: int) -> None:
    machine = Machine(era=era, cpus=1, memory_mb=16)
    slab = machine.k.slab[0]
    skbs = [machine.alloc_skb(100) for _ in range(packets)]
    with machine.hardirq():
        for skb in skbs:
            machine.dev_kfree_skb_irq(skb)
    cached = machine.k.softnet[0].skb_count
    machine.net_tx_action()
    assert (slab.live, slab.head_frees) == (0, 0)
    if era in ("v4.19", "v5.0", "v5.4", "v5.10"):
        assert (machine.k.softnet[0].skb_count, slab.head_bulk_frees) == (0, 1)
    else:
        assert machine.k.softnet[0].skb_count - cached == (packets if packets < 64 else 32)
        assert slab.head_bulk_frees == (0 if packets < 64 else 1)
    machine.assert_clean()


def test_a_fast_clone_goes_back_to_its_own_slab() -> None:
    machine = Machine(era="v6.1", cpus=1, memory_mb=16)
    skb = machine.alloc_skb(100, fclone=True)
    with machine.hardirq():
        machine.dev_kfree_skb_irq(skb)
    machine.net_tx_action()
    assert (machine.k.slab[0].pair_frees, machine.k.softnet[0].skb_count) == (1, 0)
    machine.assert_clean()
