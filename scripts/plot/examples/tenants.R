# Share of the service that each tenant got, a group of bars a configuration (mean over seeds):
#   Rscript tenants.R RESULTS.db PICTURE.png
library(DBI)

files <- commandArgs(trailingOnly = TRUE)
if (length(files) != 2) stop("usage: Rscript tenants.R RESULTS.db PICTURE.png")
db <- dbConnect(RSQLite::SQLite(), files[1], flags = RSQLite::SQLITE_RO)
shares <- dbGetQuery(db, "
    SELECT coalesce(r.point, r.scheduler) AS label, t.tenant, avg(t.share) AS share
    FROM runs AS r JOIN tenants AS t ON t.run_id = r.id
    GROUP BY r.config_hash, t.tenant ORDER BY min(r.id)")
dbDisconnect(db)

png(files[2], width = 1000, height = 600)
table <- xtabs(100 * share ~ tenant + label, shares)
barplot(table, beside = TRUE, legend.text = TRUE, col = palette.colors(nrow(table), "Okabe-Ito"),
        ylab = "share of the service (%)")
invisible(dev.off())
