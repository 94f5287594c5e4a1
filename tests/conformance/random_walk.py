"""A random walk over page pools, printed as the state after every operation: ``python random_walk.py SEED OPERATIONS``.

Run compiled and interpreted it must print the same.
"""

import random
import sys
from collections.abc import Generator

from netemu.testing.world import Done, World

FLAGS = (0, 0, 1, 3, 4, 7)


def walk(world: World, rng: random.Random, count: int) -> Generator[str, Done, None]:
    """Operations that fit the world as it is when each is asked for; each is answered with what came of it."""
    held: list[tuple[int, int]] = []
    """Pages (or fragments) that the driver has: slot and block."""
    for slot in range(3):
        flags = rng.choice(FLAGS)
        yield (
            f"create {slot} order={rng.choice((0, 0, 1))} flags={flags} size={rng.choice((1, 8, 33, 64))} "
            f"nid={rng.randrange(-1, 4)} dir=0 max_len={rng.choice((512, 2048))} init_cb={rng.randrange(2)}"
        )
    for _ in range(count):
        slot = rng.randrange(3)
        direct = rng.randrange(2)
        choice = rng.random()
        if choice < 0.42 or not held:
            fragments = world.k.pool[world.numbers[slot]].flags & 4
            done = yield f"alloc_frag {slot} {rng.randrange(1, 3000)}" if fragments else f"alloc_pages {slot}"
            if done.ret is not None:
                held.append((slot, done.ret))
        elif choice < 0.78:
            owner, block = held.pop(rng.randrange(len(held)))
            yield rng.choice(
                (
                    f"put_full_page {owner} {block} {direct}",
                    f"put_pool_page {owner} {block} {rng.randrange(4096)} {direct}",
                    f"return_skb_page {block}",
                )
            )
        elif choice < 0.86:
            owner = held[-1][0]
            blocks = [block for kept, block in held if kept == owner][:20]
            held = [entry for entry in held if entry[0] != owner or entry[1] not in blocks]
            yield f"put_bulk {owner} {' '.join(map(str, blocks))}"
        else:
            yield rng.choice(
                (
                    f"set_softirq {rng.randrange(2)}",
                    f"nid_changed {slot} {rng.randrange(4)}",
                    f"set_numa_mem_id {rng.randrange(4)}",
                    f"set_alloc_pfmemalloc {rng.randrange(2)}",
                    f"set_bulk_cap {rng.randrange(-1, 70)}",
                    f"set_dma_fail {rng.randrange(-1, 30)}",
                    f"get_page {held[0][1]}",
                    f"advance {rng.randrange(3000)}",
                )
            )
    for slot in range(3):
        yield f"destroy {slot}"
    yield "advance 130000"


def main() -> None:
    """Walk and print."""
    world = World()
    operations = walk(world, random.Random(int(sys.argv[1])), int(sys.argv[2]))
    operation = next(operations, None)
    while operation is not None:
        done = world.perform(operation)
        pools = [world.pool_state(slot) for slot in world.numbers]
        page = world.page_state(done.page) if done.page >= 0 else None
        print(operation, done.ret, done.offset, page, pools, world.handed_out(), world.given_back())
        print(world.warnings(), world.pool_events(), world.dma_counters(), world.callback_counters())
        try:
            operation = operations.send(done)
        except StopIteration:
            operation = None


if __name__ == "__main__":
    main()
