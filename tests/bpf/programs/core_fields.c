/* Fields reached through CO-RE relocations, of structures that are the same everywhere. */
#define __VMLINUX_H__ /* the structures below stand for those of a vmlinux.h */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

#define relocated __attribute__((preserve_access_index))

struct ethhdr {
	unsigned char h_dest[6];
	unsigned char h_source[6];
	__be16 h_proto;
} relocated;

struct iphdr {
	__u8 ihl : 4, version : 4;
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__be32 saddr;
	__be32 daddr;
} relocated;

__u32 per_tos[256];

SEC("xdp")
int core_fields(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)eth + 14;

	if ((void *)ip > end)
		return XDP_DROP;
	if (eth->h_proto != bpf_htons(0x0800) || (void *)ip + 20 > end)
		return XDP_PASS;
	if (!bpf_core_field_exists(ip->tos))
		return XDP_ABORTED;
	per_tos[ip->tos]++;
	return bpf_ntohs(ip->tot_len) > 500 ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
