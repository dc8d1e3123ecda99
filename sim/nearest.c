/* nearest.c: edit distance with one row of the table. What must hold: the answer depends on the
 * order of `known` in ties only, and no memory is taken (it runs while an error is reported). */
#include "sim/nearest.h"

#include <ctype.h>
#include <string.h>

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Levenshtein distance. row[j] holds the distance of a's first i characters to b's first j. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NEAREST_WORD_MAX + 1];
    size_t n_a = strnlen(a, NEAREST_WORD_MAX), n_b = strnlen(b, NEAREST_WORD_MAX);

    for (size_t j = 0; j <= n_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0]; /* distance of i-1 and j-1 characters */

        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t replaced = diagonal + (same_letter(a[i - 1], b[j - 1]) ? 0 : 1);

            diagonal = row[j];
            row[j] = MIN(replaced, MIN(row[j], row[j - 1]) + 1);
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
