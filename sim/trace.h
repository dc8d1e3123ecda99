/* trace.h: the interface of trace readers and generators: pull, one record at a time.
 *
 * Contract of next(): fills *rec and returns TRACE_REC; or TRACE_END; or TRACE_ERR with the message
 * in err ("FILE:LINE: what; what to do"). Pointers in *rec stay valid until the next call. `seq`
 * is the 0-based data row. Timed records' arrivals never decrease. A record that follows another
 * (after != TRACE_NO_PARENT, always a smaller seq) has no arrival of its own; it arrives delay_ns
 * after that one has finished. After END or ERR, next() is not called again. */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include "sim/arena.h"
#include "sim/content.h"
#include "sim/names.h"
#include "sim/params.h"

#define TRACE_NO_PARENT UINT64_MAX
#define TRACE_NO_TURN UINT32_MAX
#define TRACE_SESSION_MAX 63 /* bytes of a session's name */

struct trace_rec {
    uint64_t seq;
    uint64_t line; /* in the file, 1-based; for messages */
    ns_t arrival_at;
    uint64_t after; /* TRACE_NO_PARENT: timed */
    ns_t delay_ns;
    ns_t elapsed_ns;           /* arrival to finish as recorded; 0: not said */
    uint32_t prompt_tokens;    /* history included */
    uint32_t output_tokens;    /* the true length; >= 1 unless failed */
    uint32_t max_tokens;       /* what the client asked for; 0: not said */
    uint32_t predicted_tokens; /* the trace's own prediction; 0: none */
    uint32_t tenant;           /* id in trace_env.tenants; a reader gives NAMES_NONE where nothing
                                  is said, and trace_open's stack puts a tenant there */
    uint32_t slo_class;        /* id in trace_env.classes, NAMES_NONE: not said */
    uint32_t turn;             /* TRACE_NO_TURN: not said */
    int32_t priority;          /* lower first */
    const char *session;       /* NULL: none */
    bool failed;               /* failed when it was recorded: counted, not replayed */
    bool continues;            /* the output goes on in the last segment's stream */
    uint32_t n_segments;       /* 0: shares nothing */
    const struct segment *segment;
};

enum trace_status { TRACE_REC, TRACE_END, TRACE_ERR };

/* Shared by reader, engine and sink of one run; outlives the open trace. */
struct trace_env {
    struct names *tenants, *classes;
    uint64_t seed;
    const struct params *params;
};

struct trace_traits {
    bool has_hashes;       /* records carry segments of their own */
    bool has_after;        /* records may follow others: the engine reads ahead */
    bool wall_clock;       /* time 0 is the first record */
    uint32_t block_tokens; /* the trace's own block, 0: none */
    char made_up[160];     /* what the reader drew and how, for the run's row; "" = nothing */
};

struct trace_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    /* How well the first bytes of a file (decompressed, NUL-terminated, at most 4 KiB) look like
     * this format: 0 = no, 100 = certainly. NULL: never detected. */
    int (*detect)(const char *head);
    /* `path`: a file, plain or gzip; or a generator's SPEC. NULL and err on failure. */
    void *(*open)(const char *path, const struct trace_env *, struct trace_traits *, struct err *);
    enum trace_status (*next)(void *, struct trace_rec *, struct err *);
    void (*close)(void *);
};

/* A source in use: what the cluster pulls from. Overlays wrap one in another. */
struct trace_source {
    const struct trace_ops *ops;
    void *self;
    struct trace_traits traits;
    const char *format; /* name of the reader at the bottom of the stack */
};

#endif
