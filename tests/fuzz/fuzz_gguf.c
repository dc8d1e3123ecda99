/* fuzz_gguf.c: any bytes as the file of a model. The first byte picks what reads the rest: G
 * weights from GGUF, T a tokenizer from GGUF, which then encodes the file itself, else safetensors.
 * There must be no crash, and no failure without a message that names the file. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/model/safetensors.h"
#include "backend/model/tokenizer.h"
#include "backend/model/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_weights(const char *path, struct err *e)
{
    struct weights w;
    bool ok = weights_load(&w, path, WEIGHT_BF16, e);

    weights_release(&w);
    return ok;
}

static bool read_tokenizer(const char *path, const uint8_t *data, size_t size, struct err *e)
{
    struct tokenizer *t = tokenizer_open(path, e);
    struct tokens ids = {0};
    size_t len;

    if (!t)
        return false;
    tokenizer_encode(t, (const char *)data, MIN(size, 1000), &ids);
    for (size_t i = 0; i < ids.n; i++)
        tokenizer_piece(t, ids.id[i], &len);
    mem_free(ids.id);
    tokenizer_close(t);
    return true;
}

static bool read_safetensors(const char *path, struct err *e)
{
    struct safetensors *s = safetensors_open(path, e);

    safetensors_close(s);
    return s != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    char path[64];
    bool ok;
    int fd;

    if (size < 1)
        return 0;
    fd = memfd_create("model", 0);
    CHECK(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)(size - 1), "fuzz: a file", "%d",
          fd);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ok = data[0] == 'G'   ? read_weights(path, &e)
         : data[0] == 'T' ? read_tokenizer(path, data, size, &e)
                          : read_safetensors(path, &e);
    CHECK(ok != e.set, "fuzz: an error has a message", "%s", e.text);
    CHECK(ok || strncmp(e.text, path, strlen(path)) == 0, "fuzz: an error names the file", "%s",
          e.text);
    close(fd);
    return 0;
}
