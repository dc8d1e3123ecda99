/* main.c: `tandem SUBCOMMAND ...`: finds the subcommand, prints its error once, and turns the
 * outcome into the exit code (commands.h). */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "experiments/commands.h"
#include "experiments/version.h"
#include "sim/nearest.h"

static const struct command commands[] = {
    {"run", "simulate one configuration on one trace and store the results", cmd_run},
    {"sweep", "run every point of an experiment", cmd_sweep},
    {"merge", "copy the runs of several databases into one", cmd_merge},
    {"check", "hold a database or an experiment against a baseline", cmd_check},
    {"capacity", "find the highest rate at which the limits are met", cmd_capacity},
    {"report", "tables, CSV and pictures of what a database holds", cmd_report},
    {"trace", "look at a trace, convert it, scale it", cmd_trace},
    {"profile", "measure steps of a real engine, for a cost model of it", cmd_profile},
    {"calibrate", "fit a cost model to measured steps or to a profile", cmd_calibrate},
    {"validate", "simulate what was measured and say how far off that is", cmd_validate},
    {"quality", "measure what KV policies lose, on a real model", cmd_quality},
    {"generate", "continue a prompt with a real model", cmd_generate},
    {"list", "policies, models, GPUs, formats, keys and metrics this program has", cmd_list},
};

static void print_help(void)
{
    puts("Usage: tandem SUBCOMMAND [OPTION...]\n"
         "Replays LLM-serving traces through a discrete-event simulator of serving engines.\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].doc);
    puts("\n"
         "  tandem SUBCOMMAND --help   its options\n"
         "  tandem --version           revision and compiler\n"
         "\n"
         "Exit codes: 0 done; 1 done, and the verdict is negative; 2 not done.");
}

static void print_version(void)
{
    printf("tandem %s%s (%s)\n", version_git, version_dirty ? ", with changes" : "",
           version_compiler);
}

static int unknown_command(const char *name, struct err *e)
{
    const char *names[ARRAY_LEN(commands)];
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    err_set(e, "%s: unknown subcommand; the nearest is %s (`tandem --help`)", name,
            nearest_word(name, names, ARRAY_LEN(names)));
    return 2;
}

static int dispatch(int argc, char **argv, struct err *e)
{
    if (argc < 2) {
        err_set(e, "no subcommand; `tandem --help` shows them");
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return commands[i].run(argc - 1, argv + 1, e);
    return unknown_command(argv[1], e);
}

/* One line, whatever bytes of the input the message quotes. */
static void print_error(const char *text)
{
    fputs("tandem: ", stderr);
    for (; *text; text++)
        fputc(iscntrl((unsigned char)*text) ? '?' : *text, stderr);
    fputc('\n', stderr);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    /* Else a value that is missing for want of memory would be one that the file has not. */
    json_set_alloc_funcs(mem_alloc, mem_free);
    int code = dispatch(argc, argv, &e);
    if ((fflush(stdout) != 0 || ferror(stdout)) && !e.set) {
        err_set(&e, "stdout: cannot be written: %s", strerror(errno));
        code = 2;
    }
    if (e.set)
        print_error(e.text);
    return code;
}
