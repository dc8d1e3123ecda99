/* sha256.h: SHA-256 by Nettle, in hexadecimal, for what identifies a run and its inputs. */
#ifndef EXPERIMENTS_SHA256_H
#define EXPERIMENTS_SHA256_H

#include <nettle/sha2.h>

#include "sim/base.h"

#define SHA256_HEX 65 /* 64 hexadecimal digits and the NUL */

struct sha256 {
    struct sha256_ctx ctx;
};

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *p, size_t n);
void sha256_end(struct sha256 *s, char hex[SHA256_HEX]); /* begin again before another use */

/* Of a file's bytes as they lie on disk (a gzip file is not unpacked). */
bool sha256_file(const char *path, char hex[SHA256_HEX], struct err *e) NODISCARD;
/* A file's as above; a folder's from the names and hashes of all that lies in it, names sorted. */
bool sha256_path(const char *path, char hex[SHA256_HEX], struct err *e) NODISCARD;

#endif
