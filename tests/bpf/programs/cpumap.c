/* Spreads flows over CPUs. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} chosen SEC(".maps");

SEC("xdp")
int to_cpu(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	__u32 cpu = 0;
	__u64 one = 1, *n;

	if (!eth)
		return XDP_ABORTED;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = take(&c, struct iphdr);

		if (ip)
			cpu = (ip->saddr ^ ip->daddr) * 2654435761u >> 29;
	}
	n = bpf_map_lookup_elem(&chosen, &cpu);
	if (n)
		*n += 1;
	else
		bpf_map_update_elem(&chosen, &cpu, &one, BPF_ANY);
	return bpf_redirect_map(&cpus, cpu, XDP_DROP);
}
