/* A token bucket per source: 12 packets at once, then one per hour of bpf_ktime_get_ns. */
#include "common.h"

#define BURST 12
#define PERIOD_NS (3600ull * 1000000000)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} tokens SEC(".maps");

/* Kept apart, because no two clocks agree. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} refilled_at SEC(".maps");

SEC("xdp_rate_limiter")
int rate_limit(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	__u64 now = bpf_ktime_get_ns(), full = BURST - 1;

	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	struct iphdr *ip = take(&c, struct iphdr);
	if (!ip)
		return XDP_DROP;
	__u32 source = ip->saddr;
	__u64 *left = bpf_map_lookup_elem(&tokens, &source);
	__u64 *since = bpf_map_lookup_elem(&refilled_at, &source);
	if (!left || !since) {
		bpf_map_update_elem(&tokens, &source, &full, BPF_ANY);
		bpf_map_update_elem(&refilled_at, &source, &now, BPF_ANY);
		return XDP_PASS;
	}
	__u64 gained = (now - *since) / PERIOD_NS;
	if (gained) {
		*left = *left + gained > BURST ? BURST : *left + gained;
		*since += gained * PERIOD_NS;
	}
	if (!*left)
		return XDP_DROP;
	*left -= 1;
	return XDP_PASS;
}
