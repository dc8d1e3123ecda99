"""PyTorch's attention (FlashAttention and cuDNN) at the sizes of tests/gpu/bench.c: 32 query heads
on 8 KV heads of 128, bf16, random inputs, medians of 21 by CUDA events. Contiguous K and V: our
kernels read theirs through block tables."""

import statistics

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

RUNS = 21


def median_ns(run):
    events = []
    for _ in range(3):
        run(0)
    for i in range(RUNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run(i)
        end.record()
        events.append((begin, end))
    torch.cuda.synchronize()
    return statistics.median(b.elapsed_time(e) for b, e in events) * 1e6


def inputs(sequences, queries, context):
    make = lambda heads, n: torch.randn(sequences, heads, n, 128, device="cuda", dtype=torch.bfloat16)
    return make(32, queries), make(8, context), make(8, context)


def measure(name, backend, sequences, queries, context):
    sets = [inputs(sequences, queries, context) for _ in range(2)]
    causal = queries > 1

    def run(i):
        q, k, v = sets[i % 2]
        scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)

    try:
        with sdpa_kernel(backend):
            ns = median_ns(run)
    except RuntimeError as why:
        print(f"torch {name}: {str(why).splitlines()[0]}")
        return
    if causal:
        rate = 4 * 0.5 * queries * context * 128 * 32 * sequences / ns / 1e3
        print(f"torch {name}, prefill {sequences} x {queries}: {ns / 1e3:.1f} us, {rate:.0f} TFLOP/s")
    else:
        rate = 2 * 2 * 8 * 128 * sequences * context / ns / 1e3
        print(f"torch {name}, decode {sequences} x {context}: {ns / 1e3:.1f} us, {rate:.2f} TB/s")


for label, which in (("flash", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)):
    measure(label, which, 1, 8192, 8192)
    measure(label, which, 64, 1, 8192)
