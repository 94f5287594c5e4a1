/* Answers pings, IPv4 and IPv6, with bpf_csum_diff for the checksum. */
#include "common.h"

SEC("xdp")
int echo(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	__u32 before, after;
	struct icmphdr *icmp;
	__s64 sum;

	if (!eth)
		return XDP_DROP;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = take(&c, struct iphdr);
		__be32 kept;

		if (!ip || ip->ihl != 5 || ip->protocol != IPPROTO_ICMP)
			return XDP_PASS;
		icmp = take(&c, struct icmphdr);
		if (!icmp || icmp->type != ICMP_ECHO)
			return XDP_PASS;
		kept = ip->saddr;
		ip->saddr = ip->daddr;
		ip->daddr = kept;
		before = *(__u32 *)icmp & 0xffff;
		icmp->type = ICMP_ECHOREPLY;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = take(&c, struct ipv6hdr);
		struct in6_addr kept;

		if (!ip6 || ip6->nexthdr != IPPROTO_ICMPV6)
			return XDP_PASS;
		icmp = take(&c, struct icmphdr);
		if (!icmp || icmp->type != 128)
			return XDP_PASS;
		kept = ip6->saddr;
		ip6->saddr = ip6->daddr;
		ip6->daddr = kept;
		before = *(__u32 *)icmp & 0xffff;
		icmp->type = 129;
	} else {
		return XDP_PASS;
	}
	after = *(__u32 *)icmp & 0xffff;
	sum = bpf_csum_diff(&before, 4, &after, 4, (__u16)~icmp->checksum);
	icmp->checksum = fold(sum);
	swap_macs(eth);
	return XDP_TX;
}
