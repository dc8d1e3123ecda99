# Attainment and goodput over the load, a curve a series of points.dat; bars: over seeds.
set multiplot title 'Requests within their limits, by load'.(several_seeds ? \
    ' (mean over seeds; bars: smallest to largest)' : '') font ',17'
low = foot(n_series)
set xlabel load
set offsets graph 0.03, graph 0.03, 0, 0
set title font ',13' offset 0,-0.2
set tmargin at screen 0.86
set bmargin at screen low

set lmargin at screen 0.08
set rmargin at screen 0.49
set yrange [0:101]
set title 'SLO attainment'
set ylabel 'requests that met every limit (%)'
plot for [i = 0:n_series-1] data.'/points.dat' index i using 1:2 with lines ls i + 1 \
    notitle, \
    for [k = 1:several_seeds] for [i = 0:n_series-1] data.'/points.dat' index i \
    using 1:2:3:4 with yerrorbars ls i + 1 dt solid lw 1.5 pt 0 notitle, \
    for [i = 0:n_series-1] data.'/points.dat' index i using 1:2 with points ls i + 1 pt 7 ps 0.8 \
    notitle

set lmargin at screen 0.57
set rmargin at screen 0.97
set yrange [0:1e-3<*]
set title 'Goodput'
set ylabel 'requests per second that met every limit'
plot for [i = 0:n_series-1] data.'/points.dat' index i using 1:5 with lines ls i + 1 \
    notitle, \
    for [k = 1:several_seeds] for [i = 0:n_series-1] data.'/points.dat' index i \
    using 1:5:6:7 with yerrorbars ls i + 1 dt solid lw 1.5 pt 0 notitle, \
    for [i = 0:n_series-1] data.'/points.dat' index i using 1:5 with points ls i + 1 pt 7 ps 0.8 \
    notitle

file = data.'/points.dat'
n = n_series
how = 'with linespoints ls i + 1 pt 7 ps 0.8'
load scripts.'/legend.gp'
unset multiplot
