/* A chain of programs: the first sorts, the second and third look closer, and the last counts what came through. */
#include "common.h"

enum { IPV4, IPV6, LAST, MISSING };

int handle_ipv4(struct xdp_md *ctx);
int handle_ipv6(struct xdp_md *ctx);
int handle_last(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} stages SEC(".maps") = {
	.values = {
		[IPV4] = (void *)&handle_ipv4,
		[IPV6] = (void *)&handle_ipv6,
		[LAST] = (void *)&handle_last,
	},
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} passed SEC(".maps");

static __always_inline void count(__u32 stage)
{
	__u64 *n = bpf_map_lookup_elem(&passed, &stage);

	if (n)
		*n += 1;
}

SEC("xdp")
int sort(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);

	count(0);
	if (!eth)
		return XDP_ABORTED;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		bpf_tail_call(ctx, &stages, IPV4);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		bpf_tail_call(ctx, &stages, IPV6);
	else
		bpf_tail_call(ctx, &stages, MISSING);
	count(4);
	return XDP_DROP;
}

SEC("xdp/ipv4")
int handle_ipv4(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	struct iphdr *ip = take(&c, struct iphdr);

	count(1);
	if (!eth || !ip || ip->ttl <= 1)
		return XDP_DROP;
	ip->ttl--;
	set_ip_checksum(ip);
	bpf_tail_call(ctx, &stages, LAST);
	return XDP_ABORTED;
}

SEC("xdp/ipv6")
int handle_ipv6(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	struct ipv6hdr *ip6 = take(&c, struct ipv6hdr);

	count(2);
	if (!eth || !ip6 || ip6->hop_limit <= 1)
		return XDP_DROP;
	ip6->hop_limit--;
	/* calls itself, until the kernel says that it is enough */
	if (ip6->hop_limit > 32)
		bpf_tail_call(ctx, &stages, IPV6);
	bpf_tail_call(ctx, &stages, LAST);
	return XDP_ABORTED;
}

SEC("xdp/last")
int handle_last(struct xdp_md *ctx)
{
	count(3);
	return XDP_TX;
}
