/* options.h: argp, with errors as the program's own: one line, exit code 2. */
#ifndef EXPERIMENTS_OPTIONS_H
#define EXPERIMENTS_OPTIONS_H

#include <argp.h>

#include "sim/base.h"

/* Parses argv[1..argc-1] with the argp's parser, which gets `input` (argp_state.input) and may fail
 * with err_set and EINVAL. `command` is what usage lines call it: "tandem run"; messages begin
 * without the "tandem". Arguments that are no options go to the parser, too; ARGP_ERR_UNKNOWN
 * refuses them. --help prints and exits 0. */
bool options_parse(const struct argp *argp, const char *command, int argc, char **argv, void *input,
                   struct err *e) NODISCARD;

/* The number `arg` of the option --name of `command` ("run"), which must be from min to max. */
bool options_number(const char *command, const char *name, const char *arg, double min, double max,
                    double *out, struct err *e) NODISCARD;

#endif
