/* csv.h: the columns of our own trace format (csv.c reads it, csv_write.c writes it). */
#ifndef TRACES_CSV_H
#define TRACES_CSV_H

#define CSV_PREFIX_BLOCK 16u /* tokens of a prefix_hashes id where no comment says otherwise */
#define CSV_HASH_SALT "csv"  /* of the streams that ids stand for */

enum csv_column {
    CSV_ARRIVAL,
    CSV_PROMPT,
    CSV_OUTPUT,
    CSV_MAX_TOKENS,
    CSV_TENANT,
    CSV_SESSION,
    CSV_TURN,
    CSV_AFTER,
    CSV_DELAY,
    CSV_SLO_CLASS,
    CSV_PRIORITY,
    CSV_HASHES,
    CSV_PREDICTED,
    CSV_COLUMNS,
    CSV_REQUIRED = CSV_MAX_TOKENS /* the first so many */
};

extern const char *const csv_columns[CSV_COLUMNS];

#endif
