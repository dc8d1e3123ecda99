/* nearest.c: edit distance with one row of the table. What must hold: the answer depends on the
 * order of `known` in ties only, and no memory is taken (it runs while an error is reported). */
#include "sim/nearest.h"

#include <ctype.h>
#include <string.h>

#define LEFT_OUT 2
#define REPLACED 3

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Weighted Levenshtein distance. row[j] holds the distance of a's first i characters to b's first
 * j. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NEAREST_WORD_MAX + 1];
    size_t n_a = strnlen(a, NEAREST_WORD_MAX), n_b = strnlen(b, NEAREST_WORD_MAX);

    for (size_t j = 0; j <= n_b; j++)
        row[j] = j * LEFT_OUT;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0]; /* distance of i-1 and j-1 characters */

        row[0] = i * LEFT_OUT;
        for (size_t j = 1; j <= n_b; j++) {
            size_t replaced = diagonal + (same_letter(a[i - 1], b[j - 1]) ? 0 : REPLACED);

            diagonal = row[j];
            row[j] = MIN(replaced, MIN(row[j], row[j - 1]) + LEFT_OUT);
        }
    }
    return row[n_b];
}

const char *nearest_word(const char *word, const char *const *known, size_t n)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < n; i++) {
        size_t distance = edit_distance(word, known[i]);

        if (distance < best_distance) {
            best = known[i];
            best_distance = distance;
        }
    }
    return best;
}
