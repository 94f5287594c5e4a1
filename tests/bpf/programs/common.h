/* What the test programs share: headers of packets, and a cursor that never leaves one. */
#ifndef COMMON_H
#define COMMON_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define noinline __attribute__((noinline))

#define ICMP_ECHOREPLY 0
#define ICMP_ECHO 8

struct icmphdr { /* <linux/icmp.h> wants the headers of a C library */
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be16 id;
	__be16 sequence;
};

struct vlan_hdr {
	__be16 tci;
	__be16 proto;
};

struct cursor {
	void *pos;
	void *end;
};

static __always_inline struct cursor packet(struct xdp_md *ctx)
{
	return (struct cursor){(void *)(long)ctx->data, (void *)(long)ctx->data_end};
}

/* The next `type` of the packet, or NULL when the packet ends before it does. */
#define take(cur, type)                                                                                                \
	({                                                                                                             \
		type *_p = (cur)->pos;                                                                                 \
		_p = (void *)(_p + 1) <= (cur)->end ? _p : 0;                                                          \
		if (_p)                                                                                                \
			(cur)->pos = _p + 1;                                                                           \
		_p;                                                                                                    \
	})

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline void set_ip_checksum(struct iphdr *ip)
{
	__u32 sum = 0;
	__u16 *word = (__u16 *)ip;

	ip->check = 0;
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += word[i];
	ip->check = fold(sum);
}

static __always_inline void swap_macs(struct ethhdr *eth)
{
	unsigned char kept[ETH_ALEN];

	__builtin_memcpy(kept, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, kept, ETH_ALEN);
}

char _license[] SEC("license") = "GPL";

#endif
