/* html.h: the pieces of a page. Everything that is written parses as XML too. */
#ifndef EXPERIMENTS_HTML_H
#define EXPERIMENTS_HTML_H

#include <stdio.h>

#include "sim/base.h"

/* Text, in an element or in an attribute: names are anybody's. What is not UTF-8 becomes U+FFFD. */
void html_text(FILE *f, const char *s);

/* A file as the rest of a data URI. */
bool html_base64(FILE *f, const char *path, struct err *e) NODISCARD;

#endif
