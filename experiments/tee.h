/* tee.h: a sink that hands everything on to another one and remembers what `tandem run` prints:
 * the summary, and how many requests were refused for which reason. */
#ifndef EXPERIMENTS_TEE_H
#define EXPERIMENTS_TEE_H

#include <jansson.h>

#include "experiments/recording.h"

struct tee {
    struct sink to;
    json_t *summary;                                        /* object: metric -> number or null */
    json_t *refused;                                        /* object: reason -> requests */
    struct recording_file *replayed;                        /* what must come out again [NULL] */
    void (*on_request)(void *, const struct request_row *); /* sees each row, too; NULL: nobody */
    void *on_request_self;
};

void tee_init(struct tee *t, struct sink to);
void tee_release(struct tee *t);
struct sink tee_sink(struct tee *t);

#endif
