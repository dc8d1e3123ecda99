#include "experiments/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sha256_begin(struct sha256 *s)
{
    sha256_init(&s->ctx);
}

void sha256_add(struct sha256 *s, const void *p, size_t n)
{
    sha256_update(&s->ctx, n, p);
}

void sha256_end(struct sha256 *s, char hex[SHA256_HEX])
{
    static const char digit[] = "0123456789abcdef";
    uint8_t sum[SHA256_DIGEST_SIZE];
    sha256_digest(&s->ctx, sizeof sum, sum);
    for (size_t i = 0; i < 2 * sizeof sum; i++)
        hex[i] = digit[sum[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    hex[2 * sizeof sum] = '\0';
}

bool sha256_file(const char *path, char hex[SHA256_HEX], struct err *e)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_set(e, "%s: cannot be read: %s", path, strerror(errno));
    struct sha256 s;
    sha256_begin(&s);
    uint8_t buffer[65536];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, f)) > 0)
        sha256_add(&s, buffer, n);
    bool ok = !ferror(f) || err_set(e, "%s: cannot be read: %s", path, strerror(errno));
    fclose(f);
    if (ok)
        sha256_end(&s, hex);
    return ok;
}

/* ---- folders ---- */

static int not_itself(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool add_entry(struct sha256 *s, const char *folder, const char *name, struct err *e)
{
    size_t size = strlen(folder) + strlen(name) + sizeof "/";
    char *path = mem_alloc(size), hex[SHA256_HEX];
    snprintf(path, size, "%s/%s", folder, name);
    bool ok = sha256_path(path, hex, e);
    if (ok) {
        sha256_add(s, name, strlen(name) + 1);
        sha256_add(s, hex, strlen(hex));
    }
    mem_free(path);
    return ok;
}

bool sha256_path(const char *path, char hex[SHA256_HEX], struct err *e)
{
    struct dirent **entry;
    int n = scandir(path, &entry, not_itself, by_name);
    if (n < 0)
        return sha256_file(path, hex, e);
    struct sha256 s;
    bool ok = true;
    sha256_begin(&s);
    for (int i = 0; i < n; i++) {
        ok = ok && add_entry(&s, path, entry[i]->d_name, e);
        free(entry[i]);
    }
    free(entry);
    if (ok)
        sha256_end(&s, hex);
    return ok;
}
