/* yaml_file.h: values of a YAML file by path ("skew_profile.enabled"). Every message names
 * FILE:LINE and the key. */
#ifndef BACKEND_YAML_FILE_H
#define BACKEND_YAML_FILE_H

#include <yaml.h>

#include "sim/base.h"

struct yaml_file {
    char *path;
    yaml_document_t document;
};

/* Reads the first document of FOLDER/NAME; a mapping. After false there is nothing to close. */
bool yaml_file_open(struct yaml_file *f, const char *folder, const char *name,
                    struct err *e) NODISCARD;
void yaml_file_close(struct yaml_file *f);

/* A scalar as text. Where it may be missing (`optional`) and is, *out is NULL. */
bool yaml_text(struct yaml_file *f, const char *key, bool optional, const char **out,
               struct err *e) NODISCARD;
/* true or false; a missing one is false. */
bool yaml_flag(struct yaml_file *f, const char *key, bool *out, struct err *e) NODISCARD;

/* Records "PATH:LINE: <message>", the line of `key` where it is there; always false. */
bool yaml_fail(struct yaml_file *f, const char *key, struct err *e, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

#endif
