/* Reads and writes the packet through helpers, at offsets that the packet itself chooses. */
#include "common.h"

__u64 too_far, got;

SEC("xdp.frags")
int load_store_bytes(struct xdp_md *ctx)
{
	__u64 length = bpf_xdp_get_buff_len(ctx);
	__u8 head[14], piece[32] = {};
	__u32 offset, size;

	if (bpf_xdp_load_bytes(ctx, 0, head, sizeof(head)))
		return XDP_ABORTED;
	offset = head[5] * 8;
	size = (head[11] & 31) + 1;
	if (bpf_xdp_load_bytes(ctx, offset, piece, size)) {
		too_far++;
		return XDP_DROP;
	}
	for (int i = 0; i < 32; i++) {
		got += piece[i];
		piece[i] ^= 0x20;
	}
	if (bpf_xdp_load_bytes(ctx, 0x10000, piece, 4) != -14)
		return XDP_ABORTED;
	if (bpf_xdp_store_bytes(ctx, offset, piece, size))
		return XDP_ABORTED;
	if (bpf_xdp_store_bytes(ctx, length - 1, head, 2) == 0)
		return XDP_ABORTED;
	bpf_xdp_store_bytes(ctx, length - 1, &size, 1);
	return length > 200 ? XDP_TX : XDP_PASS;
}
