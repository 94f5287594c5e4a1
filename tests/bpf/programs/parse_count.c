/* Packets and bytes per IP protocol, in a per-CPU array; everything passes. */
#include "common.h"

struct counter {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct counter);
} per_protocol SEC(".maps");

SEC("xdp")
int parse_count(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	__u32 protocol = 255;

	if (!eth)
		return XDP_DROP;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = take(&c, struct iphdr);
		if (ip)
			protocol = ip->protocol;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = take(&c, struct ipv6hdr);
		if (ip6)
			protocol = ip6->nexthdr;
	}
	struct counter *found = bpf_map_lookup_elem(&per_protocol, &protocol);
	if (found) {
		found->packets++;
		found->bytes += ctx->data_end - ctx->data;
	}
	return XDP_PASS;
}
