/* Translates addresses of known hosts and mends both checksums; sums whole headers in passing. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __be32);
	__type(value, __be32);
} translations SEC(".maps");

__u64 removed, added;

static __always_inline void mend(__u16 *check, __be32 old, __be32 new)
{
	*check = fold(bpf_csum_diff(&old, 4, &new, 4, (__u16)~*check));
}

SEC("xdp")
int nat(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	struct iphdr *ip;
	__be32 old, *new;
	__u32 copy[5];

	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	ip = take(&c, struct iphdr);
	if (!ip)
		return XDP_DROP;
	__builtin_memcpy(copy, ip, sizeof(copy));
	removed += bpf_csum_diff(copy, sizeof(copy), 0, 0, 17);
	added += bpf_csum_diff(0, 0, copy, sizeof(copy), 0xffffffff);
	added += bpf_csum_diff(copy, 8, copy + 2, 12, ip->check);
	if (bpf_csum_diff(copy, 0, copy, 0, 0x12345678) == -22)
		return XDP_ABORTED;
	old = ip->daddr;
	new = bpf_map_lookup_elem(&translations, &old);
	if (!new)
		return XDP_PASS;
	ip->daddr = *new;
	mend(&ip->check, old, *new);
	if (ip->ihl != 5 || ip->frag_off & bpf_htons(0x1fff))
		return XDP_TX;
	if (ip->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = take(&c, struct tcphdr);
		if (tcp)
			mend(&tcp->check, old, *new);
	} else if (ip->protocol == IPPROTO_UDP) {
		struct udphdr *udp = take(&c, struct udphdr);
		if (udp && udp->check)
			mend(&udp->check, old, *new);
	}
	return XDP_TX;
}
