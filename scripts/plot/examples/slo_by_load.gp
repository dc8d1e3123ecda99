# SLO attainment over the arrival rate, a curve a scheduler:
#   gnuplot -c slo_by_load.gp RESULTS.db PICTURE.png
# Rows come from the sqlite3 shell; runs.config has the rate.
query(scheduler) = sprintf("< sqlite3 -separator ' ' '%s' \"%s\"", ARG1, \
    "SELECT json_extract(r.config, '$.\\\"trace.rate_scale\\\"'), 100 * avg(s.value), ". \
    "100 * min(s.value), 100 * max(s.value) FROM runs AS r JOIN summary AS s ON s.run_id = r.id ". \
    "WHERE s.metric = 'slo_attainment' AND r.scheduler = '".scheduler."' GROUP BY 1 ORDER BY 1")
schedulers = system("sqlite3 '".ARG1."' 'SELECT DISTINCT scheduler FROM runs'")

set terminal pngcairo size 800,500
set output ARG2
set xlabel 'arrival rate, relative to that of the trace'
set ylabel 'requests within every limit (%)'
set yrange [0:101]
set offsets graph 0.05, graph 0.05
set key bottom left
plot for [i = 1:words(schedulers)] query(word(schedulers, i)) using 1:2:3:4 with yerrorlines pt 7 \
    title word(schedulers, i)
