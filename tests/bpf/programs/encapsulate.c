/* Puts IPv4 into GRE and IPv6 into IPv4, with all checksums. */
#include "common.h"

struct gre {
	__be16 flags;
	__be16 proto;
};

static __always_inline int push(struct xdp_md *ctx, int extra, __u8 protocol, __be16 inner)
{
	__u16 length = ctx->data_end - ctx->data - sizeof(struct ethhdr);
	struct ethhdr *eth, saved;
	struct iphdr *ip;
	void *end;

	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if ((void *)(eth + 1) > end)
		return XDP_ABORTED;
	saved = *eth;
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip) - extra))
		return XDP_ABORTED;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ip = (void *)(eth + 1);
	if ((void *)(ip + 1) + sizeof(struct gre) > end)
		return XDP_ABORTED;
	*eth = saved;
	eth->h_proto = bpf_htons(ETH_P_IP);
	*(__u32 *)ip = bpf_htonl(0x45000000);
	ip->tot_len = bpf_htons(length + sizeof(*ip) + extra);
	ip->id = bpf_htons(0x1234);
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = 63;
	ip->protocol = protocol;
	ip->saddr = bpf_htonl(0xc0000201);
	ip->daddr = bpf_htonl(0xc0000202);
	set_ip_checksum(ip);
	if (extra) {
		struct gre *gre = (void *)(ip + 1);
		gre->flags = 0;
		gre->proto = inner;
	}
	return XDP_TX;
}

SEC("xdp")
int encapsulate(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);

	if (!eth)
		return XDP_ABORTED;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return push(ctx, sizeof(struct gre), 47, bpf_htons(ETH_P_IP));
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return push(ctx, 0, IPPROTO_IPV6, 0);
	return XDP_PASS;
}
