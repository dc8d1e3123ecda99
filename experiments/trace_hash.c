#include "experiments/trace_hash.h"

#include <string.h>
#include <unistd.h>

#include "traces/servegen.h"
#include "traces/spec.h"

static bool add_file(struct sha256 *s, const char *path, struct err *e)
{
    char hex[SHA256_HEX];
    if (!sha256_file(path, hex, e))
        return false;
    sha256_add(s, hex, strlen(hex));
    return true;
}

static bool spec_sha256(const char *spec, char hex[SHA256_HEX], struct err *e)
{
    const char *at = spec, *done = spec, *file;
    size_t len;
    struct sha256 s;
    sha256_begin(&s);
    while ((file = spec_file(&at, &len)) != NULL) {
        char *path = mem_strdup(file);
        path[len] = '\0';
        sha256_add(&s, done, (size_t)(file - done));
        bool ok = add_file(&s, path, e);
        mem_free(path);
        if (!ok)
            return false;
        done = at;
    }
    sha256_add(&s, done, strlen(done));
    sha256_end(&s, hex);
    return true;
}

bool trace_sha256(const char *trace, char hex[SHA256_HEX], struct err *e)
{
    if (spec_is(trace))
        return spec_sha256(trace, hex, e);
    char *lengths = servegen_lengths_path(trace);
    bool ok;
    if (lengths && access(lengths, F_OK) == 0) {
        struct sha256 s;
        sha256_begin(&s);
        ok = add_file(&s, trace, e) && add_file(&s, lengths, e);
        sha256_end(&s, hex);
    } else {
        ok = sha256_file(trace, hex, e);
    }
    mem_free(lengths);
    return ok;
}
