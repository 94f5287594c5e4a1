/* Configuration in .rodata, state in .data and .bss. */
#include "common.h"

const volatile __u32 minimum = 60;
const volatile __u16 wanted_ports[4] = {53, 80, 443, 8080};
static const volatile char greeting[] = "netemu";

__u64 seen = 1000;
__u32 last_length;
static __u64 histogram[16];
static __u8 last_source[ETH_ALEN] = {1, 2, 3, 4, 5, 6};
__u64 matches[4];

SEC("xdp")
int globals(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	__u32 length = ctx->data_end - ctx->data;
	__u8 differ = 0;
	int i;

	seen++;
	histogram[length / 64 & 15] += greeting[length & 3];
	last_length = length;
	if (!eth)
		return XDP_ABORTED;
	if (length < minimum)
		return XDP_DROP;
#pragma unroll
	for (i = 0; i < ETH_ALEN; i++)
		differ |= last_source[i] ^ eth->h_source[i];
	if (!differ)
		matches[0]++;
	__builtin_memcpy(last_source, eth->h_source, ETH_ALEN);
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = take(&c, struct iphdr);
		struct udphdr *l4 = take(&c, struct udphdr);

		if (ip && l4 && (ip->protocol == IPPROTO_UDP || ip->protocol == IPPROTO_TCP))
#pragma unroll
			for (i = 0; i < 4; i++)
				if (bpf_ntohs(l4->dest) == wanted_ports[i])
					matches[i]++;
	}
	return seen & 1 ? XDP_PASS : XDP_TX;
}
