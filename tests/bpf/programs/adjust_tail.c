/* Cuts long packets, pads short ones, and tries what must not work. */
#include "common.h"

SEC("xdp")
int adjust_tail(struct xdp_md *ctx)
{
	int length = ctx->data_end - ctx->data;
	unsigned char *last;

	if (bpf_xdp_adjust_tail(ctx, 5000) == 0 || bpf_xdp_adjust_tail(ctx, -length) == 0)
		return XDP_ABORTED;
	if (length > 600) {
		if (bpf_xdp_adjust_tail(ctx, 600 - length))
			return XDP_DROP;
	} else if (length < 128) {
		if (bpf_xdp_adjust_tail(ctx, 128 - length))
			return XDP_DROP;
		last = (void *)(long)ctx->data;
		if (last + 128 > (unsigned char *)(long)ctx->data_end)
			return XDP_DROP;
		last[127] += 0x5a;
		return XDP_TX;
	}
	return XDP_PASS;
}
