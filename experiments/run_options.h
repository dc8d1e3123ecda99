/* run_options.h: the options of `tandem run`, as a child of the argp of every subcommand that
 * simulates: most set a key of the configuration, some say what becomes of the results. */
#ifndef EXPERIMENTS_RUN_OPTIONS_H
#define EXPERIMENTS_RUN_OPTIONS_H

#include <argp.h>

#include "experiments/config.h"

/* Numbers of these options; a parent's own begin at RUN_OPTION_END. */
enum { RUN_OPTION_FIRST = 256, RUN_OPTION_END = RUN_OPTION_FIRST + 64 };

struct run_options {
    struct run_setting *setting; /* in the order of the command line */
    size_t n, cap;
    const char *db; /* NULL: not given */
    bool no_requests, steps, json, quiet;
    struct err *e;
};

/* Its input is a struct run_options with `e` set: at ARGP_KEY_INIT the parent puts it into
 * state->child_inputs. */
extern const struct argp run_options_argp;

/* Sets the keys (files, then options, then --set: what comes later wins). */
bool run_options_set(const struct run_options *o, struct config *c, struct err *e) NODISCARD;
/* The same, then what a profile says, and resolves the configuration. */
bool run_options_apply(const struct run_options *o, struct config *c, struct err *e) NODISCARD;
void run_options_release(struct run_options *o);

#endif
