/* Sends packets to devices by the last byte of their destination; the flags decide what is not in the map. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} by_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} by_number SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} sent SEC(".maps");

SEC("xdp")
int to_device(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	__u32 key, slot;
	__u64 *n;

	if (!eth)
		return XDP_ABORTED;
	key = eth->h_dest[5] & 15;
	slot = key & 7;
	n = bpf_map_lookup_elem(&sent, &slot);
	if (n)
		*n += 1;
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return bpf_redirect_map(&by_number, key, XDP_TX);
	if (eth->h_proto == bpf_htons(ETH_P_ARP))
		return bpf_redirect(ctx->ingress_ifindex, key & 1);
	if (eth->h_source[5] & 1)
		return bpf_redirect_map(&by_index, key, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
	if (eth->h_source[5] & 2)
		return bpf_redirect_map(&by_index, key, 1ull << 40);
	return bpf_redirect_map(&by_index, key, XDP_PASS);
}
