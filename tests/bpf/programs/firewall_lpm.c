/* A firewall: source prefixes (longest match says what happens), then blocked destination ports. */
#include "common.h"

struct key4 {
	__u32 length;
	__be32 address;
};

struct key6 {
	__u32 length;
	__u8 address[16];
};

struct rule {
	__u32 verdict;
	__u32 hits;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 128);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct key4);
	__type(value, struct rule);
} sources4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 128);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct key6);
	__type(value, struct rule);
} sources6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u16);
	__type(value, __u64);
} blocked_ports SEC(".maps");

static __always_inline int port_is_blocked(struct cursor *c, __u8 protocol)
{
	struct udphdr *head;
	__u64 *hits;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return 0;
	head = take(c, struct udphdr);
	if (!head)
		return 1;
	__u16 port = bpf_ntohs(head->dest);
	hits = bpf_map_lookup_elem(&blocked_ports, &port);
	if (!hits)
		return 0;
	__sync_fetch_and_add(hits, 1);
	return 1;
}

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	struct rule *rule = 0;
	__u8 protocol;

	if (!eth)
		return XDP_ABORTED;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = take(&c, struct iphdr);
		struct key4 key = {.length = 32};

		if (!ip)
			return XDP_DROP;
		key.address = ip->saddr;
		protocol = ip->protocol;
		rule = bpf_map_lookup_elem(&sources4, &key);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = take(&c, struct ipv6hdr);
		struct key6 key = {.length = 128};

		if (!ip6)
			return XDP_DROP;
		__builtin_memcpy(key.address, &ip6->saddr, 16);
		protocol = ip6->nexthdr;
		rule = bpf_map_lookup_elem(&sources6, &key);
	} else {
		return XDP_PASS;
	}
	if (rule) {
		rule->hits++;
		if (rule->verdict != XDP_PASS)
			return rule->verdict;
	}
	return port_is_blocked(&c, protocol) ? XDP_DROP : XDP_PASS;
}
