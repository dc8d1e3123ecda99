/* report_file.c: the files of a report. */
#include "experiments/report_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool report_make_dir(const char *dir, struct err *e)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s", dir);

    if (n <= 0 || (size_t)n >= sizeof(path))
        return err_set(e, "--out: the path is empty or too long; name another folder");
    for (char *p = path + 1; p <= path + n; p++) {
        char kept = *p;

        if (kept != '/' && kept != '\0')
            continue;
        *p = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return err_set(e, "%s: %s; name another folder with --out", path, strerror(errno));
        *p = kept;
    }
    return true;
}

bool report_file_open(struct report_file *file, const char *dir, const char *name, struct err *e)
{
    int n = snprintf(file->path, sizeof(file->path), "%s/%s", dir, name);

    if (n < 0 || (size_t)n >= sizeof(file->path))
        return err_set(e, "--out: the path is too long; name another folder");
    snprintf(file->unfinished, sizeof(file->unfinished), "%s.unfinished", file->path);
    file->f = fopen(file->unfinished, "we");
    return file->f ||
           err_set(e, "%s: %s; name another folder with --out", file->path, strerror(errno));
}

bool report_file_close(struct report_file *file, bool complete, struct err *e)
{
    bool ok = !ferror(file->f);

    ok = fclose(file->f) == 0 && ok;
    ok = ok && complete && rename(file->unfinished, file->path) == 0;
    if (ok)
        return true;
    if (complete)
        err_set(e, "%s: could not be written; free some space or name another folder with --out",
                file->path);
    (void)unlink(file->unfinished);
    return false;
}
