/* html.c: see html.h. */
#include "experiments/html.h"

#include <errno.h>
#include <nettle/base64.h>
#include <string.h>

#include "experiments/utf8.h"

static const char *entity(char c)
{
    return c == '<'    ? "&lt;"
           : c == '>'  ? "&gt;"
           : c == '&'  ? "&amp;"
           : c == '"'  ? "&quot;"
           : c == '\'' ? "&#39;"
                       : NULL;
}

void html_text(FILE *f, const char *s)
{
    while (*s) {
        size_t n = utf8_char(s);

        if (n == 0)
            fputs("\xef\xbf\xbd", f);
        else if (entity(*s))
            fputs(entity(*s), f);
        else
            fwrite(s, 1, n, f);
        s += n ? n : 1;
    }
}

bool html_base64(FILE *f, const char *path, struct err *e)
{
    enum { CHUNK = 3072 };
    struct base64_encode_ctx ctx;
    uint8_t raw[CHUNK];
    char text[BASE64_ENCODE_LENGTH(CHUNK) + BASE64_ENCODE_FINAL_LENGTH] = "";
    FILE *in = fopen(path, "rbe");
    size_t n;
    bool ok;

    if (!in)
        return err_set(e, "%s: %s; run the report again", path, strerror(errno));
    base64_encode_init(&ctx);
    while ((n = fread(raw, 1, sizeof(raw), in)) > 0)
        fwrite(text, 1, base64_encode_update(&ctx, text, n, raw), f);
    fwrite(text, 1, base64_encode_final(&ctx, text), f);
    ok = !ferror(in);
    fclose(in);
    return ok || err_set(e, "%s: cannot be read; run the report again", path);
}
