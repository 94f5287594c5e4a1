/* VLAN tags, IPv4 options and IPv6 extension headers down to the ports; what was met is counted by kind. */
#include "common.h"

enum { NO_ETHERNET, OTHER, BAD_IP, FRAGMENT, TCP, UDP, ICMP, OTHER_L4, SHORT_L4, DEEP_TAGS, KINDS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, __u32);
	__type(value, __u64);
} kinds SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u16);
	__type(value, __u64);
} ports SEC(".maps");

struct extension {
	__u8 next;
	__u8 words;
	__u8 rest[6];
};

static __always_inline int count(__u32 kind, int verdict)
{
	__u64 *found = bpf_map_lookup_elem(&kinds, &kind);

	if (found)
		*found += 1;
	return verdict;
}

static __always_inline int count_port(__be16 port, int kind)
{
	__u64 one = 1, *found = bpf_map_lookup_elem(&ports, &port);

	if (found)
		*found += 1;
	else
		bpf_map_update_elem(&ports, &port, &one, BPF_NOEXIST);
	return count(kind, bpf_ntohs(port) & 1 ? XDP_DROP : XDP_PASS);
}

static __always_inline int transport(struct cursor *c, __u8 protocol)
{
	if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = take(c, struct tcphdr);
		return tcp ? count_port(tcp->dest, TCP) : count(SHORT_L4, XDP_DROP);
	}
	if (protocol == IPPROTO_UDP) {
		struct udphdr *udp = take(c, struct udphdr);
		return udp ? count_port(udp->dest, UDP) : count(SHORT_L4, XDP_DROP);
	}
	return count(protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 ? ICMP : OTHER_L4, XDP_PASS);
}

SEC("xdp/deep")
int parse_deep(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	__be16 proto;
	int tags;

	if (!eth)
		return count(NO_ETHERNET, XDP_ABORTED);
	proto = eth->h_proto;
#pragma unroll
	for (tags = 0; tags < 3; tags++) {
		struct vlan_hdr *tag;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		tag = take(&c, struct vlan_hdr);
		if (!tag)
			return count(OTHER, XDP_DROP);
		proto = tag->proto;
	}
	if (proto == bpf_htons(ETH_P_8021Q))
		return count(DEEP_TAGS, XDP_DROP);
	if (proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = c.pos;
		__u32 length;

		if ((void *)(ip + 1) > c.end)
			return count(BAD_IP, XDP_DROP);
		length = ip->ihl * 4;
		if (length < sizeof(*ip) || ip->version != 4 || (void *)ip + length > c.end)
			return count(BAD_IP, XDP_DROP);
		c.pos = (void *)ip + length;
		if (ip->frag_off & bpf_htons(0x1fff))
			return count(FRAGMENT, XDP_PASS);
		return transport(&c, ip->protocol);
	}
	if (proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = take(&c, struct ipv6hdr);
		__u8 next;

		if (!ip6)
			return count(BAD_IP, XDP_DROP);
		next = ip6->nexthdr;
		for (int i = 0; i < 6; i++) {
			struct extension *e;
			void *after;

			if (next != 0 && next != 43 && next != 60)
				break;
			e = c.pos;
			if ((void *)(e + 1) > c.end)
				return count(BAD_IP, XDP_DROP);
			after = c.pos + 8 + e->words * 8;
			if (after > c.end)
				return count(BAD_IP, XDP_DROP);
			next = e->next;
			c.pos = after;
		}
		if (next == 44)
			return count(FRAGMENT, XDP_PASS);
		return transport(&c, next);
	}
	return count(OTHER, XDP_PASS);
}
