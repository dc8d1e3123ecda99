/* trace_hash.h: what identifies a trace: its bytes, and those of the files that belong to it. */
#ifndef EXPERIMENTS_TRACE_HASH_H
#define EXPERIMENTS_TRACE_HASH_H

#include "experiments/sha256.h"

/* `trace` as the key of that name has it. A file: SHA-256 of its bytes; of ServeGen's rates: of the
 * hashes of that file and of the lengths beside it. A SPEC: of its text, with the files in it
 * replaced by their hashes. */
bool trace_sha256(const char *trace, char hex[SHA256_HEX], struct err *e) NODISCARD;

#endif
