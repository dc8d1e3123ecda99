#include "experiments/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t round_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotr(uint32_t x, unsigned n)
{
    return (x >> n) | (x << (32 - n));
}

static uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static void compress(uint32_t h[8], const uint8_t block[64])
{
    uint32_t w[64];
    for (size_t i = 0; i < 16; i++)
        w[i] = load_be32(block + 4 * i);
    for (size_t i = 16; i < 64; i++) {
        uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
        uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t v[8]; /* a..h of the standard */
    memcpy(v, h, sizeof v);
    for (size_t i = 0; i < 64; i++) {
        uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
        uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t t1 = v[7] + s1 + choose + round_constant[i] + w[i];
        uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + s0 + majority;
    }
    for (size_t i = 0; i < 8; i++)
        h[i] += v[i];
}

void sha256_init(struct sha256 *s)
{
    *s = (struct sha256){.h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                               0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_add(struct sha256 *s, const void *p, size_t n)
{
    const uint8_t *in = p;
    while (n > 0) {
        size_t used = (size_t)(s->n_bytes % sizeof s->block);
        size_t take = MIN(n, sizeof s->block - used);
        memcpy(s->block + used, in, take);
        s->n_bytes += take;
        in += take;
        n -= take;
        if (used + take == sizeof s->block)
            compress(s->h, s->block);
    }
}

void sha256_end(struct sha256 *s, char hex[SHA256_HEX])
{
    uint64_t n_bits = s->n_bytes * 8;
    static const uint8_t padding[64] = {0x80};
    size_t used = (size_t)(s->n_bytes % sizeof s->block);
    sha256_add(s, padding, used < 56 ? 56 - used : 120 - used);
    uint8_t length[8];
    for (size_t i = 0; i < 8; i++)
        length[i] = (uint8_t)(n_bits >> (56 - 8 * i));
    sha256_add(s, length, sizeof length);

    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < 64; i++)
        hex[i] = digit[s->h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[64] = '\0';
}

bool sha256_file(const char *path, char hex[SHA256_HEX], struct err *e)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_set(e, "%s: cannot be read: %s", path, strerror(errno));
    struct sha256 s;
    sha256_init(&s);
    uint8_t buffer[16384];
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
    sha256_init(&s);
    for (int i = 0; i < n; i++) {
        ok = ok && add_entry(&s, path, entry[i]->d_name, e);
        free(entry[i]);
    }
    free(entry);
    if (ok)
        sha256_end(&s, hex);
    return ok;
}
