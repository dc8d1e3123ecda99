/* unicode.h: what a tokenizer's pre-splitting asks of characters: \p{L}, \p{N}, \s, and UTF-8. */
#ifndef BACKEND_MODEL_UNICODE_H
#define BACKEND_MODEL_UNICODE_H

#include "sim/base.h"

bool unicode_is_letter(uint32_t c); /* general category L */
bool unicode_is_number(uint32_t c); /* general category N */
bool unicode_is_space(uint32_t c);  /* White_Space */

/* The character at s[*at] of n bytes, and *at behind it. A byte that begins no character is one of
 * its own, which is neither letter, number nor space. *at < n. */
#define UTF8_BAD 0x80000000u
uint32_t utf8_next(const uint8_t *s, size_t n, size_t *at);

#endif
