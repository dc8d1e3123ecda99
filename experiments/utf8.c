/* utf8.c: see utf8.h. */
#include "experiments/utf8.h"

#include <stdbool.h>
#include <stdint.h>

static bool allowed(uint32_t c, size_t bytes)
{
    static const uint32_t shortest[] = {0, 0x1, 0x80, 0x800, 0x10000};

    if (c < ' ')
        return c == '\t' || c == '\n' || c == '\r';
    return c >= shortest[bytes] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) && c != 0xfffe &&
           c != 0xffff;
}

size_t utf8_char(const char *s)
{
    unsigned char first = (unsigned char)*s;
    size_t bytes = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t c = bytes <= 1 ? first : first & (0xffu >> (bytes + 1));

    if (bytes == 0 || first >= 0xf8)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80) /* the end of the text is none of these */
            return 0;
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    }
    return allowed(c, bytes) ? bytes : 0;
}
