/* Drop UDP to port 53, over IPv4 and IPv6; everything else passes.
 *
 *	clang -O2 -target bpf -mcpu=v3 -I../../bpf/programs -I/usr/include/$(uname -m)-linux-gnu -c drop_udp53.c
 */
#include "common.h"

SEC("xdp")
int drop_udp53(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	__u8 protocol = 0;

	if (!eth)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = take(&c, struct iphdr);
		if (!ip || ip->ihl < 5 || ip->frag_off & bpf_htons(0x1fff))
			return XDP_PASS;
		protocol = ip->protocol;
		c.pos += (ip->ihl - 5) * 4;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = take(&c, struct ipv6hdr);
		if (!ip6)
			return XDP_PASS;
		protocol = ip6->nexthdr;
	}
	if (protocol != IPPROTO_UDP)
		return XDP_PASS;
	struct udphdr *udp = take(&c, struct udphdr);
	if (udp && udp->dest == bpf_htons(53))
		return XDP_DROP;
	return XDP_PASS;
}
