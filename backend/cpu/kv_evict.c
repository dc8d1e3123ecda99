/* kv_evict.c: when tokens go, and which: the one path that every policy takes. Before a pass there
 * is room made for its tokens, behind the prompt's last one the prompt is cut to its budgets.
 *
 * Room is made before a token comes, not after: what a step attends to, itself included, is the
 * budget. By then the statistics are those of the step before, which is all there is anyway. */
#include <math.h>
#include <stdlib.h>

#include "backend/cpu/kv_store.h"

/* The resident tokens of a layer and head in order of position, and what a policy sees of them. */
struct gathered {
    struct kv_view view;
    uint32_t *pos, *place;
    float *sum[KV_N_SUMS], *part[2]; /* keys, values */
    float *score;
    bool *kept;
    uint32_t *order;
};

/* ---- views ---- */

struct pair {
    uint32_t pos, place;
};

static int by_pos(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    return (x->pos > y->pos) - (x->pos < y->pos);
}

static float element(const struct kv_store *s, size_t i)
{
    if (s->elem_bytes == sizeof(double))
        return (float)((const double *)s->kv)[i];
    return ((const float *)s->kv)[i];
}

static void gather_order(const struct kv_store *s, const struct kv_places *p, struct gathered *g)
{
    struct pair *pair = mem_alloc(p->n * sizeof(*pair) + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_pages * s->block_size; i++)
        if (p->pos[i] != KV_NOBODY && !p->masked[i])
            pair[n++] = (struct pair){p->pos[i], i};
    CHECK(n == p->n, "KV store: tokens are counted", "%u of %u", n, p->n);
    qsort(pair, n, sizeof(*pair), by_pos);
    g->pos = mem_alloc(n * sizeof(*g->pos) + 1);
    g->place = mem_alloc(n * sizeof(*g->place) + 1);
    for (uint32_t i = 0; i < n; i++) {
        g->pos[i] = pair[i].pos;
        g->place[i] = pair[i].place;
    }
    mem_free(pair);
}

/* Adds what is known of `heads` heads from `p` on, divided by their number: they have the same
 * tokens in the same places. */
static void gather_sums(const struct kv_store *s, const struct kv_places *p, uint32_t heads,
                        struct gathered *g)
{
    uint32_t n = g->view.n;
    for (uint32_t k = 0; k < KV_N_SUMS; k++) {
        if (p->sum[k] == NULL)
            continue;
        g->sum[k] = mem_alloc(n * sizeof(*g->sum[k]) + 1);
        for (uint32_t i = 0; i < n; i++) {
            double sum = 0;
            for (uint32_t h = 0; h < heads; h++) {
                CHECK(p[h].pos[g->place[i]] == g->pos[i], "KV store: heads of a layer agree",
                      "head %u, position %u", h, g->pos[i]);
                sum += p[h].sum[k][g->place[i]];
            }
            g->sum[k][i] = (float)(sum / heads);
        }
    }
    for (uint32_t part = 0; part < 2; part++) {
        if (!(s->stats & (part == 0 ? KV_STAT_KEYS : KV_STAT_VALUES)))
            continue;
        g->part[part] = mem_alloc((size_t)n * s->head_dim * sizeof(float) + 1);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t c = 0; c < s->head_dim; c++)
                g->part[part][(size_t)i * s->head_dim + c] =
                    element(s, kv_place_offset(s, p, g->place[i], part) + c);
    }
}

static void gathered_release(struct gathered *g)
{
    mem_free(g->pos);
    mem_free(g->place);
    for (uint32_t k = 0; k < KV_N_SUMS; k++)
        mem_free(g->sum[k]);
    mem_free(g->part[0]);
    mem_free(g->part[1]);
    mem_free(g->score);
    mem_free(g->kept);
    mem_free(g->order);
    *g = (struct gathered){0};
}

/* Tokens that are scored together: those of a head, or of all heads of a layer. */
static uint32_t heads_together(const struct kv_store *s)
{
    return s->rule->plan.scope == KV_PER_LAYER ? s->heads : 1;
}

/* Scores of the tokens of a layer and head (or of all its heads), protected ones INFINITY. `more`
 * tokens come next: those count as the last ones. */
static void score(const struct kv_store *s, const struct kv_sequence *q, uint32_t layer,
                  uint32_t head, uint32_t budget, uint32_t more, struct gathered *g)
{
    const struct kv_rule *r = s->rule;
    const struct kv_places *p = kv_places_at(q, s, layer, head);
    *g = (struct gathered){0};
    gather_order(s, p, g);
    g->view = (struct kv_view){
        .layer = layer,
        .head = head,
        .n = p->n,
        .seen = q->seen,
        .prompt = q->prompt,
        .keep = budget,
        .group = s->group,
        .head_dim = s->head_dim,
        .sequence = q->number,
        .pos = g->pos,
    };
    gather_sums(s, p, heads_together(s), g);
    g->view.colsum = g->sum[KV_SUM_COL];
    g->view.colsum2 = g->sum[KV_SUM_COL2];
    g->view.lastrow = g->sum[KV_SUM_LAST];
    g->view.window = g->sum[KV_SUM_WINDOW];
    g->view.window2 = g->sum[KV_SUM_WINDOW2];
    g->view.key = g->part[0];
    g->view.value = g->part[1];
    g->score = mem_alloc(p->n * sizeof(*g->score) + 1);
    g->kept = mem_alloc(p->n * sizeof(*g->kept) + 1);
    g->order = mem_alloc(p->n * sizeof(*g->order) + 1);
    r->ops->score(r->self, &g->view, g->score);
    kv_protect(g->pos, p->n, r->plan.sink, kv_rule_recent(r, budget), q->seen + more, g->score);
}

/* ---- victims ---- */

static void drop_unkept(struct kv_store *s, struct kv_places *p, uint32_t heads,
                        const struct gathered *g, bool whole_pages)
{
    uint32_t n = 0;
    uint32_t *victim = mem_alloc(g->view.n * sizeof(*victim) + 1);
    for (uint32_t i = 0; i < g->view.n; i++)
        if (!g->kept[i])
            victim[n++] = g->place[i];
    for (uint32_t h = 0; h < heads && n > 0; h++)
        kv_places_drop(s, &p[h], victim, n, whole_pages);
    mem_free(victim);
}

/* Whole pages go, the lowest mean first, while more than `keep` tokens are left. Pages that have
 * room, or a token that is protected, stay. */
static void choose_pages(const struct kv_store *s, const struct kv_places *p, struct gathered *g,
                         uint32_t keep)
{
    uint32_t n = p->n_pages, left = g->view.n;
    double *sum = mem_alloc(n * sizeof(*sum) + 1);
    uint32_t *count = mem_alloc(n * sizeof(*count) + 1);
    for (uint32_t i = 0; i < g->view.n; i++) {
        g->kept[i] = true;
        sum[g->place[i] / s->block_size] += (double)g->score[i];
        count[g->place[i] / s->block_size]++;
    }
    while (left > keep) {
        uint32_t worst = n;
        for (uint32_t k = 0; k < n; k++)
            if (count[k] == s->block_size && isfinite(sum[k]) &&
                (worst == n || sum[k] < sum[worst]))
                worst = k;
        if (worst == n)
            break;
        for (uint32_t i = 0; i < g->view.n; i++)
            if (g->place[i] / s->block_size == worst)
                g->kept[i] = false;
        left -= s->block_size;
        count[worst] = 0;
    }
    mem_free(sum);
    mem_free(count);
}

/* Cuts what was scored to `keep` tokens. */
static void cut(struct kv_store *s, struct kv_sequence *q, struct gathered *g, uint32_t keep,
                bool pages)
{
    struct kv_places *p = kv_places_at(q, s, g->view.layer, g->view.head);
    if (pages)
        choose_pages(s, p, g, keep);
    else
        (void)kv_choose(g->score, g->view.n, s->rule->plan.marks ? UINT32_MAX : keep, g->kept,
                        g->order);
    drop_unkept(s, p, heads_together(s), g, pages);
}

/* ---- when ---- */

static bool is_due(const struct kv_store *s, const struct kv_sequence *q, const struct kv_places *p,
                   bool decodes)
{
    const struct kv_plan *plan = &s->rule->plan;
    if (!decodes)
        return p->n > p->budget;
    if (plan->marks)
        return q->seen > plan->sink && (q->seen - plan->sink) % MAX(plan->slack, 1) == 0;
    return p->n >= (uint64_t)p->budget + plan->slack;
}

/* Before a chunk of the prompt, or a token that is decoded. */
static void make_room(struct kv_store *s, struct kv_sequence *q, bool decodes)
{
    uint32_t room = decodes && s->rule->plan.slack == 0;
    for (uint32_t l = 0; l < s->layers; l++)
        for (uint32_t h = 0; h < s->heads; h += heads_together(s)) {
            const struct kv_places *p = kv_places_at(q, s, l, h);
            struct gathered g;
            if (p->budget == UINT32_MAX || !is_due(s, q, p, decodes))
                continue;
            score(s, q, l, h, p->budget, decodes ? 1 : 0, &g);
            cut(s, q, &g, p->budget - room, decodes && s->rule->plan.pages);
            gathered_release(&g);
        }
}

static void set_budgets(struct kv_store *s, struct kv_sequence *q, const struct kv_budget_ask *ask)
{
    uint32_t n = s->layers * s->heads;
    uint32_t *tokens = mem_alloc(n * sizeof(*tokens));
    kv_rule_budgets(s->rule, q->prompt, ask, tokens);
    for (uint32_t i = 0; i < n; i++)
        q->places[i].budget = tokens[i];
    mem_free(tokens);
}

/* Over the window's rows and query heads, summed over tokens and heads of the layer. */
static double layer_variance(const struct kv_store *s, const struct kv_sequence *q, uint32_t layer)
{
    double rows = MIN(s->rule->plan.window, q->prompt) * (double)s->group, sum = 0;
    for (uint32_t h = 0; h < s->heads; h++) {
        const struct kv_places *p = kv_places_at(q, s, layer, h);
        for (uint32_t i = 0; i < p->n_pages * s->block_size && p->sum[KV_SUM_WINDOW]; i++) {
            double mean = p->sum[KV_SUM_WINDOW][i] / rows;
            if (p->pos[i] != KV_NOBODY && !p->masked[i])
                sum += p->sum[KV_SUM_WINDOW2][i] / rows - mean * mean;
        }
    }
    return sum;
}

/* What the allocator may see. Scores are those for the mean budget. */
static void ask_budgets(struct kv_store *s, struct kv_sequence *q)
{
    const struct kv_rule *r = s->rule;
    uint32_t n = s->layers * s->heads, mean = kv_rule_mean(r, q->prompt);
    bool scores = r->budget != NULL && r->budget->uses_scores && r->plan.scope == KV_PER_HEAD;
    struct gathered *g = mem_alloc(n * sizeof(*g));
    const float **score_of = mem_alloc(n * sizeof(*score_of));
    double *entropy = mem_alloc(s->layers * sizeof(*entropy));
    double *variance = mem_alloc(s->layers * sizeof(*variance));
    struct kv_budget_ask ask = {.length = q->places[0].n, .entropy = entropy, .variance = variance};
    for (uint32_t i = 0; i < n; i++) {
        if (scores)
            score(s, q, i / s->heads, i % s->heads, mean, 0, &g[i]);
        score_of[i] = g[i].score;
        entropy[i / s->heads] += q->places[i].entropy;
        ask.length = MIN(ask.length, q->places[i].n); /* they differ where chunks were cut */
    }
    for (uint32_t l = 0; l < s->layers; l++)
        variance[l] = layer_variance(s, q, l);
    ask.score = scores ? score_of : NULL;
    ask.entropy = s->stats & KV_WINDOW ? entropy : NULL;
    set_budgets(s, q, &ask);
    for (uint32_t i = 0; i < n; i++)
        gathered_release(&g[i]);
    mem_free(g);
    mem_free(score_of);
    mem_free(entropy);
    mem_free(variance);
}

bool kv_begin(struct kv_store *s, uint32_t sequence, uint32_t context, uint32_t n, uint32_t prompt,
              struct err *e)
{
    struct kv_sequence *q = &s->sequence[sequence];
    const struct kv_plan *plan = &s->rule->plan;
    bool decodes = context >= prompt;
    CHECK(context == q->seen && n > 0 && (decodes ? n == 1 : context + n <= prompt),
          "device: a sequence goes on where it was", "%u of %u tokens, %u more at %u", q->seen,
          prompt, n, context);
    if (context == 0) {
        q->number = s->n_begun++;
        q->prompt = prompt;
        set_budgets(s, q, NULL);
    }
    if (context > 0 && (decodes ? plan->decodes : plan->chunks))
        make_room(s, q, decodes);
    q->n_new = n;
    q->place =
        mem_reserve(q->place, &q->place_cap, (size_t)s->layers * s->heads * n, sizeof(*q->place));
    for (uint32_t k = 0; k < s->layers * s->heads; k++)
        for (uint32_t i = 0; i < n; i++)
            if (!kv_places_add(s, &q->places[k], context + i, &q->place[(size_t)k * n + i]))
                return err_set(e, "device: no KV page is left of %llu; give it more",
                               (unsigned long long)s->config.n_pages);
    q->seen += n;
    return true;
}

void kv_end(struct kv_store *s, uint32_t sequence)
{
    struct kv_sequence *q = &s->sequence[sequence];
    if (q->seen != q->prompt || !s->rule->plan.evicts)
        return;
    ask_budgets(s, q);
    for (uint32_t l = 0; l < s->layers; l++)
        for (uint32_t h = 0; h < s->heads; h += heads_together(s)) {
            const struct kv_places *p = kv_places_at(q, s, l, h);
            struct gathered g;
            if (p->budget == UINT32_MAX || (p->n <= p->budget && !s->rule->plan.marks))
                continue;
            score(s, q, l, h, p->budget, 0, &g);
            cut(s, q, &g, p->budget, false);
            gathered_release(&g);
        }
}
