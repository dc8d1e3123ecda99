/* conform.h: what every plug-in of every kind must be, whatever it does: named, explained, with a
 * source, its parameters well described. The answers are texts, so that a test can show both that
 * the registered ones have no fault and that a fault is found. */
#ifndef TESTS_SUPPORT_CONFORM_H
#define TESTS_SUPPORT_CONFORM_H

#include "sim/params.h"

/* NULL, or what is wrong. `name` is a config value: lower case, digits and _. */
const char *conform_text_fault(const char *name, const char *doc, const char *source);
/* Of a table (NULL: no parameters). Defaults parse as their type and keep their own range. */
const char *conform_params_fault(const struct param_desc *desc);

#endif
