/* report_format.c: see report_format.h. */
#include "experiments/report_format.h"

#include <math.h>
#include <stdio.h>

static int decimals(double v)
{
    return fabs(v) >= 100 ? 0 : fabs(v) >= 10 ? 1 : 2;
}

void report_format(char cell[CELL_BYTES], enum format format, double v)
{
    if (isnan(v))
        snprintf(cell, CELL_BYTES, "-");
    else if (format == COUNT)
        snprintf(cell, CELL_BYTES, "%.0f", v);
    else if (format == SHARE)
        snprintf(cell, CELL_BYTES, "%.1f %%", 100 * v);
    else if (format == PLAIN)
        snprintf(cell, CELL_BYTES, "%.3f", v);
    else
        snprintf(cell, CELL_BYTES, "%.*f", decimals(v), v);
}
