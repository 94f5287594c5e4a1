/* Pops a VLAN tag where there is one and pushes one where there is none. */
#include "common.h"

static __always_inline int pop(struct xdp_md *ctx, struct ethhdr *eth, struct vlan_hdr *tag)
{
	struct ethhdr saved = *eth;

	saved.h_proto = tag->proto;
	if (bpf_xdp_adjust_head(ctx, sizeof(*tag)))
		return XDP_ABORTED;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	*eth = saved;
	return XDP_PASS;
}

static __always_inline int push(struct xdp_md *ctx, struct ethhdr *eth)
{
	struct ethhdr saved = *eth;
	struct vlan_hdr *tag;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*tag)))
		return XDP_ABORTED;
	eth = (void *)(long)ctx->data;
	tag = (void *)(eth + 1);
	if ((void *)(tag + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	*eth = saved;
	tag->tci = bpf_htons(100 | 3 << 13);
	tag->proto = saved.h_proto;
	eth->h_proto = bpf_htons(ETH_P_8021Q);
	return XDP_TX;
}

SEC("xdp")
int vlan_swap(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	struct vlan_hdr *tag;

	if (!eth)
		return XDP_DROP;
	if (eth->h_proto != bpf_htons(ETH_P_8021Q) && eth->h_proto != bpf_htons(ETH_P_8021AD))
		return push(ctx, eth);
	tag = take(&c, struct vlan_hdr);
	return tag ? pop(ctx, eth, tag) : XDP_DROP;
}
