/* commands.h: the subcommands. Each parses its own options (argp), does its work and returns the
 * exit code: 0 done, 1 done with a negative verdict, 2 not done (then e says why and main prints
 * it). */
#ifndef EXPERIMENTS_COMMANDS_H
#define EXPERIMENTS_COMMANDS_H

#include "sim/base.h"

struct command {
    const char *name, *doc;
    int (*run)(int argc, char **argv, struct err *e);
};

int cmd_run(int argc, char **argv, struct err *e);
int cmd_list(int argc, char **argv, struct err *e);
int cmd_trace(int argc, char **argv, struct err *e);
int cmd_profile(int argc, char **argv, struct err *e);
int cmd_calibrate(int argc, char **argv, struct err *e);
int cmd_validate(int argc, char **argv, struct err *e);
int cmd_sweep(int argc, char **argv, struct err *e);
int cmd_merge(int argc, char **argv, struct err *e);
int cmd_check(int argc, char **argv, struct err *e);
int cmd_capacity(int argc, char **argv, struct err *e);
int cmd_quality(int argc, char **argv, struct err *e);
int cmd_generate(int argc, char **argv, struct err *e);
int cmd_report(int argc, char **argv, struct err *e);

#endif
