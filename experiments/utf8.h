/* utf8.h: text of others (names of tenants, of points) may hold any bytes; what we write into HTML,
 * SVG or JSON may not. */
#ifndef EXPERIMENTS_UTF8_H
#define EXPERIMENTS_UTF8_H

#include <stddef.h>

/* Bytes of the character that s begins with, 1 to 4. 0: s is at its end, or this is not UTF-8 (not
 * the shortest form, a surrogate, past U+10FFFF), or a control character that XML does not allow
 * (all below a blank but tab, line feed and carriage return; U+FFFE and U+FFFF). */
size_t utf8_char(const char *s);

#endif
