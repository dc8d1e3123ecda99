/* report_draw.c: gnuplot draws the pictures. It writes them beside their data; only what is whole
 * goes to DIR, for gnuplot does not say when a disk was full. */
#include "experiments/report_plot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Does DIR/SUB hold our scripts? */
static bool holds_scripts(const char *dir, const char *sub, char found[PLOT_PATH])
{
    char probe[PLOT_PATH + 16];

    if ((size_t)snprintf(found, PLOT_PATH, "%s/%s", dir, sub) >= PLOT_PATH)
        return false;
    snprintf(probe, sizeof(probe), "%s/render.gp", found);
    return access(probe, R_OK) == 0;
}

/* Beside the program or in a folder above it: a build folder in the checkout, or an installation;
 * last in the working directory. */
static bool find_scripts(char found[PLOT_PATH], struct err *e)
{
    char dir[PLOT_PATH];
    ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);

    dir[n > 0 ? n : 0] = '\0';
    for (char *slash = strrchr(dir, '/'); slash; slash = strrchr(dir, '/')) {
        *slash = '\0';
        if (holds_scripts(dir, "scripts/plot", found) ||
            holds_scripts(dir, "share/tandem/plot", found))
            return true;
    }
    return holds_scripts(".", "scripts/plot", found) ||
           err_set(e, "scripts/plot: not found beside the program nor here; run tandem from its "
                      "checkout");
}

enum drawn { DRAWN, NO_GNUPLOT, NOT_DRAWN };

/* What gnuplot has to say goes to DIR/data/gnuplot.log. */
static int spawn(const struct plots *p, char *const args[], pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    char log[PLOT_PATH + 16];
    int failed = posix_spawn_file_actions_init(&actions);

    if (failed)
        return failed;
    snprintf(log, sizeof(log), "%s/gnuplot.log", p->data);
    failed = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log,
                                              O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    if (!failed)
        failed = posix_spawnp(pid, args[0], &actions, NULL, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

static enum drawn run_gnuplot(const struct plots *p, const char *scripts, const char *figure,
                              struct err *e)
{
    char render[PLOT_PATH + 16];
    /* posix_spawn's type is not const, but it changes nothing (POSIX, rationale of exec). */
    const char *const argv[] = {"gnuplot", "-c", render, scripts, p->data, p->data, figure, NULL};
    char *args[ARRAY_LEN(argv)];
    pid_t pid;
    int status = 0, failed;

    snprintf(render, sizeof(render), "%s/render.gp", scripts);
    memcpy(args, argv, sizeof(args));
    failed = spawn(p, args, &pid);
    if (failed == ENOENT)
        return NO_GNUPLOT;
    if (!failed)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    if (!failed && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return DRAWN;
    err_set(
        e, "%s/%s.png: not drawn by gnuplot: %s; if there is space on the disk, see %s/gnuplot.log",
        p->dir, figure, failed ? strerror(failed) : "it failed", p->data);
    return NOT_DRAWN;
}

/* Does the file end as a picture of its format does? */
static bool is_whole(const char *path, const char *end)
{
    char tail[16];
    size_t n;
    FILE *f = fopen(path, "rbe");

    if (!f)
        return false;
    n = fseek(f, -(long)sizeof(tail), SEEK_END) == 0 ? fread(tail, 1, sizeof(tail), f) : 0;
    fclose(f);
    return memmem(tail, n, end, strlen(end)) != NULL;
}

/* From DIR/data to DIR. */
static bool publish(const struct plots *p, const char *figure, struct err *e)
{
    static const struct {
        const char *suffix, *end;
    } format[] = {{"png", "IEND\xae\x42\x60\x82"}, {"svg", "</svg>"}};
    char from[PLOT_PATH + 32], to[PLOT_PATH + 32];

    for (size_t i = 0; i < ARRAY_LEN(format); i++) {
        snprintf(from, sizeof(from), "%s/%s.%s", p->data, figure, format[i].suffix);
        snprintf(to, sizeof(to), "%s/%s.%s", p->dir, figure, format[i].suffix);
        if (is_whole(from, format[i].end) && rename(from, to) == 0)
            continue;
        (void)unlink(from);
        return err_set(e,
                       "%s: could not be written whole; free some space or name another folder "
                       "with --out",
                       to);
    }
    return true;
}

bool plot_draw(struct plots *p, FILE *out, struct err *e)
{
    char scripts[PLOT_PATH], log[PLOT_PATH + 16];

    if (!find_scripts(scripts, e))
        return false;
    snprintf(log, sizeof(log), "%s/gnuplot.log", p->data);
    (void)unlink(log); /* of an earlier report */
    for (size_t i = 0; i < p->pictures->n; i++) {
        const char *figure = p->pictures->name[i];
        enum drawn drawn = run_gnuplot(p, scripts, figure, e);

        if (drawn == NO_GNUPLOT) {
            fprintf(out,
                    "No pictures: gnuplot is not installed; apt-get install gnuplot-nox, then "
                    "again. Their data is in %s.\n",
                    p->data);
            p->pictures->n = 0;
            p->pictures->no_gnuplot = true;
            return true;
        }
        if (drawn == NOT_DRAWN || !publish(p, figure, e))
            return false;
        fprintf(out, "%s %s/%s.png (and .svg)\n", i ? "        " : "Pictures", p->dir, figure);
    }
    return true;
}
