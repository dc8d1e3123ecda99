set title 'Service of the most minus that of the least served tenant, over time'
stats data.'/unfair.dat' using 2 nooutput
unit = STATS_max > 2e6 ? 1e6 : STATS_max > 2e3 ? 1e3 : 1
set xlabel 'simulated time (s)'
set ylabel 'difference, weighted tokens'.(unit == 1e6 ? ' (millions)' : unit == 1e3 ? ' (thousands)' : '')
set yrange [0:1<*]
set autoscale xfix
set bmargin at screen foot(n_unfair)
plot for [i = 0:n_unfair-1] data.'/unfair.dat' index i using 1:($2/unit) with steps \
    ls (i % 16) + 1 title columnheader(1)
