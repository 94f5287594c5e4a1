/* Maps the old way, in section "maps", and a program in a section of no particular name. */
#include "common.h"

struct bpf_map_def {
	unsigned int type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def SEC("maps") counts = {BPF_MAP_TYPE_ARRAY, 4, 8, 16, 0};
struct bpf_map_def SEC("maps") macs = {BPF_MAP_TYPE_HASH, 6, 4, 512, 0};

SEC("prog")
int legacy(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	__u32 slot, one = 1, *n;
	__u8 mac[6];
	__u64 *count;

	if (!eth)
		return XDP_DROP;
	slot = eth->h_dest[5] & 31;
	count = bpf_map_lookup_elem(&counts, &slot);
	if (count)
		__sync_fetch_and_add(count, 1);
	__builtin_memcpy(mac, eth->h_source, 6);
	n = bpf_map_lookup_elem(&macs, mac);
	if (n)
		*n += 1;
	else
		bpf_map_update_elem(&macs, mac, &one, BPF_ANY);
	return count ? XDP_PASS : XDP_DROP;
}
