/* Functions that call functions, with arguments, results and stack of their own. */
#include "common.h"

struct tally {
	__u64 calls;
	__u64 sum;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

static noinline __u32 mix(__u32 a, __u32 b, __u32 c)
{
	a -= c;
	a ^= c << 4 | c >> 28;
	c += b;
	b -= a;
	b ^= a << 6 | a >> 26;
	return a + b ^ c;
}

static noinline __u32 digest(struct xdp_md *ctx, __u32 offset, __u32 seed)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 buffer[4] = {seed, seed + 1, seed + 2, seed + 3};

	offset &= 63;
	for (int i = 0; i < 16; i++) {
		__u8 *at = data + offset + i;

		if (at + 1 > end)
			break;
		buffer[i & 3] = mix(buffer[i & 3], *at, i);
	}
	return mix(buffer[0], buffer[1], mix(buffer[2], buffer[3], seed));
}

static noinline int tally(__u32 slot, __u64 value)
{
	struct tally *t = bpf_map_lookup_elem(&tallies, &slot);

	if (!t)
		return -1;
	t->calls++;
	t->sum += value;
	return t->calls & 0xff;
}

SEC("xdp")
int subprograms(struct xdp_md *ctx)
{
	__u32 first = digest(ctx, 0, 1), second = digest(ctx, 12, first), third = digest(ctx, 30, second);
	int n = tally(first & 3, second) + tally(second & 3, third) + tally(9, 1);

	return n & 1 ? XDP_DROP : (third & 1 ? XDP_PASS : XDP_TX);
}
