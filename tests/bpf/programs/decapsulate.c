/* Takes off IPIP, 6in4, GRE and VXLAN. */
#include "common.h"

struct gre {
	__be16 flags;
	__be16 proto;
};

struct vxlan {
	__be32 flags;
	__be32 vni;
};

static __always_inline int strip(struct xdp_md *ctx, int bytes, __be16 proto)
{
	struct ethhdr *eth = (void *)(long)ctx->data, saved;
	void *end = (void *)(long)ctx->data_end;

	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	saved = *eth;
	if (bpf_xdp_adjust_head(ctx, bytes))
		return XDP_DROP;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	*eth = saved;
	eth->h_proto = proto;
	return XDP_PASS;
}

SEC("xdp")
int decapsulate(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	struct iphdr *ip;

	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	ip = take(&c, struct iphdr);
	if (!ip || ip->ihl != 5)
		return XDP_PASS;
	if (ip->protocol == IPPROTO_IPIP)
		return strip(ctx, sizeof(*ip), bpf_htons(ETH_P_IP));
	if (ip->protocol == IPPROTO_IPV6)
		return strip(ctx, sizeof(*ip), bpf_htons(ETH_P_IPV6));
	if (ip->protocol == 47) {
		struct gre *gre = take(&c, struct gre);

		if (!gre)
			return XDP_DROP;
		return gre->flags ? XDP_PASS : strip(ctx, sizeof(*ip) + sizeof(*gre), gre->proto);
	}
	if (ip->protocol == IPPROTO_UDP) {
		struct udphdr *udp = take(&c, struct udphdr);
		struct vxlan *vxlan;

		if (!udp || udp->dest != bpf_htons(4789))
			return XDP_PASS;
		vxlan = take(&c, struct vxlan);
		if (!vxlan || !(vxlan->flags & bpf_htonl(0x08000000)))
			return XDP_PASS;
		if (bpf_xdp_adjust_head(ctx, sizeof(*eth) + sizeof(*ip) + sizeof(*udp) + sizeof(*vxlan)))
			return XDP_DROP;
		return XDP_TX;
	}
	return XDP_PASS;
}
