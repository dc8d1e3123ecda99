# Distributions, one curve a run. The caller sets `file`, `n`, `what`.
stats data.'/'.file using 1 nooutput
set xrange [STATS_min:(STATS_max > STATS_min ? STATS_max : 1.01 * STATS_min)]
low = STATS_min
high = STATS_max
load scripts.'/ticks.gp'
set xlabel what.' (ms, logarithmic)'
set ylabel 'finished requests (%)'
set yrange [0:100]
set bmargin at screen foot(n)
plot for [i = 0:n-1] data.'/'.file index i using 1:2 with lines ls (i % 16) + 1 \
    title columnheader(1)
