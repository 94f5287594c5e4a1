/* Drops DNS questions for blocked names: a loop over the labels, hashed on the way. */
#include "common.h"

struct dns {
	__be16 id, flags, questions, answers, authorities, additional;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u32);
} blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u32);
} asked SEC(".maps");

SEC("xdp")
int dns_filter(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	struct iphdr *ip;
	struct udphdr *udp;
	struct dns *dns;
	__u64 hash = 14695981039346656037ull;
	__u32 one = 1, *n;

	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	ip = take(&c, struct iphdr);
	if (!ip || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	udp = take(&c, struct udphdr);
	if (!udp || udp->dest != bpf_htons(53))
		return XDP_PASS;
	dns = take(&c, struct dns);
	if (!dns || !dns->questions)
		return XDP_DROP;
	for (int i = 0; i < 96; i++) {
		__u8 *letter = c.pos;

		if ((void *)(letter + 1) > c.end)
			return XDP_DROP;
		if (*letter == 0)
			break;
		hash = (hash ^ (*letter | 0x20)) * 1099511628211ull;
		c.pos = letter + 1;
	}
	n = bpf_map_lookup_elem(&asked, &hash);
	if (n)
		*n += 1;
	else
		bpf_map_update_elem(&asked, &hash, &one, BPF_ANY);
	n = bpf_map_lookup_elem(&blocked, &hash);
	if (!n)
		return XDP_PASS;
	*n += 1;
	return XDP_DROP;
}
