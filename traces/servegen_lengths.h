/* servegen_lengths.h: lengths of ServeGen's clients: quantiles per client and window of 6 h. */
#ifndef TRACES_SERVEGEN_LENGTHS_H
#define TRACES_SERVEGEN_LENGTHS_H

#include "sim/names.h"
#include "sim/rng.h"

struct lengths_client;

struct lengths {
    struct names clients;
    struct lengths_client *of; /* owned: by the client's id */
    size_t n_clients, client_cap;
    double *value; /* owned: quantiles, row after row */
    size_t n_values, value_cap;
};

bool lengths_open(struct lengths *l, const char *path, struct err *e) NODISCARD;
void lengths_release(struct lengths *l);

/* The id of a client with lengths; NAMES_NONE: it has none. */
uint32_t lengths_find(const struct lengths *l, const char *client);
/* The id of any client with lengths; NAMES_NONE: nobody has. */
uint32_t lengths_any(const struct lengths *l, struct rng *rng);

/* Draws from the window that t_s lies in; where the client has none there, from the one before it,
 * else the first. */
void lengths_draw(const struct lengths *l, uint32_t client, uint64_t t_s, struct rng *rng,
                  uint32_t *prompt_tokens, uint32_t *output_tokens);

#endif
