/* copies.c: KV blocks to the host and back, beside the forward passes, in order of submission. The
 * forward passes are over when a copy is submitted (they return when they are), so the copy needs
 * to wait for none. */
#include "backend/cuda/engine.h"

static bool wait_for(struct engine *g, uint64_t ticket, struct err *e)
{
    if (!cuda_ok(cudaEventSynchronize(g->copied[ticket % ENGINE_COPIES]), "copying blocks", e))
        return false;
    g->copies_done = ticket;
    return true;
}

bool engine_copy(struct engine *g, enum copy_direction direction, const uint32_t *block,
                 const uint32_t *host, uint32_t n, uint64_t *ticket, struct err *e)
{
    if (g->copies - g->copies_done == ENGINE_COPIES && !wait_for(g, g->copies_done + 1, e))
        return false;
    for (uint32_t i = 0; i < n;) {
        struct block_pairs pairs = {0};

        for (; pairs.n < COPY_BLOCKS && i < n; pairs.n++, i++) {
            CHECK(block[i] < g->n_blocks && host[i] < g->n_host_blocks,
                  "copied blocks exist on both sides", "block %u of %u, host block %u of %u",
                  block[i], g->n_blocks, host[i], g->n_host_blocks);
            pairs.device[pairs.n] = block[i];
            pairs.host[pairs.n] = host[i];
        }
        if (!cuda_ok(copy_blocks(g->copy_stream, direction, g->kv, g->host_kv, &pairs,
                                 g->arch.layers, g->n_blocks, engine_layer_block_bytes(g)),
                     "copying blocks", e))
            return false;
    }
    if (!cuda_ok(cudaEventRecord(g->copied[(g->copies + 1) % ENGINE_COPIES], g->copy_stream),
                 "copying blocks", e))
        return false;
    *ticket = ++g->copies;
    return true;
}

bool engine_copies_done(struct engine *g, uint64_t seen, bool wait, uint64_t *done, struct err *e)
{
    CHECK(seen <= g->copies, "only copies that were submitted were seen", "%llu of %llu",
          (unsigned long long)seen, (unsigned long long)g->copies);
    if (wait && g->copies_done <= seen && seen < g->copies && !wait_for(g, seen + 1, e))
        return false;
    while (g->copies_done < g->copies) {
        uint64_t ticket = g->copies_done + 1;
        cudaError_t rc = cudaEventQuery(g->copied[ticket % ENGINE_COPIES]);

        if (rc == cudaErrorNotReady)
            break;
        if (!cuda_ok(rc, "copying blocks", e))
            return false;
        g->copies_done = ticket;
    }
    *done = g->copies_done;
    return true;
}
