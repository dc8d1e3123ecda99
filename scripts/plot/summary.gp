# Bars lie, so that the names of the runs can be read.
set multiplot title 'Requests served within their limits'.(several_seeds ? \
    ' (bars: mean over seeds; lines: smallest to largest)' : '') font ',17'
set style fill solid 1.0 noborder
set bars 0.6
unset key
set yrange [n_runs - 0.4:-0.6]
set tmargin at screen 0.86
set bmargin at screen 0.12
set border 1
set grid x noy
set ytics scale 0 noenhanced
set title font ',13' offset 0,-0.2
half = n_runs < 4 ? 0.2 : 0.32

set lmargin at screen 0.33
set rmargin at screen 0.63
set xrange [0:100]
set title 'SLO attainment'
set xlabel 'requests that met every limit (%)'
plot data.'/summary.dat' using 2:0:(0):2:($0-half):($0+half):(colour_of($0)):ytic(1) \
         with boxxyerror lc rgb variable, \
     for [k = 1:several_seeds] '' using 2:0:3:4 with xerrorbars lc rgb '#222222' lw 1.5 pt -1

set lmargin at screen 0.67
set rmargin at screen 0.97
set xrange [0:*]
set title 'Goodput'
set xlabel 'requests per second that met every limit'
set format y ''
plot data.'/summary.dat' using 5:0:(0):5:($0-half):($0+half):(colour_of($0)) \
         with boxxyerror lc rgb variable, \
     for [k = 1:several_seeds] '' using 5:0:6:7 with xerrorbars lc rgb '#222222' lw 1.5 pt -1
unset multiplot
