# Distributions, one curve a run. The caller sets `file`, `n`, `what`.
# Ticks beside the powers of ten: a narrow distribution may hold none of those.
stats data.'/'.file using 1 nooutput
set xrange [STATS_min:STATS_max]
set logscale x
set xtics ()
ticks = STATS_max < 30 * STATS_min ? "1 1.5 2 3 4 5 6 8" : "1 2 5"
do for [k = -6:9] {
    do for [m in ticks] {
        tick = m * 10.0 ** k
        if (tick >= STATS_min * 0.999 && tick <= STATS_max * 1.001) {
            set xtics add (sprintf('%.10g', tick) tick)
        }
    }
}
set xlabel what.' (ms, logarithmic)'
set ylabel 'finished requests (%)'
set yrange [0:100]
set bmargin at screen foot(n)
plot for [i = 0:n-1] data.'/'.file index i using 1:2 with lines ls (i % 16) + 1 \
    title columnheader(1)
