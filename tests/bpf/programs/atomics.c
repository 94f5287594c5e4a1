/* Every atomic operation, with 32 and 64 bits; what they return goes into the packet. */
#include "common.h"

__u64 sum64 = 7, or64 = 1, and64 = ~0ull, xor64, swap64 = 3, compare64 = 5;
__u32 sum32 = 0xfffffff0, or32, and32 = ~0u, xor32, swap32, compare32 = 1;

SEC("xdp")
int atomics(struct xdp_md *ctx)
{
	__u32 *word = (void *)(long)ctx->data;
	__u32 seed;
	__u64 wide, old;

	if ((void *)(word + 6) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	seed = word[0] * 2654435761u ^ word[1];
	wide = (__u64)seed << 32 | word[2];
	__sync_fetch_and_add(&sum64, wide);
	__sync_fetch_and_add(&sum32, seed);
	old = __sync_fetch_and_add(&sum64, seed);
	old ^= __sync_fetch_and_or(&or64, wide & 0x1111111111111111);
	old += __sync_fetch_and_and(&and64, wide | 0xffff0000ffff0000);
	old ^= __sync_fetch_and_xor(&xor64, wide);
	old += __sync_lock_test_and_set(&swap64, wide);
	old ^= __sync_val_compare_and_swap(&compare64, seed & 1 ? compare64 : wide, old);
	word[3] = old ^ old >> 32;
	old = __sync_fetch_and_add(&sum32, 3);
	old += __sync_fetch_and_or(&or32, seed);
	old ^= __sync_fetch_and_and(&and32, seed | 0xff);
	old += __sync_fetch_and_xor(&xor32, seed);
	old ^= __sync_lock_test_and_set(&swap32, seed);
	old += __sync_val_compare_and_swap(&compare32, seed & 2 ? compare32 : 1, seed);
	word[4] = old;
	word[5] = old >> 32;
	return old & 1 ? XDP_TX : XDP_PASS;
}
