/* A layer 4 load balancer: virtual address and port to a backend, chosen by a hash of the flow, reached through IPIP. */
#include "common.h"

#define BACKENDS 16

struct vip {
	__be32 address;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

struct vip_info {
	__u32 first;
	__u32 count;
};

struct backend {
	__be32 address;
	__u8 mac[6];
	__u16 pad;
};

struct statistics {
	__u64 packets;
	__u64 bytes;
};

struct flow {
	__be32 source, destination;
	__be16 source_port, destination_port;
	__u32 protocol;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct vip);
	__type(value, struct vip_info);
} vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BACKENDS);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BACKENDS);
	__type(key, __u32);
	__type(value, struct statistics);
} statistics SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct flow);
	__type(value, __u32);
} flows SEC(".maps");

static __always_inline __u32 mixed(struct flow *f)
{
	__u32 h = 2166136261u;

#pragma unroll
	for (int i = 0; i < sizeof(*f) / 4; i++)
		h = (h ^ ((__u32 *)f)[i]) * 16777619u;
	return h ^ h >> 15;
}

static __always_inline int encapsulate(struct xdp_md *ctx, struct backend *to, struct flow *f)
{
	struct ethhdr *eth, *old;
	struct iphdr *outer;
	void *end;
	__u16 length = ctx->data_end - ctx->data - sizeof(*eth);

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*outer)))
		return XDP_DROP;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	outer = (void *)(eth + 1);
	old = (void *)eth + sizeof(*outer);
	if ((void *)(old + 1) > end || (void *)(outer + 1) > end)
		return XDP_DROP;
	__builtin_memcpy(eth->h_source, old->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, to->mac, ETH_ALEN);
	eth->h_proto = bpf_htons(ETH_P_IP);
	*(__u32 *)outer = bpf_htonl(0x45000000);
	outer->tot_len = bpf_htons(length + sizeof(*outer));
	outer->id = 0;
	outer->frag_off = 0;
	outer->ttl = 64;
	outer->protocol = IPPROTO_IPIP;
	outer->saddr = bpf_htonl(0x0a000001) ^ (f->source & bpf_htonl(0xff));
	outer->daddr = to->address;
	set_ip_checksum(outer);
	return XDP_TX;
}

SEC("xdp")
int balance(struct xdp_md *ctx)
{
	struct cursor c = packet(ctx);
	struct ethhdr *eth = take(&c, struct ethhdr);
	struct iphdr *ip;
	struct udphdr *l4;
	struct vip key = {};
	struct flow flow = {};
	__u32 chosen, *known;

	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	ip = take(&c, struct iphdr);
	if (!ip || ip->ihl != 5)
		return XDP_PASS;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	l4 = take(&c, struct udphdr);
	if (!l4)
		return XDP_DROP;
	key.address = ip->daddr;
	key.port = l4->dest;
	key.protocol = ip->protocol;
	struct vip_info *vip = bpf_map_lookup_elem(&vips, &key);
	if (!vip || !vip->count)
		return XDP_PASS;
	flow.source = ip->saddr;
	flow.destination = ip->daddr;
	flow.source_port = l4->source;
	flow.destination_port = l4->dest;
	flow.protocol = ip->protocol;
	known = bpf_map_lookup_elem(&flows, &flow);
	if (known) {
		chosen = *known;
	} else {
		chosen = vip->first + mixed(&flow) % vip->count;
		bpf_map_update_elem(&flows, &flow, &chosen, BPF_ANY);
	}
	struct backend *to = bpf_map_lookup_elem(&backends, &chosen);
	if (!to || !to->address)
		return XDP_DROP;
	struct statistics *s = bpf_map_lookup_elem(&statistics, &chosen);
	if (s) {
		s->packets++;
		s->bytes += bpf_ntohs(ip->tot_len);
	}
	return encapsulate(ctx, to, &flow);
}
