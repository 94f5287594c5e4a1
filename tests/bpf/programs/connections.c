/* TCP connections: SYN makes an entry, data counts, FIN and RST remove it; every update flag is used. */
#include "common.h"

struct connection {
	__be32 source, destination;
	__be16 source_port, destination_port;
};

struct state {
	__u32 packets;
	__u16 flags;
	__u8 opened;
	__u8 refused;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 24);
	__type(key, struct connection);
	__type(value, struct state);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct connection);
	__type(value, __u32);
} seen SEC(".maps");

__u32 errors[64];

static __always_inline int noted(long error)
{
	errors[-error & 63]++;
	return error ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int connections_(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	struct connection key = {};
	struct state fresh = {.packets = 1, .opened = 1}, *state;
	struct tcphdr *tcp;
	struct iphdr *ip;
	__u32 one = 1, *n;

	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	ip = take(&c, struct iphdr);
	if (!ip || ip->protocol != IPPROTO_TCP || ip->ihl != 5)
		return XDP_PASS;
	tcp = take(&c, struct tcphdr);
	if (!tcp)
		return XDP_DROP;
	key.source = ip->saddr;
	key.destination = ip->daddr;
	key.source_port = tcp->source;
	key.destination_port = tcp->dest;
	n = bpf_map_lookup_elem(&seen, &key);
	if (n)
		*n += 1;
	else
		bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
	if (tcp->syn)
		return noted(bpf_map_update_elem(&connections, &key, &fresh, BPF_NOEXIST));
	if (tcp->fin || tcp->rst)
		return noted(bpf_map_delete_elem(&connections, &key));
	state = bpf_map_lookup_elem(&connections, &key);
	if (!state) {
		if (tcp->urg)
			return noted(bpf_map_update_elem(&connections, &key, &fresh, BPF_EXIST));
		return noted(bpf_map_update_elem(&connections, &key, &fresh, tcp->psh ? BPF_ANY : 7));
	}
	state->packets++;
	state->flags |= ((__u16 *)tcp)[6];
	state->bytes += bpf_ntohs(ip->tot_len);
	return XDP_TX;
}
