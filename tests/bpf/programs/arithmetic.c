/* Division, remainder, shifts and comparisons of all widths and signs, over what the packet holds. */
#include "common.h"

__u64 digest;

SEC("xdp")
int arithmetic(struct xdp_md *ctx)
{
	__u32 *word = (void *)(long)ctx->data;
	__u64 a, b, d = digest;
	__s64 s, t;
	__u32 x, y;
	__s32 p, q;

	if ((void *)(word + 8) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	x = word[0] ^ word[3];
	y = word[1] * word[2];
	a = (__u64)x << 32 | y;
	b = (__u64)word[4] << 16 ^ word[5];
	p = x;
	q = y;
	s = a;
	t = b - a;
	d += x / (y & 0xfff) + x % (y | 1);
	d ^= a / (b | 1) + a % (b & 0xff);
	d = d << (x & 63) | d >> (64 - (x & 63) & 63);
	d += (x << (y & 31)) + (x >> (y & 31)) + (p >> (q & 31)) + (s >> (y & 63));
	d ^= (__u64)((__s16)word[6] * (__s8)word[7]);
	if (p < q)
		d += 3;
	if (s > t)
		d ^= 5;
	if (x > y)
		d = -d;
	if (p >= -5 && q <= 100)
		d = ~d;
	d += bpf_htons(word[6]) + bpf_htonl(word[7]) + bpf_cpu_to_be64(a);
	d *= 0x9e3779b97f4a7c15ull;
	digest = d;
	word[6] = d;
	word[7] = d >> 32;
	return d >> 60 & 1 ? XDP_TX : XDP_PASS;
}
