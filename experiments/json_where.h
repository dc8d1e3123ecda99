/* json_where.h: where in a JSON text a member stands, for messages about what it says: jansson
 * tells the line and column of syntax errors only. The text must be valid JSON. */
#ifndef EXPERIMENTS_JSON_WHERE_H
#define EXPERIMENTS_JSON_WHERE_H

#include "sim/base.h"

/* The key (its opening quote) of a member of the object at `object`, or NULL. `name` may be dotted,
 * as configuration keys are: a.b is member "a.b", or member b of member a; and a itself stands in
 * {"a": {"id": ...}}. */
const char *json_where_member(const char *object, const char *name);

/* The value of the member whose key is at `key`. */
const char *json_where_value(const char *key);

/* Element i of the array at `array`, or NULL. */
const char *json_where_element(const char *array, size_t i);

/* Both from 1, columns in characters. */
void json_where_position(const char *text, const char *at, int *line, int *column);

#endif
