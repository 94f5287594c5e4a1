/* Puts length and a checksum of the header in front of the packet as metadata, sometimes in two steps. */
#include "common.h"

struct meta {
	__u32 length;
	__u32 sum;
};

SEC("xdp")
int metadata(struct xdp_md *ctx)
{
	__u32 length = ctx->data_end - ctx->data;
	struct meta *meta;
	struct ethhdr *eth;
	__u32 sum = 0;

	if (bpf_xdp_adjust_meta(ctx, -3) == 0) /* not a multiple of 4 */
		return XDP_ABORTED;
	if (length & 1) {
		if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta) - 8) || bpf_xdp_adjust_meta(ctx, 8))
			return XDP_ABORTED;
	} else if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta))) {
		return XDP_ABORTED;
	}
	if (length > 300 && bpf_xdp_adjust_head(ctx, -16)) /* metadata moves along */
		return XDP_ABORTED;
	meta = (void *)(long)ctx->data_meta;
	eth = (void *)(long)ctx->data;
	if ((void *)(meta + 1) > (void *)eth || (void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		sum = sum * 31 + eth->h_dest[i];
	meta->length = length;
	meta->sum = sum;
	return bpf_xdp_adjust_meta(ctx, -256) == 0 ? XDP_ABORTED : XDP_PASS;
}
