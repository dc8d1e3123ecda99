/* nearest.h: the known word that a mistyped one most likely meant, for error messages. */
#ifndef SIM_NEAREST_H
#define SIM_NEAREST_H

#include "sim/base.h"

/* Only this many leading characters of a word are compared. */
#define NEAREST_WORD_MAX 127

/* The element of known[0..n-1] with the smallest edit distance to `word`, the first of several.
 * A character left out or added counts 2, a replaced one 3, so that "llama-3-8b" is nearer to
 * "llama-3.1-8b" than to "llama-2-7b"; letters of both cases are equal. NULL when n is 0. */
const char *nearest_word(const char *word, const char *const *known, size_t n);

#endif
